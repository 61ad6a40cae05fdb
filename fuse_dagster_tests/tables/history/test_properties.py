"""History against the oracle: any order, any grouping, any repetition of accepted batches gives the same table."""

from __future__ import annotations

import datetime as dt
import math
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuse_dagster.tables import History, write
from fuse_dagster_tests.tables.oracle import ABSENT, Statement, Version, of_changes, of_snapshots

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
PATIENT = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Two columns make a value: a float with everything that compares oddly, and a string where "" is not null.
floats = st.sampled_from([None, 0.0, -0.0, 1.5, math.nan])
texts = st.sampled_from([None, "", "x"])
values = st.tuples(floats, texts)
keys = st.tuples(st.sampled_from(["a", "ä", ""]), st.sampled_from([1, 2]))
times = st.integers(0, 6)
SCHEMA = {"k": pl.String, "n": pl.Int64, "f": pl.Float64, "t": pl.String}


def moment(at: int) -> dt.datetime:
    return START + dt.timedelta(hours=at)


def plain(value: Any) -> Any:
    """NaN and -0.0 as the one value that they are taken for."""
    number, text = value
    return ("nan" if number is not None and math.isnan(number) else None if number is None else number + 0.0), text


def rows(batch: dict[Any, Any]) -> pl.DataFrame:
    return pl.DataFrame([(*key, *value) for key, value in batch.items()], schema=SCHEMA, orient="row")


def read(table: str) -> set[Version]:
    found = pl.read_delta(table)
    assert found.select((pl.col("is_current") == pl.col("valid_to").is_null()).all()).item()
    hours = [
        (
            (k, n),
            plain((f, t)),
            int((a - START).total_seconds() // 3600),
            b and int((b - START).total_seconds() // 3600),
        )
        for k, n, f, t, a, b in found.select("k", "n", "f", "t", "valid_from", "valid_to").iter_rows()
    ]
    assert len(hours) == len(set(hours)), "a version stands twice"
    return set(hours)


@PATIENT
@given(st.dictionaries(times, st.dictionaries(keys, values), min_size=1, max_size=5), st.data())
def test_snapshots_in_any_order_give_the_same_history(snapshots: dict[int, Any], data: st.DataObject) -> None:
    order = data.draw(st.permutations(sorted(snapshots)))
    repeated = data.draw(st.lists(st.sampled_from(order), max_size=2))
    with TemporaryDirectory() as folder:
        for at in [*order, *repeated]:
            mode = History(keys=["k", "n"], effective_at=moment(at), max_delete_fraction=None, allow_empty=True)
            result = write(folder + "/t", rows(snapshots[at]), mode)
            assert result.rows_in == result.inserted + result.updated + result.unchanged + result.duplicates
        assert all(write(folder + "/t", rows(snapshots[at]), mode_at(at)).version is None for at in snapshots)
        expected = of_snapshots({at: {k: plain(v) for k, v in s.items()} for at, s in snapshots.items()})
        assert read(folder + "/t") == expected


def mode_at(at: int) -> History:
    return History(keys=["k", "n"], effective_at=moment(at), max_delete_fraction=None, allow_empty=True)


@PATIENT
@given(st.dictionaries(times, st.dictionaries(keys, values, min_size=1), min_size=1, max_size=5), st.data())
def test_several_snapshots_in_one_batch_are_one_commit(snapshots: dict[int, Any], data: st.DataObject) -> None:
    late = set(data.draw(st.lists(st.sampled_from(sorted(snapshots)), unique=True, max_size=len(snapshots) - 1)))
    mode = History(keys=["k", "n"], effective_column="at", max_delete_fraction=None)
    with TemporaryDirectory() as folder:
        for group in ([at for at in snapshots if at not in late], sorted(late)):
            parts = [rows(snapshots[at]).with_columns(at=pl.lit(moment(at))) for at in group]
            if parts:
                before = write(folder + "/t", pl.concat(parts), mode).table_version
                assert write(folder + "/t", pl.concat(parts), mode).table_version == before
        expected = of_snapshots({at: {k: plain(v) for k, v in s.items()} for at, s in snapshots.items()})
        assert read(folder + "/t") == expected


@PATIENT
@given(
    st.dictionaries(times, st.dictionaries(keys, values, min_size=1), min_size=2, max_size=4),
    st.dictionaries(keys, values, min_size=1),
    st.data(),
)
def test_a_correction_replaces_what_its_snapshot_said(
    snapshots: dict[int, Any], better: Any, data: st.DataObject
) -> None:
    corrected = data.draw(st.sampled_from(sorted(snapshots)))
    with TemporaryDirectory() as folder:
        for at, batch in snapshots.items():
            write(folder + "/t", rows(batch), mode_at(at))
        write(folder + "/t", rows(better), mode_at(corrected))
        truth = {**snapshots, corrected: better}
        expected = of_snapshots({at: {k: plain(v) for k, v in s.items()} for at, s in truth.items()})
        assert read(folder + "/t") == expected


statements = st.lists(
    st.builds(Statement, key=keys, at=times, value=values | st.just(ABSENT), sequence=st.integers(0, 2)),
    min_size=1,
    max_size=12,
    unique_by=lambda s: (s.key, s.at, s.sequence),
)


def feed(batch: list[Statement], *, sequence: bool) -> pl.DataFrame:
    made = [
        (*s.key, *((None, None) if s.value == ABSENT else s.value), moment(s.at), s.value == ABSENT, s.sequence)  # type: ignore[misc]
        for s in batch
    ]
    frame = pl.DataFrame(
        made,
        schema={**SCHEMA, "at": pl.Datetime("us", "UTC"), "gone": pl.Boolean, "seq": pl.Int64},
        orient="row",
    )
    return frame if sequence else frame.drop("seq")


def grouped(batch: list[Statement], data: st.DataObject) -> list[list[Statement]]:
    order = data.draw(st.permutations(batch))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=4)))
    groups = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    full = [group for group in groups if group]
    return [*full, *data.draw(st.lists(st.sampled_from(full), max_size=2))]


@PATIENT
@given(statements, st.data())
def test_changes_in_any_order_and_grouping_give_the_same_history(batch: list[Statement], data: st.DataObject) -> None:
    mode = History(
        keys=["k", "n"], source="changes", effective_column="at", sequence_by="seq", delete_when="gone", ignore=["gone"]
    )
    with TemporaryDirectory() as folder:
        for group in grouped(batch, data):
            result = write(folder + "/t", feed(group, sequence=True), mode)
            counted = result.inserted + result.updated + result.unchanged + result.duplicates + result.closed
            assert counted == result.rows_in
        again = [write(folder + "/t", feed(group, sequence=True), mode) for group in grouped(batch, data)]
        assert not any(result.committed for result in again)
        assert read(folder + "/t") == of_changes(plain_statements(batch))


@PATIENT
@given(statements, st.data())
def test_changes_without_a_sequence(batch: list[Statement], data: st.DataObject) -> None:
    once = list({(s.key, s.at): s for s in batch}.values())
    mode = History(keys=["k", "n"], source="changes", effective_column="at", delete_when="gone", ignore=["gone"])
    with TemporaryDirectory() as folder:
        for group in grouped(once, data):
            write(folder + "/t", feed(group, sequence=False), mode)
        assert read(folder + "/t") == of_changes(plain_statements(once))


def plain_statements(batch: list[Statement]) -> list[Statement]:
    return [s if s.value == ABSENT else Statement(s.key, s.at, plain(s.value), s.sequence) for s in batch]


@PATIENT
@given(st.dictionaries(times, st.dictionaries(keys, values, min_size=1), min_size=1, max_size=5), st.data())
def test_snapshots_without_deletes_are_changes(snapshots: dict[int, Any], data: st.DataObject) -> None:
    order = data.draw(st.permutations(sorted(snapshots)))
    with TemporaryDirectory() as folder:
        for at in order:
            mode = History(keys=["k", "n"], effective_at=moment(at), deletes="ignore")
            write(folder + "/t", rows(snapshots[at]), mode)
        said = [Statement(k, at, plain(v)) for at, batch in snapshots.items() for k, v in batch.items()]
        assert read(folder + "/t") == of_changes(said)


@PATIENT
@given(st.dictionaries(times, st.booleans(), min_size=2, max_size=5), st.data())
def test_a_column_that_appears_is_null_before_in_any_order(has_it: dict[int, bool], data: st.DataObject) -> None:
    appears = sorted(has_it)[len(has_it) // 2]
    snapshots = {
        at: pl.DataFrame({"k": ["a", "b"], "v": [at // 2, 0]}).with_columns(
            *([pl.Series("late", [str(at % 2), None])] if at >= appears else [])
        )
        for at in has_it
    }
    order = data.draw(st.permutations(sorted(snapshots)))
    with TemporaryDirectory() as folder:
        for at in order:
            write(folder + "/t", snapshots[at], History(keys=["k"], effective_at=moment(at)))
        truth = {at: {k: (v, *rest, None)[:2] for k, v, *rest in frame.iter_rows()} for at, frame in snapshots.items()}
        found = {
            (k, (v, late), int((a - START).total_seconds() // 3600), b and int((b - START).total_seconds() // 3600))
            for k, v, late, a, b in pl.read_delta(folder + "/t")
            .select("k", "v", "late", "valid_from", "valid_to")
            .rows()
        }
        assert found == of_snapshots(truth)


def test_the_oracle_says_what_the_design_says() -> None:
    """A at 1, A at 5, then B at 3 arriving last, is A [1,3) B [3,5) A [5, null)."""
    said = [Statement("k", 1, "A"), Statement("k", 5, "A"), Statement("k", 3, "B")]
    assert of_changes(said) == {("k", "A", 1, 3), ("k", "B", 3, 5), ("k", "A", 5, None)}
    assert of_changes([Statement("k", 4, ABSENT), Statement("k", 2, "A")]) == {("k", "A", 2, 4)}
