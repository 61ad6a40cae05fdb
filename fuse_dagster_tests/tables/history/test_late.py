"""What is late may be put in its place, left out, or refused; what is said again is never late."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuse_dagster.core.errors import TimeValueError
from fuse_dagster.tables import History, write
from fuse_dagster_tests.tables.history.test_properties import (
    PATIENT,
    feed,
    keys,
    moment,
    plain,
    plain_statements,
    read,
    rows,
    times,
    values,
)
from fuse_dagster_tests.tables.oracle import ABSENT, Statement, of_changes, of_snapshots


def on(day: int, **options: Any) -> History:
    return History(keys=["k"], effective_at=dt.date(2024, 1, day), **options)


def snapshot(values: dict[str, int]) -> pl.DataFrame:
    return pl.DataFrame({"k": list(values), "v": list(values.values())})


@pytest.fixture
def table(tmp_path: Path) -> str:
    """A at 1 from the 5th, at 2 from the 10th."""
    uri = str(tmp_path / "t")
    write(uri, snapshot({"A": 1}), on(5))
    write(uri, snapshot({"A": 2}), on(10))
    return uri


def test_a_late_snapshot_is_left_out_and_counted(table: str, caplog: pytest.LogCaptureFixture) -> None:
    before = pl.read_delta(table)
    result = write(table, snapshot({"A": 9, "B": 9}).with_columns(new=pl.lit("x")), on(7, late="ignore"))
    assert (result.version, result.rows_in, result.rejected, result.unchanged) == (None, 2, 2, 0)
    assert pl.read_delta(table).equals(before)
    assert "2 rows are late" in caplog.text


def test_a_late_snapshot_is_refused_with_both_times(table: str) -> None:
    with pytest.raises(TimeValueError, match=r"2024-01-07.* is late: the one of 2024-01-10") as refused:
        write(table, snapshot({"A": 9}), on(7, late="error"))
    assert 'late="splice"' in str(refused.value)
    assert pl.read_delta(table).height == 2


@pytest.mark.parametrize("late", ["splice", "ignore", "error"])
def test_a_known_snapshot_again_is_not_late(table: str, late: Any) -> None:
    result = write(table, snapshot({"A": 1}), on(5, late=late))
    assert (result.version, result.unchanged, result.rejected) == (None, 1, 0)


def test_a_correction_before_the_last_snapshot_is_late(table: str) -> None:
    assert write(table, snapshot({"A": 7}), on(5, late="ignore")).rejected == 1
    assert write(table, snapshot({"A": 7}), on(10, late="ignore")).updated == 1, "the last one may be corrected"


def test_of_several_snapshots_only_the_late_ones_are_left_out(table: str) -> None:
    days = [dt.datetime(2024, 1, day, tzinfo=dt.UTC) for day in (7, 12)]
    both = pl.DataFrame({"k": ["A", "A"], "v": [7, 12], "at": days})
    mode = History(keys=["k"], effective_column="at", late="ignore")
    result = write(table, both, mode)
    assert (result.rejected, result.updated) == (1, 1)
    assert sorted(pl.read_delta(table)["v"]) == [1, 2, 12]


FEED: dict[str, Any] = {
    "keys": ["k"], "source": "changes", "effective_column": "at", "delete_when": "gone", "ignore": ["gone"],
}  # fmt: skip


def say(*statements: tuple[str, int | None, int]) -> pl.DataFrame:
    made = [(k, v, dt.datetime(2024, 1, day, tzinfo=dt.UTC), v is None) for k, v, day in statements]
    schema = {"k": pl.String, "v": pl.Int64, "at": pl.Datetime("us", "UTC"), "gone": pl.Boolean}
    return pl.DataFrame(made, schema=schema, orient="row")


def test_late_rows_are_left_out_by_key(tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    write(uri, say(("A", 1, 5), ("B", 1, 2)), History(**FEED))
    result = write(uri, say(("A", 9, 3), ("B", 9, 3), ("C", 9, 3), ("C", 8, 1)), History(**FEED, late="ignore"))
    assert (result.rejected, result.updated, result.inserted, result.unchanged) == (1, 2, 1, 0)
    found = pl.read_delta(uri).sort("k", "valid_from").select("k", "v").rows()
    assert found == [("A", 1), ("B", 1), ("B", 9), ("C", 8), ("C", 9)]


@pytest.mark.parametrize("known", [("A", 1, 5), ("A", None, 5)], ids=["a restatement", "a delete"])
def test_what_only_memory_knows_makes_a_row_late_too(tmp_path: Path, known: tuple[str, int | None, int]) -> None:
    uri = str(tmp_path / "t")
    write(uri, say(("A", 1, 1), known), History(**FEED))
    with pytest.raises(TimeValueError, match=r"1 rows are late.*k='A', v=3"):
        write(uri, say(("A", 3, 3)), History(**FEED, late="error"))
    assert write(uri, say(("A", 3, 3)), History(**FEED, late="ignore")).rejected == 1


def test_a_forgotten_restatement_said_again_is_not_late(tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    batch = say(("A", 1, 1), ("A", 1, 3), ("A", 2, 5), ("B", None, 1), ("B", 1, 2))
    for late in ("splice", "error", "error"):
        result = write(uri, batch, History(**FEED, restatements="forget", late=late))
    assert (result.version, result.rejected, result.unchanged) == (None, 0, 5)


batches = st.lists(
    st.lists(
        st.builds(Statement, key=keys, at=times, value=values | st.just(ABSENT), sequence=st.integers(0, 2)),
        min_size=1,
        max_size=5,
        unique_by=lambda s: (s.key, s.at, s.sequence),
    ),
    min_size=1,
    max_size=4,
)


@PATIENT
@given(batches)
def test_ignored_late_rows_are_those_behind_their_key(batches: list[list[Statement]]) -> None:
    mode = History(
        keys=["k", "n"], source="changes", effective_column="at", sequence_by="seq", delete_when="gone",
        ignore=["gone"], late="ignore", on_correction="replace",
    )  # fmt: skip
    accepted: dict[tuple[Any, int], Statement] = {}
    with TemporaryDirectory() as folder:
        for batch in map(plain_statements, batches):
            last = {s.key: max(o.at for o in accepted.values() if o.key == s.key) for s in accepted.values()}
            rejected = 0
            for one in sorted(batch, key=lambda s: s.sequence):
                known = accepted.get((one.key, one.at))
                is_news = known is None or (one.sequence, one.value) != (known.sequence, known.value)
                behind = one.at < last.get(one.key, -1)
                if behind and is_news and not (known and one.sequence < known.sequence):
                    rejected += 1
            for one in sorted(batch, key=lambda s: s.sequence):
                known = accepted.get((one.key, one.at))
                if one.at >= last.get(one.key, -1) and (known is None or one.sequence >= known.sequence):
                    accepted[one.key, one.at] = one
            result = write(folder + "/t", feed(raw(batch), sequence=True), mode)
            assert result.rejected == rejected
        assert read(folder + "/t") == of_changes(accepted.values())


def raw(batch: list[Statement]) -> list[Statement]:
    """The oracle's values as a frame can hold them."""
    return [Statement(s.key, s.at, s.value if s.value == ABSENT else unplain(s.value), s.sequence) for s in batch]


def unplain(value: Any) -> Any:
    return (float("nan") if value[0] == "nan" else value[0], value[1])


@PATIENT
@given(st.lists(st.tuples(times, st.dictionaries(keys, values, min_size=1)), min_size=1, max_size=6))
def test_ignored_late_snapshots_leave_the_history_of_the_others(arrivals: list[tuple[int, Any]]) -> None:
    accepted: dict[int, Any] = {}
    with TemporaryDirectory() as folder:
        for at, batch in arrivals:
            mode = History(keys=["k", "n"], effective_at=moment(at), max_delete_fraction=None, late="ignore")
            result = write(folder + "/t", rows(batch), mode)
            said = {key: plain(value) for key, value in batch.items()}
            if at >= max(accepted, default=at):
                accepted[at] = said
                assert result.rejected == 0
            else:
                assert result.rejected == (0 if accepted.get(at) == said else len(batch))
        assert read(folder + "/t") == of_snapshots(accepted)
