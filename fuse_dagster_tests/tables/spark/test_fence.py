"""A commit through Spark lands on what it was planned on, or not at all."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from fuse_dagster.engines.spark.frames import to_spark
from fuse_dagster.tables import History, Upsert, write
from fuse_dagster.tables.commit import APP_ID, LostRaceError, Ticket
from fuse_dagster.tables.spark.commit import SparkTable, merge, save
from fuse_dagster.tables.spark.fence import fenced
from fuse_dagster.tables.spark.worker import INSERT, OP
from fuse_dagster.tables.view import open_view
from fuse_dagster_tests.tables.oracle import of_snapshots

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]
START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def planned(tmp_path: Path, spark: SparkSession) -> SparkTable:
    """A table with two rows, opened to plan on."""
    table = str(tmp_path / "t")
    write(table, pl.DataFrame({"k": [1, 2], "v": ["a", "b"]}), Upsert(keys=["k"]))
    return SparkTable(spark, open_view(table))


def insert(table: SparkTable, ticket: Ticket) -> None:
    rows: DataFrame = to_spark(table.session, pl.DataFrame({OP: [INSERT], "k": [3], "v": ["c"]}))
    merge(
        table, fenced(table, rows), identity=["k"], columns=["k", "v"], reaching=None, ticket=ticket, rows_total=3
    )  # fmt: skip


def rows(table: SparkTable) -> list[tuple[int, str]]:
    return pl.read_delta(table.view.uri).select("k", "v").sort("k").rows()


def test_a_merge_lands_on_the_files_it_was_planned_on(planned: SparkTable) -> None:
    insert(planned, Ticket())
    assert rows(planned) == [(1, "a"), (2, "b"), (3, "c")]


def test_a_merge_does_not_land_on_rows_that_came_since(planned: SparkTable) -> None:
    write(planned.view.uri, pl.DataFrame({"k": [3], "v": ["theirs"]}), Upsert(keys=["k"]))
    with pytest.raises(LostRaceError):
        insert(planned, Ticket())
    assert rows(planned) == [(1, "a"), (2, "b"), (3, "theirs")]


def test_a_merge_does_not_land_where_rows_went_since(planned: SparkTable) -> None:
    planned.session.sql(f"DELETE FROM {planned.sql_name} WHERE k = 1")
    version = open_view(planned.view.uri).version
    with pytest.raises(LostRaceError):
        insert(planned, Ticket())
    assert open_view(planned.view.uri).version == version


def test_a_merge_does_not_land_after_a_commit_of_its_transaction(planned: SparkTable) -> None:
    insert(planned, Ticket({APP_ID: 1}))
    again = SparkTable(planned.session, open_view(planned.view.uri))
    with pytest.raises(LostRaceError):
        insert(again, Ticket({APP_ID: 1}))
    assert len(rows(planned)) == 3


def test_a_write_of_the_whole_table_does_not_undo_what_came_since(planned: SparkTable) -> None:
    whole = fenced(planned, planned.read())
    write_deltalake(planned.view.uri, pl.DataFrame({"k": [9], "v": ["theirs"]}), mode="append")
    with pytest.raises(LostRaceError):
        save(planned, whole, mode="overwrite", ticket=Ticket(), rows_total=2)
    assert rows(planned) == [(1, "a"), (2, "b"), (9, "theirs")]


def contents(at: int) -> dict[int, int]:
    return {key: (key * at) % 3 for key in range(30) if (key + at) % 7}


def apply(table: str, moments: list[int], spark: SparkSession | None) -> None:
    for at in moments:
        frame = pl.DataFrame(list(contents(at).items()), schema=["k", "v"], orient="row")
        write(table, frame, History(keys=["k"], effective_at=START + dt.timedelta(hours=at)), spark=spark)


def test_both_engines_write_one_history_at_once(tmp_path: Path, spark: SparkSession) -> None:
    table = str(tmp_path / "t")
    apply(table, [0], None)
    with ThreadPoolExecutor() as pool:
        done = [pool.submit(apply, table, [2, 5], spark), pool.submit(apply, table, [1, 3, 4, 6, 7], None)]
        for one in done:
            one.result()
    found = pl.read_delta(table).select("k", "v", "valid_from", "valid_to").rows()
    hours = {
        (k, v, int((a - START).total_seconds()) // 3600, b and int((b - START).total_seconds()) // 3600)
        for k, v, a, b in found
    }
    assert len(hours) == len(found)
    assert hours == of_snapshots({at: contents(at) for at in range(8)})
    assert DeltaTable(table).version() == 7
