"""Endless feeds of batches, each with what the table must be after any number of them."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import polars as pl

from fuse_dagster.tables import Append, History, Overwrite, Upsert
from fuse_dagster.tables.slices import Slice
from fuse_dagster_tests.tables.oracle import ABSENT, Statement, of_changes, of_snapshots

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
KEYS = 40


def moment(at: int) -> dt.datetime:
    return START + dt.timedelta(hours=at)


def hours(table: pl.DataFrame) -> list[Any]:
    """Version rows as the oracle writes them."""
    found = table.select("k", "v", "valid_from", "valid_to").rows()
    return [(k, v, _hour(since), until and _hour(until)) for k, v, since, until in found]


def _hour(at: dt.datetime) -> int:
    return int((at - START).total_seconds()) // 3600


@dataclass(frozen=True)
class Snapshots:
    """Snapshots of a dimension with updates, ends and returns; every third pair arrives late."""

    name: ClassVar[str] = "snapshots"

    @staticmethod
    def time(number: int) -> int:
        return number + {0: 1, 1: -1}.get(number % 3, 0)

    @staticmethod
    def contents(at: int) -> dict[int, int]:
        return {key: (key * at) % 3 for key in range(KEYS) if (key + at) % 7}

    def batch(self, number: int) -> tuple[pl.DataFrame, History]:
        at = self.time(number)
        frame = pl.DataFrame(list(self.contents(at).items()), schema=["k", "v"], orient="row")
        return frame, History(keys=["k"], effective_at=moment(at))

    def expected(self, numbers: Iterable[int]) -> list[Any]:
        return sorted(of_snapshots({self.time(n): self.contents(self.time(n)) for n in numbers}), key=repr)

    def found(self, table: pl.DataFrame) -> list[Any]:
        return sorted(hours(table), key=repr)


@dataclass(frozen=True)
class Changes:
    """Changes in random order of their times, with deletes and with values that are stated again."""

    name: ClassVar[str] = "changes"

    @staticmethod
    def statements(number: int) -> list[Statement]:
        chance = random.Random(number)
        keys = chance.sample(range(12), 5)
        return [Statement(k, chance.randrange(60), chance.choice([ABSENT, 0, 0, 1, 1]), number) for k in keys]

    def batch(self, number: int) -> tuple[pl.DataFrame, History]:
        rows = [
            (s.key, 0 if s.value == ABSENT else s.value, moment(s.at), s.sequence, "D" if s.value == ABSENT else "U")
            for s in self.statements(number)
        ]
        schema = {"k": pl.Int64, "v": pl.Int64, "at": pl.Datetime("us", "UTC"), "seq": pl.Int64, "op": pl.String}
        mode = History(
            keys=["k"], source="changes", effective_column="at", sequence_by="seq", delete_when="op = 'D'",
            ignore=["op"],
        )  # fmt: skip
        return pl.DataFrame(rows, schema=schema, orient="row"), mode

    def expected(self, numbers: Iterable[int]) -> list[Any]:
        return sorted(of_changes(s for n in numbers for s in self.statements(n)), key=repr)

    def found(self, table: pl.DataFrame) -> list[Any]:
        return sorted(hours(table), key=repr)


@dataclass(frozen=True)
class Upserts:
    """Some new keys and some known ones with each batch; one key is in all of them."""

    name: ClassVar[str] = "upserts"

    @staticmethod
    def values(number: int) -> dict[int, int]:
        return {-1: number, number % KEYS: number, 1000 + number: number}

    def batch(self, number: int) -> tuple[pl.DataFrame, Upsert]:
        frame = pl.DataFrame(list(self.values(number).items()), schema=["k", "v"], orient="row")
        return frame, Upsert(keys="k")

    def expected(self, numbers: Iterable[int]) -> list[Any]:
        held: dict[int, int] = {}
        for number in numbers:
            held.update(self.values(number))
        return sorted(held.items())

    def found(self, table: pl.DataFrame) -> list[Any]:
        return sorted(table.select("k", "v").rows())


@dataclass(frozen=True)
class Appends:
    """Three rows with each batch."""

    name: ClassVar[str] = "appends"

    def batch(self, number: int) -> tuple[pl.DataFrame, Append]:
        return pl.DataFrame({"k": [number] * 3, "v": [0, 1, 2]}), Append()

    def expected(self, numbers: Iterable[int]) -> list[Any]:
        return sorted((number, v) for number in numbers for v in range(3))

    def found(self, table: pl.DataFrame) -> list[Any]:
        return sorted(table.select("k", "v").rows())


@dataclass(frozen=True)
class Overwrites:
    """One of four slices replaced by each batch."""

    name: ClassVar[str] = "overwrites"
    slices: int = field(default=4)

    def batch(self, number: int) -> tuple[pl.DataFrame, Overwrite]:
        own = number % self.slices
        return pl.DataFrame({"k": [own] * 3, "v": [number, -1, -2]}), Overwrite(where=Slice.equals("k", own))

    def expected(self, numbers: Iterable[int]) -> list[Any]:
        last = {number % self.slices: number for number in numbers}
        return sorted((own, v) for own, number in last.items() for v in (number, -1, -2))

    def found(self, table: pl.DataFrame) -> list[Any]:
        return sorted(table.select("k", "v").rows())


Feed = Snapshots | Changes | Upserts | Appends | Overwrites
FEEDS: dict[str, Feed] = {feed.name: feed for feed in (Snapshots(), Changes(), Upserts(), Appends(), Overwrites())}
