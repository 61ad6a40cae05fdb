"""A commit through Spark lands on what it was planned on, or not at all."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from fuse_dagster.engines.spark.frames import to_spark
from fuse_dagster.tables import Append, History, Overwrite, Upsert, write
from fuse_dagster.tables.commit import APP_ID, LostRaceError, Ticket
from fuse_dagster.tables.spark.commit import SparkTable, merge, save
from fuse_dagster.tables.spark.fence import fenced, fenced_write
from fuse_dagster.tables.spark.worker import INSERT, OP
from fuse_dagster.tables.view import open_view
from fuse_dagster_tests.tables.faults.feeds import FEEDS
from fuse_dagster_tests.tables.faults.places import Place, check_whole
from fuse_dagster_tests.tables.faults.test_concurrency import order_of
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
    whole = fenced_write(planned, planned.read())
    write_deltalake(planned.view.uri, pl.DataFrame({"k": [9], "v": ["theirs"]}), mode="append")
    with pytest.raises(LostRaceError):
        save(planned, whole, mode="overwrite", ticket=Ticket(), rows_total=2)
    assert rows(planned) == [(1, "a"), (2, "b"), (9, "theirs")]


@pytest.mark.parametrize("options", [{}, {"replaceWhere": "k >= 0"}], ids=["table", "slice"])
def test_a_write_of_no_rows_does_not_undo_what_came_since(planned: SparkTable, options: dict[str, str]) -> None:
    nothing = fenced_write(planned, planned.read().filter("k > 99"))
    write_deltalake(planned.view.uri, pl.DataFrame({"k": [9], "v": ["theirs"]}), mode="append")
    with pytest.raises(LostRaceError):
        save(planned, nothing, mode="overwrite", ticket=Ticket(), rows_total=0, options=options)
    assert rows(planned) == [(1, "a"), (2, "b"), (9, "theirs")]
    again = SparkTable(planned.session, open_view(planned.view.uri))
    nothing = fenced_write(again, again.session.createDataFrame([], again.read().schema))
    save(again, nothing, mode="overwrite", ticket=Ticket(), rows_total=0, options=options)
    assert rows(again) == []


def test_a_write_does_not_undo_columns_that_came_since(planned: SparkTable) -> None:
    planned.session.sql(f"ALTER TABLE {planned.sql_name} ADD COLUMN note STRING")
    with pytest.raises(LostRaceError):
        fenced_write(planned, planned.read())


def test_settings_that_came_since_stay(planned: SparkTable) -> None:
    planned.session.sql(f"ALTER TABLE {planned.sql_name} SET TBLPROPERTIES ('mine' = 'yes')")
    planned.session.sql(f"ALTER TABLE {planned.sql_name} ADD CONSTRAINT small CHECK (k < 100)")
    whole = fenced_write(planned, planned.read().selectExpr("*", "k AS new"))
    options = {"overwriteSchema": "true"}
    save(planned, whole, mode="overwrite", ticket=Ticket(), rows_total=2, options=options)
    kept = DeltaTable(planned.view.uri).metadata().configuration
    assert (kept["mine"], kept["delta.constraints.small"]) == ("yes", "k < 100")


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


BY_SPARK, BY_US = range(1, 4), range(4, 10)


@pytest.mark.parametrize("name", ["appends", "overwrites"])
def test_both_engines_write_parts_of_one_table_at_once(tmp_path: Path, spark: SparkSession, name: str) -> None:
    place, feed = Place(str(tmp_path / "t")), FEEDS[name]
    place.apply(feed, 0)

    def ours() -> None:
        for number in BY_US:
            place.apply(feed, number)
            time.sleep(0.5)

    with ThreadPoolExecutor() as pool:
        done = pool.submit(ours)
        for number in BY_SPARK:
            place.apply(feed, number, spark=spark)
        done.result()
    order = order_of(place) if name == "overwrites" else range(10)
    assert sorted(order) == list(range(10)), "every batch is one commit"
    assert feed.found(place.rows()) == feed.expected(order)
    assert place.version() == 9
    check_whole(place)


@pytest.mark.parametrize("spark_replaces", [True, False])
def test_an_engine_replaces_the_table_while_the_other_appends(
    tmp_path: Path, spark: SparkSession, spark_replaces: bool
) -> None:
    place = Place(str(tmp_path / "t"))
    replacing = [pl.DataFrame({"n": pl.Series(numbers, dtype=pl.Int64)}) for numbers in ([100], [], [101, 102])]
    appending = [pl.DataFrame({"n": [number]}) for number in BY_US]
    write(place.uri, pl.DataFrame({"n": [0]}), Overwrite())

    def replace() -> None:
        for frame in replacing:
            write(place.uri, frame, Overwrite(skip_if_unchanged=False), spark=spark if spark_replaces else None)
            time.sleep(0 if spark_replaces else 1)

    def append() -> None:
        for frame in appending:
            write(place.uri, frame, Append(), spark=None if spark_replaces else spark)
            time.sleep(0.5 if spark_replaces else 0)

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(replace), pool.submit(append)]:
            done.result()
    landed: Counter[tuple[int, ...]] = Counter()
    held = [0]
    said = {entry["version"]: entry["operationParameters"]["mode"] for entry in place.opened().history()}
    for version in range(1, place.version() + 1):
        found = sorted(place.rows(version)["n"])
        is_append = said[version] == "Append"
        batch = Counter(found) - Counter(held) if is_append else Counter(found)
        assert found == sorted([*(held if is_append else []), *batch]), "one batch after the other, in the log's order"
        landed[tuple(sorted(batch))] += 1
        held = found
    assert landed == Counter(tuple(frame["n"]) for frame in [*replacing, *appending])
