"""Maintenance between any batches, in any order, against the oracle: no row and no later result changes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_dagster.tables import History, Upsert, checkpoint, compact, foreign_changes, maintain, vacuum, write
from fuse_dagster_tests.tables.history.test_properties import (
    PATIENT,
    feed,
    grouped,
    keys,
    mode_at,
    plain,
    plain_statements,
    read,
    rows,
    statements,
    times,
    values,
)
from fuse_dagster_tests.tables.oracle import Statement, of_changes, of_snapshots

FEED = History(
    keys=["k", "n"], source="changes", effective_column="at", sequence_by="seq", delete_when="gone", ignore=["gone"]
)
SOME = settings(PATIENT, max_examples=25)


def old(table: str) -> None:
    """Let every file be older than any retention, and the table keep nothing."""
    said = {"delta.logRetentionDuration": "interval 0 seconds", "delta.deletedFileRetentionDuration": "interval 0 days"}
    if not said.items() <= (DeltaTable(table).metadata().configuration or {}).items():
        DeltaTable(table).alter.set_table_properties(said)
    then = time.time() - 90 * 86400
    for path in [*Path(table).glob("*.parquet"), *Path(table, "_fuse").glob("*")]:
        os.utime(path, (then, then))


def remove(table: str) -> None:
    old(table)
    assert not vacuum(table, dry_run=False).dry_run


def forget(table: str) -> None:
    old(table)
    checkpoint(table)


def all_of_it(table: str) -> None:
    old(table)
    maintain(table, remove=True, rows_per_file=4)


WAYS: dict[str, Callable[[str], Any]] = {
    "compact": compact,
    "small files": lambda table: compact(table, rows_per_file=4),
    "by another column": lambda table: compact(table, cluster_by=["t"], rows_per_file=4),
    "others": lambda table: DeltaTable(table).optimize.compact(),
    "vacuum": remove,
    "checkpoint": forget,
    "all": all_of_it,
}
upkeep = st.lists(st.sampled_from(sorted(WAYS)), max_size=2)


def look_after(table: str, ways: list[str]) -> None:
    """Maintain a table, and see that its rows are the same, and its memory in step."""
    before = pl.read_delta(table)
    for way in ways:
        WAYS[way](table)
        after = pl.read_delta(table)
        assert sorted(map(str, after.rows())) == sorted(map(str, before.rows())), way
    assert all(change.is_harmless for change in foreign_changes(table))


@SOME
@given(st.dictionaries(times, st.dictionaries(keys, values), min_size=1, max_size=5), st.data())
def test_snapshots_with_maintenance_between_them(snapshots: dict[int, Any], data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        for at in data.draw(st.permutations(sorted(snapshots))):
            write(folder + "/t", rows(snapshots[at]), mode_at(at))
            look_after(folder + "/t", data.draw(upkeep))
        assert all(write(folder + "/t", rows(snapshots[at]), mode_at(at)).version is None for at in snapshots)
        expected = of_snapshots({at: {k: plain(v) for k, v in s.items()} for at, s in snapshots.items()})
        assert read(folder + "/t") == expected


@SOME
@given(statements, st.data())
def test_changes_with_maintenance_between_them(batch: list[Statement], data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        groups = grouped(batch, data)
        for group in groups:
            write(folder + "/t", feed(group, sequence=True), FEED)
            look_after(folder + "/t", data.draw(upkeep))
        assert not any(write(folder + "/t", feed(group, sequence=True), FEED).committed for group in groups)
        assert read(folder + "/t") == of_changes(plain_statements(batch))


@SOME
@given(st.lists(st.dictionaries(st.integers(0, 9), st.integers(0, 3), min_size=1), min_size=1, max_size=5), st.data())
def test_upserts_with_maintenance_between_them(batches: list[dict[int, int]], data: st.DataObject) -> None:
    ways = {
        "by key": lambda table: compact(table, cluster_by=["k"], rows_per_file=4),
        "as they lie": compact,
        "all": lambda table: maintain(table, cluster_by=["k"], remove=True),
    }
    truth: dict[int, int] = {}
    with TemporaryDirectory() as folder:
        for batch in batches:
            write(folder + "/t", pl.DataFrame({"k": [*batch], "v": [*batch.values()]}), Upsert(keys=["k"]))
            truth |= batch
            for way in data.draw(st.lists(st.sampled_from(sorted(ways)), max_size=2)):
                ways[way](folder + "/t")
            assert dict(pl.read_delta(folder + "/t").rows()) == truth
