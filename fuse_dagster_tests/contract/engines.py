"""What every engine must make of the same batches: the same rows, the same counts, the same refusals."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import polars as pl

from fuse_dagster.core.errors import TableStateError
from fuse_dagster.core.results import WriteResult
from fuse_dagster.tables import Append, History, Overwrite, Upsert, WriteMode

Batch = tuple[pl.DataFrame, WriteMode]
Scenario = Callable[[], list[Batch]]
Writer = Callable[[str, pl.DataFrame, WriteMode], WriteResult]

SCENARIOS: dict[str, Scenario] = {}
COUNTS = ("rows_in", "inserted", "updated", "unchanged", "rejected", "duplicates", "closed", "deleted", "rows_total")


def scenario(make: Scenario) -> Scenario:
    """Register a scenario under its name, which reads as a sentence."""
    SCENARIOS[make.__name__] = make
    return make


def day(number: int) -> dt.datetime:
    """A time in January 2024."""
    return dt.datetime(2024, 1, number, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a scenario.

    Attributes:
        rows: The table's rows in one order.
        counts: Per batch, the counts of its result; or the class of its error.
    """

    rows: pl.DataFrame
    counts: list[Any]


def play(table: str, batches: list[Batch], writers: Iterator[Writer]) -> Outcome:
    """Write the batches one by one, each by the next writer.

    Args:
        table: Path of the table.
        batches: What is written.
        writers: Who writes, in turn.
    """
    counts: list[Any] = []
    for batch, mode in batches:
        try:
            result = next(writers)(table, batch, mode)
        except (ValueError, TableStateError) as error:
            counts.append(type(error).__name__)
        else:
            counts.append((result.committed, *(getattr(result, name) for name in COUNTS), result.schema_changes))
    found = pl.read_delta(table)
    return Outcome(found.select(sorted(found.columns)).sort(pl.all()), counts)


def snapshots(*batches: tuple[int, dict[str, list[Any]]], **options: Any) -> list[Batch]:
    """Snapshots of days, by one declaration."""
    mode = History(keys=["k"], **options)
    return [(pl.DataFrame(rows), replace(mode, effective_at=day(at))) for at, rows in batches]


def feed(*batches: list[tuple[str, int | None, int, str]], **options: Any) -> list[Batch]:
    """Batches of changes: key, value, day, and I, U or D."""
    mode = History(
        keys=["k"], source="changes", effective_column="at", delete_when="op = 'D'", ignore=["op"], **options
    )
    schema = {"k": pl.String, "v": pl.Int64, "at": pl.Datetime("us", "UTC"), "op": pl.String}
    made = [[(k, v, day(at), op) for k, v, at, op in batch] for batch in batches]
    return [(pl.DataFrame(rows, schema=schema, orient="row"), mode) for rows in made]


@scenario
def snapshots_in_order_with_values_that_compare_oddly() -> list[Batch]:
    return snapshots(
        (1, {"k": ["a", "b", "ä"], "f": [0.0, math.nan, None], "t": ["", None, "x"]}),
        (5, {"k": ["a", "b", "c"], "f": [-0.0, math.nan, 1.0], "t": [None, None, "x"]}),
        (5, {"k": ["a", "b", "c"], "f": [-0.0, math.nan, 1.0], "t": [None, None, "x"]}),
    )


@scenario
def late_snapshots_and_a_correction() -> list[Batch]:
    return snapshots(
        (9, {"k": ["a", "b"], "v": [1, 2]}),
        (3, {"k": ["a", "c"], "v": [0, 3]}),
        (6, {"k": ["a", "b"], "v": [1, 2]}),
        (3, {"k": ["a", "b"], "v": [1, 2]}),
        max_delete_fraction=None,
    )


@scenario
def a_snapshot_that_leaves_out_too_much_and_one_that_repeats_a_key() -> list[Batch]:
    return snapshots(
        (1, {"k": ["a", "b", "c", "d"], "v": [1, 2, 3, 4]}),
        (2, {"k": ["a"], "v": [1]}),
        (3, {"k": ["a", "a", "b", "c"], "v": [1, 9, 2, 3]}),
        (4, {"k": ["a", "a", "b", "c", "d"], "v": [1, 1, 2, 3, 5]}),
    )


@scenario
def several_snapshots_in_one_batch() -> list[Batch]:
    mode = History(keys=["k"], effective_column="at", max_delete_fraction=None)
    rows = {"k": ["a", "b", "a", "c", "a"], "v": [1, 2, 1, 3, 4], "at": [day(n) for n in (1, 1, 3, 3, 5)]}
    late = {"k": ["a", "b"], "v": [7, 2], "at": [day(2), day(2)]}
    return [(pl.DataFrame(rows), mode), (pl.DataFrame(late), mode), (pl.DataFrame(late), mode)]


@scenario
def columns_that_come_grow_and_go() -> list[Batch]:
    narrow = pl.Series([1, 2], dtype=pl.Int32)
    return snapshots(
        (1, {"k": ["a", "b"], "v": narrow, "gone": ["x", "y"]}),
        (3, {"k": ["a", "b"], "v": narrow, "gone": ["x", "z"], "new": [None, "n"]}),
        (5, {"k": ["a", "b"], "v": [2**40, 2], "gone": ["x", "z"], "new": [None, "n"]}),
        (7, {"k": ["a", "b"], "v": [2**40, 2], "new": [None, "n"]}),
        (4, {"k": ["a", "b"], "v": narrow, "gone": ["w", "z"], "new": [None, "n"]}),
        missing_column="carry",
    )


@scenario
def keys_that_grow_wider() -> list[Batch]:
    narrow = pl.Series(range(20), dtype=pl.Int32)
    return snapshots(
        (1, {"k": narrow, "v": list(range(20))}),
        (3, {"k": narrow.cast(pl.Int64), "v": [7, *range(1, 20)]}),
        (2, {"k": narrow, "v": list(range(20))}),
    )


@scenario
def an_upsert_by_keys_that_grow_wider() -> list[Batch]:
    narrow = pl.Series(range(20), dtype=pl.Int32)
    rows = [{"k": narrow, "v": list(range(20))}, {"k": narrow.cast(pl.Int64), "v": [7, *range(1, 20)]}]
    return [(pl.DataFrame(one), Upsert(keys=["k"])) for one in rows]


@scenario
def late_snapshots_are_left_out() -> list[Batch]:
    mode = History(keys=["k"], effective_column="at", max_delete_fraction=None, late="ignore")

    def rows(*said: tuple[str, int, int]) -> pl.DataFrame:
        return pl.DataFrame([{"k": k, "v": v, "at": day(at)} for k, v, at in said])

    return [
        (rows(("a", 1, 5), ("b", 2, 5)), mode),
        (rows(("a", 0, 3), ("a", 3, 7), ("b", 2, 7), ("c", 1, 3)), mode),
        (rows(("a", 1, 5), ("b", 2, 5), ("a", 9, 1)), mode),
    ]


@scenario
def a_feed_with_late_rows_deletes_and_restatements() -> list[Batch]:
    return feed(
        [("a", 1, 1, "I"), ("a", 1, 5, "U"), ("b", 2, 2, "I"), ("c", None, 4, "D")],
        [("a", 2, 3, "U"), ("c", 7, 2, "I"), ("b", None, 9, "D")],
        [("a", 2, 3, "U"), ("c", 7, 2, "I"), ("b", None, 9, "D")],
        [("b", 2, 5, "U"), ("b", 5, 11, "I"), ("a", 1, 2, "U")],
    )


@scenario
def a_feed_that_contradicts_itself_and_one_that_is_late() -> list[Batch]:
    first = feed([("a", 1, 1, "I"), ("b", 2, 5, "I")], [("a", 9, 1, "U")])
    ignoring = feed([("b", 3, 3, "U"), ("a", 4, 4, "U")], late="ignore")
    return [*first, *ignoring]


@scenario
def deletes_that_mean_nothing() -> list[Batch]:
    return snapshots(
        (1, {"k": ["a", "b"], "v": [1, 2]}),
        (5, {"k": ["b"], "v": [3]}),
        (3, {"k": ["a", "b"], "v": [9, 2]}),
        deletes="ignore",
    )


@scenario
def overwritten_columns_and_keys_for_facts() -> list[Batch]:
    return snapshots(
        (1, {"k": ["a", "b"], "v": [1, 2], "label": ["one", "two"]}),
        (5, {"k": ["a", "b"], "v": [3, 2], "label": ["eins", None]}),
        (3, {"k": ["a", "b"], "v": [1, 4], "label": ["une", "deux"]}),
        overwrite_columns=["label"],
        durable_key="key",
        surrogate_key="version_key",
    )


@scenario
def every_type_and_a_key_of_several_columns() -> list[Batch]:
    mode = History(keys=["k", "n", "d"], timezone="Europe/Vienna")

    def rows(shift: int) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "k": ["ä", "'`\\", ""],
                "n": pl.Series([1, -1, 2], dtype=pl.Int16),
                "d": [Decimal("1.10"), Decimal("-2.00"), Decimal("0.01")],
                "day": [dt.date(1, 1, 1), None, dt.date(9999, 12, 31)],
                "wall": [dt.datetime(2024, 3, 31, 2, 30), None, dt.datetime(1, 1, 1)],  # noqa: DTZ001  # wall times
                "at": [day(1 + shift), None, dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)],
                "blob": [b"\x00\xff", None, bytes([shift])],
                "flag": [True, None, bool(shift)],
                "many": [[1, None, shift], [], None],
                "inner": [{"a": "x", "b": shift}, {"a": None, "b": None}, None],
                "small": pl.Series([1.5, math.nan, None], dtype=pl.Float32),
                "amount": pl.Series([Decimal("12345678901234567890.123456789"), None, Decimal(shift)]).cast(
                    pl.Decimal(38, 9)
                ),
            }
        )  # fmt: skip

    return [(rows(shift), replace(mode, effective_at=day(1 + shift))) for shift in (0, 2, 1)]


@scenario
def an_upsert_by_sequence_with_deletes_that_are_kept() -> list[Batch]:
    mode = Upsert(keys=["k"], sequence_by="s", delete_when="op = 'D'", soft_delete="gone")

    def rows(*said: tuple[int, str | None, int, str]) -> pl.DataFrame:
        schema = {"k": pl.Int64, "v": pl.String, "s": pl.Int64, "op": pl.String}
        return pl.DataFrame(list(said), schema=schema, orient="row")

    return [
        (rows((1, "a", 1, "U"), (2, "b", 1, "U"), (2, "c", 2, "U")), mode),
        (rows((1, None, 3, "D"), (3, "x", 1, "U")), mode),
        (rows((1, "late", 2, "U"), (2, "c", 2, "U")), mode),
        (rows((1, "back", 4, "U")), mode),
    ]


@scenario
def an_upsert_of_the_whole_truth() -> list[Batch]:
    mode = Upsert(keys=["k"], absent="delete", update_when="new.v > old.v")
    return [
        (pl.DataFrame({"k": [1, 2, 3], "v": [1, 2, 3]}), mode),
        (pl.DataFrame({"k": [1, 2, 4], "v": [0, 5, 4], "w": ["x", "y", None]}), mode),
        (pl.DataFrame({"k": [9], "v": [1], "w": ["z"]}), mode),
    ]


@scenario
def a_whole_truth_over_rows_that_no_key_tells_apart() -> list[Batch]:
    whole = Upsert(keys=["k"], absent="delete", max_delete_fraction=None)
    return [
        (pl.DataFrame({"k": [1, 1, 2, None], "v": [1, 2, 3, 4]}), Append()),
        (pl.DataFrame({"k": [2], "v": [3]}), whole),
        (pl.DataFrame({"k": [1, 2], "v": [1, 3]}), whole),
        (pl.DataFrame({"k": [1], "v": [5]}), Overwrite(replace_keys=["k"])),
        (pl.DataFrame({"k": [1, 2], "v": [1, 3]}), whole),
        (pl.DataFrame({"k": [1], "v": [6]}), Overwrite()),
        (pl.DataFrame({"k": [2], "v": [7]}), whole),
    ]


@scenario
def rows_without_a_key_are_left_out_by_every_mode() -> list[Batch]:
    upsert = Upsert(keys=["k", "n"], null_keys="drop")
    append = Append(once=["k", "n"], null_keys="drop")
    replacing = Overwrite(replace_keys=["k", "n"], null_keys="drop")
    whole = replace(upsert, absent="delete", allow_empty=True, max_delete_fraction=None)

    def rows(k: list[str | None], n: list[int | None], v: int) -> pl.DataFrame:
        return pl.DataFrame({"k": k, "n": n, "v": [v] * len(k)}, schema_overrides={"k": pl.String, "n": pl.Int64})

    unplaced = rows([None, "a"], [1, None], 9).with_columns(new=pl.lit("x"))
    return [
        (unplaced, append),
        (rows(["a", "b", None, "c", "c"], [1, None, 1, 3, 3], 1), upsert),
        (rows(["a", None, "d"], [1, None, 4], 2), append),
        (rows(["a", "a"], [1, None], 3), replacing),
        *((unplaced, mode) for mode in (upsert, replacing, whole)),
        (unplaced.with_columns(k=pl.lit(None)), upsert),
        (rows(["a", None], [1, 1], 4), whole),
    ]
