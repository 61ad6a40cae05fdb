"""One load: what it counts, what it puts aside, and what it refuses before anything is written."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuse_dagster.core.errors import ConfigError, FuseError, InputError, SchemaError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.ingest import Ledger, Position, load, position_of
from fuse_dagster.ingest.watermark import decode, encode, event_time, is_before, less
from fuse_dagster.tables import Append, Upsert, read_ledger


@dataclass
class Folder:
    """Files by name, each with its rows; every file comes once, by its name."""

    files: dict[str, pl.DataFrame | str]
    identity: str = "folder"
    fails_to_move: bool = False
    moved: list[str] = field(default_factory=list)

    @contextmanager
    def read(self, since: Position | None, ledger: Ledger | None = None) -> Iterator[_Files]:
        del since
        known = set() if ledger is None else ledger.seen(list(self.files))
        yield _Files(self, [name for name in self.files if name not in known])


@dataclass
class _Files:
    folder: Folder
    names: Sequence[str]

    def batches(self) -> pa.RecordBatchReader:
        good = [found for name in self.names if isinstance(found := self.folder.files[name], pl.DataFrame)]
        return (pl.concat(good, how="diagonal_relaxed") if good else pl.DataFrame()).to_arrow().to_reader()

    def position(self) -> Position | None:
        return None

    def rejected(self) -> pl.DataFrame:
        bad = [name for name in self.names if isinstance(self.folder.files[name], str)]
        return pl.DataFrame({"file": bad, "_rejection_reasons": [["broken"]] * len(bad)})

    def entries(self) -> pl.DataFrame:
        return pl.DataFrame({"id": list(self.names)}, schema={"id": pl.String})

    def landed(self) -> None:
        if self.folder.fails_to_move:
            raise OSError("the folder is read-only")
        self.folder.moved += self.names


def test_a_source_with_a_ledger_brings_each_piece_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = tmp_path / "flights"
    folder = Folder({"a": pl.DataFrame({"n": [1, 2]}), "b": "broken"})
    first = load(folder, table, Append())
    assert (first.rows, first.rejected, folder.moved) == (2, 1, ["a", "b"])
    assert scan(f"{table}__rejected").collect()["file"].to_list() == ["b"]
    assert load(folder, table, Append()).written.version is None
    folder.files["c"] = pl.DataFrame({"n": [3]})
    folder.fails_to_move = True
    with caplog.at_level(logging.WARNING):
        assert load(folder, table, Append()).rows == 1
    assert "read-only" in caplog.text
    assert scan(table).collect()["n"].sort().to_list() == [1, 2, 3]
    assert read_ledger(table, "folder")["id"].to_list() == ["a", "b", "c"]
    assert load(folder, table, Append(), full_refresh=True).rows == 3
    assert scan(table).collect()["n"].sort().to_list() == [1, 2, 3]
    assert scan(f"{table}__rejected").collect().height == 1, "the same piece is put aside once"


def test_what_cannot_be_put_aside_stops_the_load(tmp_path: Path) -> None:
    def refuse(rows: pl.DataFrame) -> None:
        raise ConfigError(f"no room for {rows.height}")

    folder = Folder({"a": pl.DataFrame({"n": [1]}), "b": "broken"})
    with pytest.raises(ConfigError, match="no room for 1"):
        load(folder, tmp_path / "flights", Append(), on_rejected=refuse)
    assert not (tmp_path / "flights" / "_delta_log").exists()
    assert folder.moved == []


def test_nothing_at_all_makes_no_table(tmp_path: Path) -> None:
    result = load(Folder({}), tmp_path / "flights", Append())
    assert (result.rows, result.written.version, result.after) == (0, None, None)
    assert position_of(tmp_path / "flights", "folder") is None


@pytest.mark.parametrize("policy", ["evolve", "warn", "refuse"])
def test_drift_is_judged_before_anything_is_written(
    tmp_path: Path, policy: Any, caplog: pytest.LogCaptureFixture
) -> None:
    mode = Append()
    load(Folder({"a": pl.DataFrame({"n": [1], "gone": ["x"]})}), tmp_path, mode)
    drifted = Folder({"b": pl.DataFrame({"n": [2], "new": [True]})})
    if policy == "refuse":
        with pytest.raises(SchemaError, match="new: boolean is new; gone: gone from the source"):
            load(drifted, tmp_path, mode, drift=policy)
        assert scan(tmp_path).collect().height == 1
        return
    with caplog.at_level(logging.WARNING):
        found = load(drifted, tmp_path, mode, drift=policy)
    assert found.drift.sentences == ("new: boolean is new", "gone: gone from the source")
    assert ("have drifted" in caplog.text) == (policy == "warn")
    rows = scan(tmp_path).sort("n").select("n", "gone", "new").collect().rows()
    assert rows == [(1, "x", None), (2, None, True)]


@pytest.mark.parametrize("mode", [Append(), Upsert(keys=["n"])])
def test_a_type_that_does_not_fit_keeps_the_table_and_shows_values(tmp_path: Path, mode: Any) -> None:
    load(Folder({"a": pl.DataFrame({"n": [1], "size": [1.5]})}), tmp_path, mode)
    with pytest.raises(SchemaError, match=r"column `size` is str.*huge"):
        load(Folder({"b": pl.DataFrame({"n": [2], "size": ["huge"]})}), tmp_path, mode)
    assert scan(tmp_path).collect().rows() == [(1, 1.5)]
    assert read_ledger(tmp_path, "folder")["id"].to_list() == ["a"]


def test_an_unknown_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="valid: evolve, warn, refuse"):
        load(Folder({}), tmp_path, Append(), drift="ignore")  # type: ignore[arg-type]


VALUES = (
    st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.dates()
    | st.datetimes()
    | st.datetimes(
        timezones=st.timezones() | st.just(timezone(timedelta(hours=-11, minutes=-30))), allow_imaginary=False
    )
    | st.text()
    | st.binary()
    | st.uuids()
)


@given(VALUES)
def test_watermarks_lose_nothing_as_json(value: Any) -> None:
    try:
        found = decode(encode(value))
    except OverflowError:
        return  # the first and last hours that UTC can't say
    assert found == value
    assert encode(found) == encode(value), "one text per value"


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False) | st.integers(), min_size=2, max_size=2))
def test_watermarks_of_different_types_are_not_compared(pair: list[Any]) -> None:
    one, other = pair
    if type(one) is type(other):
        assert is_before(one, other) == (one < other)
    else:
        with pytest.raises(InputError, match="different types"):
            is_before(one, other)


def test_values_that_are_no_watermark_are_refused() -> None:
    for value in (True, 1.5, None, [1], Decimal("NaN")):
        with pytest.raises(InputError, match="can't be a watermark"):
            encode(value)  # type: ignore[arg-type]
    for pair in (("a", "b"), (b"a", b"b"), (UUID(int=1), UUID(int=2))):
        with pytest.raises(InputError, match="ordered by their own system"):
            is_before(*pair)
    for said in ({}, {"type": "int", "value": "x"}, {"type": "float", "value": "1"}, {"type": "date", "value": 3}):
        with pytest.raises(FuseError, match="is no watermark"):
            decode(said)


def test_a_lag_goes_back_far_enough_and_not_beyond_the_first_day() -> None:
    assert less(date(2024, 3, 1), timedelta(hours=1)) == date(2024, 2, 29)
    assert less(10, Decimal("0.5")) == 9
    assert less(datetime(1, 1, 2, tzinfo=UTC), timedelta(days=9)) == datetime.min.replace(tzinfo=UTC)


def test_times_without_a_zone_stand_for_no_moment_unless_it_is_said() -> None:
    """The hour that Berlin repeats in autumn is read as the first of the two."""
    naive = datetime(2024, 10, 27, 2, 30)  # noqa: DTZ001 - that is the point
    assert event_time(naive) is None
    assert event_time(naive, "Europe/Berlin") == datetime(2024, 10, 27, 0, 30, tzinfo=UTC)
    assert event_time("2024-10-27") is None
