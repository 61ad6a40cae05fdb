"""Columns that snapshots lack: null from then on, or carried from the snapshot before, in any order of arrival."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_dagster.core.errors import ConfigError, SchemaError
from fuse_dagster.tables import History, write
from fuse_dagster_tests.tables.history.test_properties import PATIENT, START, moment, times
from fuse_dagster_tests.tables.oracle import Version, of_partial_snapshots

FEW = settings(PATIENT, max_examples=20)
COLUMNS = ("a", "b")
Partial = tuple[frozenset[str], Mapping[str, Mapping[str, Any]]]

row = st.fixed_dictionaries(dict.fromkeys(COLUMNS, st.sampled_from([None, 1, 2])))
partial_snapshots = st.tuples(
    st.sampled_from([frozenset(), frozenset("a"), frozenset("b"), frozenset("ab")]),
    st.dictionaries(st.sampled_from(["x", "y"]), row, min_size=1),
)


def frame(snapshot: Partial) -> pl.DataFrame:
    """What arrives: the columns that the snapshot brings, and one that is always there."""
    brought, rows = snapshot
    return pl.DataFrame(
        {"k": list(rows), "u": [0] * len(rows), **{c: [r[c] for r in rows.values()] for c in sorted(brought)}},
        schema_overrides=dict.fromkeys(brought, pl.Int64),
    )


def declared(at: int, how: Literal["null", "carry"]) -> History:
    return History(keys=["k"], effective_at=moment(at), max_delete_fraction=None, missing_column=how)


def read(table: str) -> set[Version]:
    found = pl.read_delta(table)
    wanted = [pl.col(c) if c in found.columns else pl.lit(None).alias(c) for c in COLUMNS]
    versions = [
        (k, (a, b), int((since - START).total_seconds() // 3600), end and int((end - START).total_seconds() // 3600))
        for k, a, b, since, end in found.select("k", *wanted, "valid_from", "valid_to").iter_rows()
    ]
    assert len(versions) == len(set(versions)), "a version stands twice"
    return set(versions)


@pytest.mark.parametrize("how", ["null", "carry"])
@FEW
@given(st.dictionaries(times, partial_snapshots, min_size=1, max_size=6), st.data())
def test_any_order_of_partial_snapshots_gives_the_same_history(
    how: Literal["null", "carry"], snapshots: dict[int, Partial], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(sorted(snapshots)))
    expected = of_partial_snapshots(snapshots, COLUMNS, carry=how == "carry")
    with TemporaryDirectory() as folder:
        for at in order:
            result = write(folder + "/t", frame(snapshots[at]), declared(at, how))
            assert result.rows_in == result.inserted + result.updated + result.unchanged
        assert read(folder + "/t") == expected
        assert not any(write(folder + "/t", frame(snapshots[at]), declared(at, how)).committed for at in snapshots)
        assert read(folder + "/t") == expected


@FEW
@given(st.dictionaries(times, partial_snapshots, min_size=2, max_size=6), st.data())
def test_several_partial_snapshots_in_one_batch_carry_over_each_other(
    snapshots: dict[int, Partial], data: st.DataObject
) -> None:
    """The snapshots of one batch share their columns, so those with the same ones come together."""
    groups = data.draw(st.permutations(sorted({brought for brought, _ in snapshots.values()}, key=sorted)))
    mode = History(keys=["k"], effective_column="at", max_delete_fraction=None, missing_column="carry")
    with TemporaryDirectory() as folder:
        for group in groups:
            parts = [frame(one).with_columns(at=pl.lit(moment(at))) for at, one in snapshots.items() if one[0] == group]
            write(folder + "/t", pl.concat(parts), mode)
        assert read(folder + "/t") == of_partial_snapshots(snapshots, COLUMNS, carry=True)


@FEW
@given(st.dictionaries(times, partial_snapshots, min_size=2, max_size=5), partial_snapshots, st.data())
def test_a_correction_ripples_to_the_snapshots_that_carry_from_it(
    snapshots: dict[int, Partial], better: Partial, data: st.DataObject
) -> None:
    corrected = data.draw(st.sampled_from(sorted(snapshots)))
    with TemporaryDirectory() as folder:
        for at, one in snapshots.items():
            write(folder + "/t", frame(one), declared(at, "carry"))
        write(folder + "/t", frame(better), declared(corrected, "carry"))
        truth = {**snapshots, corrected: better}
        assert read(folder + "/t") == of_partial_snapshots(truth, COLUMNS, carry=True)


def test_what_is_carried_is_what_held_just_before(tmp_path: Path) -> None:
    table = str(tmp_path / "t")
    full, short = pl.DataFrame({"k": ["x", "y"], "a": [1, 2]}), pl.DataFrame({"k": ["x", "y", "z"]})
    write(table, full, declared(1, "carry"))
    assert write(table, short, declared(2, "carry")).inserted == 1
    assert pl.read_delta(table).sort("k").select("k", "a").rows() == [("x", 1), ("y", 2), ("z", None)]


def test_a_late_snapshot_with_the_column_reaches_those_without_it(tmp_path: Path) -> None:
    table = str(tmp_path / "t")
    for at, a in ((1, 1), (5, 5)):
        write(table, pl.DataFrame({"k": ["x"], "a": [a]}), declared(at, "carry"))
    write(table, pl.DataFrame({"k": ["x"]}), declared(3, "carry"))
    late = write(table, pl.DataFrame({"k": ["x"], "a": [2]}), declared(2, "carry"))
    assert (late.updated, late.inserted, late.closed) == (1, 0, 0), "the counts are those of the snapshot itself"
    assert read(table) == {("x", (1, None), 1, 2), ("x", (2, None), 2, 5), ("x", (5, None), 5, None)}


@pytest.mark.parametrize("how", ["error", "null"])
def test_changes_that_lack_a_column(tmp_path: Path, how: Any) -> None:
    table = str(tmp_path / "t")
    day = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    mode = History(keys=["k"], source="changes", effective_column="at", missing_column=how)
    write(table, pl.DataFrame({"k": ["x"], "a": [1], "at": [day]}), mode)
    second = pl.DataFrame({"k": ["x"], "at": [day + dt.timedelta(days=1)]})
    if how == "error":
        with pytest.raises(SchemaError, match="lacks"):
            write(table, second, mode)
    else:
        assert write(table, second, mode).updated == 1
        assert sorted(pl.read_delta(table)["a"].to_list(), key=str) == [1, None]


@pytest.mark.parametrize("source", [{"source": "changes", "effective_column": "at"}, {"deletes": "ignore"}])
def test_statements_about_single_keys_carry_nothing(source: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r'missing_column="carry".*which statement came before'):
        History(keys=["k"], missing_column="carry", **source)
