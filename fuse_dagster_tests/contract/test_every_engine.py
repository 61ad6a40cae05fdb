"""Each scenario on Spark, and on tables that Spark and the local engine write in turn: as on the local engine alone."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from itertools import cycle, repeat
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from deltalake import DeltaTable, Field, Schema
from deltalake.schema import PrimitiveType

from fuse_dagster.core.errors import SchemaError, TableStateError
from fuse_dagster.core.results import WriteResult
from fuse_dagster.tables import History, Upsert, WriteMode, write
from fuse_dagster_tests.contract.engines import SCENARIOS, Writer, day, feed, play, snapshots
from fuse_dagster_tests.tables.oracle import ABSENT, Statement, of_changes

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]


def local(table: str, batch: pl.DataFrame, mode: WriteMode) -> WriteResult:
    return write(table, batch, mode)


@pytest.fixture
def on_spark(spark: SparkSession) -> Writer:
    def run(table: str, batch: pl.DataFrame, mode: WriteMode) -> WriteResult:
        return write(table, batch, mode, spark=spark)

    return run


def in_turn(kind: str, on_spark: Writer) -> Iterator[Writer]:
    return (
        repeat(on_spark)
        if kind == "spark"
        else cycle([local, on_spark] if kind == "local first" else [on_spark, local])
    )


@pytest.mark.parametrize("kind", ["spark", "local first"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_both_engines_mean_the_same(name: str, kind: str, tmp_path: Path, on_spark: Writer) -> None:
    batches = SCENARIOS[name]()
    expected = play(str(tmp_path / "local"), batches, repeat(local))
    found = play(str(tmp_path / "table"), batches, in_turn(kind, on_spark))
    assert found.counts == expected.counts
    assert found.rows.equals(expected.rows)
    assert found.rows.schema == expected.rows.schema


def test_a_feed_in_any_order_and_by_both_engines_is_the_oracles(tmp_path: Path, on_spark: Writer) -> None:
    chance = random.Random(4)
    said = {
        (key, at): Statement(key, at, chance.choice([ABSENT, 1, 2]))
        for key in "abcdef"
        for at in chance.sample(range(1, 20), 6)
    }
    statements = list(said.values())
    chance.shuffle(statements)
    writers = in_turn("spark first", on_spark)
    for start in range(0, len(statements), 9):
        part = statements[start : start + 9]
        rows = [(s.key, None if s.value == ABSENT else s.value, s.at, "DU"[s.value != ABSENT]) for s in part]
        ((batch, mode),) = feed(rows)  # type: ignore[arg-type]
        next(writers)(str(tmp_path / "t"), batch, mode)
    found = {
        (k, v, a.day, b and b.day)
        for k, v, a, b in pl.read_delta(str(tmp_path / "t")).select("k", "v", "valid_from", "valid_to").rows()
    }
    assert found == of_changes(statements)


# What other writers switch on, and only Spark can keep: SQL for a table `t` that exists.
FEATURES = {
    "deletion vectors": "ALTER TABLE {t} SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')",
    "column mapping": "ALTER TABLE {t} SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')",
    "a constraint": "ALTER TABLE {t} ADD CONSTRAINT small CHECK (v < 1000)",
    "change data feed": "ALTER TABLE {t} SET TBLPROPERTIES ('delta.enableChangeDataFeed' = 'true')",
}


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("kind", ["history", "upsert"])
def test_what_only_spark_can_keep_is_refused_to_the_local_engine(
    feature: str, kind: str, tmp_path: Path, spark: SparkSession, on_spark: Writer
) -> None:
    table = str(tmp_path / "t")
    first, second = {"k": ["a", "b", "c"], "v": [1, 2, 3]}, {"k": ["a", "b", "d"], "v": [1, 5, 4]}
    if kind == "history":
        batches = snapshots((1, first), (5, second))
    else:
        batches = [(pl.DataFrame(rows), Upsert(keys=["k"])) for rows in (first, second)]
    on_spark(table, *batches[0])
    spark.sql(FEATURES[feature].format(t=f"delta.`{table}`"))
    before = version(spark, table)
    with pytest.raises(TableStateError, match="do not write such tables"):
        local(table, *batches[1])
    assert version(spark, table) == before
    result = on_spark(table, *batches[1])
    assert (result.inserted, result.updated) == (1, 1)
    alone = str(tmp_path / "alone")
    for batch, mode in batches:
        local(alone, batch, mode)
    found = pl.DataFrame(spark.read.format("delta").load(table).toArrow())
    expected = pl.read_delta(alone)
    assert found.select(expected.columns).sort(pl.all()).rows() == expected.sort(pl.all()).rows()
    assert on_spark(table, *batches[1]).version is None
    if kind == "history":
        known_at_last = snapshots((9, second))[0]
        assert on_spark(table, *known_at_last).committed
        assert not on_spark(table, *known_at_last).committed


def clustered(table: str, spark: SparkSession) -> None:
    spark.sql(f"CREATE TABLE delta.`{table}` (k STRING, v BIGINT, w BIGINT) USING delta CLUSTER BY (k)")


def generated(table: str, spark: SparkSession) -> None:
    text, number = PrimitiveType("string"), PrimitiveType("long")
    rule = {"delta.generationExpression": "v * 2"}
    DeltaTable.create(table, Schema([Field("k", text), Field("v", number), Field("w", number, metadata=rule)]))


@pytest.mark.parametrize("make", [clustered, generated])
def test_tables_that_others_made_are_upserted_by_spark(
    make: Callable[[str, SparkSession], None], tmp_path: Path, spark: SparkSession, on_spark: Writer
) -> None:
    table = str(tmp_path / "t")
    make(table, spark)
    spark.sql(f"INSERT INTO delta.`{table}` VALUES ('a', 1, 2), ('b', 2, 4)")
    batch = pl.DataFrame({"k": ["a", "c"], "v": [5, 7], "w": [10, 14]})
    with pytest.raises(TableStateError, match="do not write such tables"):
        local(table, batch, Upsert(keys=["k"]))
    assert on_spark(table, batch, Upsert(keys=["k"])).inserted == 1
    found = spark.read.format("delta").load(table).collect()
    assert sorted((row.k, row.v, row.w) for row in found) == [("a", 5, 10), ("b", 2, 4), ("c", 7, 14)]
    if make is generated:
        with pytest.raises(TableStateError, match="nothing was written"):
            on_spark(table, batch.with_columns(w=pl.lit(0, dtype=pl.Int64)), Upsert(keys=["k"]))
        with pytest.raises(SchemaError, match="would be lost"):
            on_spark(table, batch.with_columns(new=pl.lit(1)), Upsert(keys=["k"]))


def test_a_constraint_that_a_row_breaks_stops_the_whole_batch(
    tmp_path: Path, spark: SparkSession, on_spark: Writer
) -> None:
    table = str(tmp_path / "t")
    on_spark(table, *snapshots((1, {"k": ["a"], "v": [1]}))[0])
    spark.sql(FEATURES["a constraint"].format(t=f"delta.`{table}`"))
    before = version(spark, table)
    with pytest.raises(TableStateError, match="nothing was written"):
        on_spark(table, *snapshots((3, {"k": ["a"], "v": [2000]}))[0])
    assert version(spark, table) == before
    on_spark(table, *snapshots((4, {"k": ["a"], "v": [7]}))[0])


def test_a_spark_frame_is_written_as_it_is(tmp_path: Path, spark: SparkSession) -> None:
    frame = spark.sql("SELECT 'a' AS k, 1L AS v, TIMESTAMP '2024-01-01 00:00:00' AS seen")
    mode = History(keys=["k"], effective_at=day(1))
    assert write(str(tmp_path / "t"), frame, mode, spark=spark).inserted == 1
    assert pl.read_delta(str(tmp_path / "t"))["seen"].item() == dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def version(spark: SparkSession, table: str) -> int:
    return int(spark.sql(f"DESCRIBE HISTORY delta.`{table}` LIMIT 1").collect()[0].version)
