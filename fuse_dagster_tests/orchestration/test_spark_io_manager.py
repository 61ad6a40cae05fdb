"""Assets on Spark: written by it and read from it, with the metadata and the errors of the local engine."""

# Dagster reads these annotations, so they are not postponed.
import datetime as dt
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl
import pytest
from pyspark.sql import DataFrame, SparkSession

from fuse_dagster import DeltaIOManager, DeltaTables, SparkResource, delta_table, history_table, sql_model
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.engines.spark.frames import from_spark, to_spark
from fuse_dagster.orchestration.engine import session_of
from fuse_dagster.orchestration.loading import ReadOptions
from fuse_dagster_tests.orchestration.helpers import Lake, errors, metadata

pytestmark = [pytest.mark.spark, pytest.mark.slow]

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-05")
RELEASES = dg.StaticPartitionsDefinition(["20240101", "20240201"])


def run(lake: Lake, assets: Sequence[Any], *, spark: bool = True, **options: Any) -> dg.ExecuteInProcessResult:
    given = {"spark": SparkResource()} if spark else {}
    return dg.materialize(
        assets,
        instance=lake.instance,
        resources={
            "io_manager": DeltaIOManager(lake=lake.connector, **given),
            "tables": DeltaTables(lake=lake.connector, **given),
            "spark": SparkResource(),
        },
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
        **options,
    )


def engine_of(lake: Lake, *key: str) -> str:
    """Who made the newest commit."""
    newest = max((lake.root.joinpath(*key) / "_delta_log").glob("*.json")).read_text()
    return "spark" if "Apache-Spark" in newest else "local"


@delta_table(partitions_def=DAYS, partition_by="day")
def events(context: dg.AssetExecutionContext, spark: SparkResource) -> DataFrame:
    """Written by Spark, a day at a time."""
    day = context.partition_time_window.start.date()
    rows = pl.DataFrame({"day": [day] * 3, "n": [1, 2, 3], "at": [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)] * 3})
    return to_spark(spark.spark_session, rows)


seen: dict[str, Any] = {}


@dg.asset(
    partitions_def=DAYS,
    ins={"events": dg.AssetIn(metadata={"columns": ["n", "day"]})},
    metadata={"partition_by": "day"},
)
def doubled(events: DataFrame) -> DataFrame:
    """Reads its own day of the events through Spark."""
    seen["columns"], seen["rows"] = events.columns, events.count()
    return events.selectExpr("day", "n * 2 AS n")


totals = sql_model("totals", "SELECT day, sum(n)::BIGINT AS n FROM doubled GROUP BY ALL")


@dg.asset(ins={"totals": dg.AssetIn()})
def as_polars(totals: pl.DataFrame) -> pl.DataFrame:
    """Other annotations go on as before."""
    return totals


def test_partitions_go_out_and_come_in_through_spark(lake: Lake, spark: SparkSession) -> None:
    assert spark
    for day in ("2024-01-01", "2024-01-02"):
        result = run(lake, [events, doubled], partition_key=day)
        assert result.success, list(errors(result))
    assert (seen["columns"], seen["rows"]) == (["n", "day"], 3)
    assert lake.layout("events") == ["day"]
    assert lake.rows("doubled")["n"].to_list() == [2, 4, 6] * 2
    said = metadata(result, "doubled")
    assert (said["rows_in"], said["dagster/row_count"], said["dagster/partition_row_count"]) == (3, 6, 3)
    assert {"dagster/column_schema", "preview", "delta_version", "bytes_added"} <= set(said)
    result = run(lake, [doubled, totals, as_polars, events], selection=[totals, as_polars])
    assert result.success, list(errors(result))
    assert [engine_of(lake, name) for name in ("events", "doubled", "totals", "as_polars")] == ["spark"] * 4
    assert lake.rows("as_polars").to_dicts() == [{"day": dt.date(2024, 1, day), "n": 12} for day in (1, 2)]
    lineage = metadata(result, "totals")["dagster/column_lineage"].deps_by_column
    assert [dep.column_name for dep in lineage["n"]] == ["n"]
    result = run(lake, [events, doubled], selection=[doubled], partition_key="2024-01-03")
    assert "The partition `2024-01-03` of `events` was never written" in "\n".join(errors(result))


def test_a_row_of_another_partition_is_refused_in_spark(lake: Lake, spark: SparkSession) -> None:
    @delta_table(partitions_def=DAYS, partition_by="day")
    def stray() -> DataFrame:
        days = [dt.date(2024, 1, 1), dt.date(2024, 1, 2), None]
        return to_spark(spark, pl.DataFrame({"day": days, "n": [1, 2, 3]}))

    result = run(lake, [stray], partition_key="2024-01-01")
    assert "2 of 3 rows do not belong to the partition being written" in "\n".join(errors(result))
    assert not (lake.root / "stray").exists()


@history_table(keys=["k"], partitions_def=RELEASES, effective_format="%Y%m%d")
def planes(context: dg.AssetExecutionContext, spark: SparkResource) -> DataFrame:
    """A history through Spark."""
    return to_spark(spark.spark_session, pl.DataFrame({"k": [1, 2], "v": ["a", context.partition_key]}))


@dg.asset(ins={"planes": dg.AssetIn(metadata={"as_of": "2024-01-15", "unknown_member": {"k": -1, "v": "?"}})})
def then(planes: DataFrame, tables: DeltaTables) -> DataFrame:
    """As of a moment, with the unknown member."""
    seen["current"] = from_spark(tables.read_with_spark("planes", ReadOptions(as_of="current", columns=["k"])))
    return planes.select("k", "v")


def test_a_history_is_read_as_of_a_moment(lake: Lake, spark: SparkSession) -> None:
    assert spark
    for release in ("20240201", "20240101"):
        result = run(lake, [planes], partition_key=release)
        assert result.success, list(errors(result))
    result = run(lake, [planes, then], selection=[then])
    assert result.success, list(errors(result))
    assert lake.rows("then").rows() == [(-1, "?"), (1, "a"), (2, "20240101")]
    assert sorted(seen["current"]["k"]) == [1, 2]
    assert metadata(result, "then")["inserted"] == 3


def test_without_spark_a_spark_frame_is_written_on_this_machine(lake: Lake, spark: SparkSession) -> None:
    @delta_table()
    def numbers() -> DataFrame:
        return spark.range(3)

    assert run(lake, [numbers], spark=False).success
    assert (engine_of(lake, "numbers"), lake.rows("numbers").height) == ("local", 3)


def test_what_is_no_spark_is_named(lake: Lake) -> None:
    with pytest.raises(ConfigError, match=r"`spark` is a `Local`, which has no Spark session. Give a `SparkResource`"):
        session_of(lake.connector, lake.connector)


def test_an_input_in_spark_without_spark_says_what_to_configure(lake: Lake) -> None:
    # In a process of its own, where no session runs, as a step has it under most executors.
    program = f"""
import dagster as dg, polars as pl
from pyspark.sql import DataFrame
from fuse_dagster import DeltaIOManager, Local

@dg.asset
def a() -> pl.DataFrame: return pl.DataFrame({{"n": [1]}})
@dg.asset
def b(a: DataFrame) -> None: ...

dg.materialize([a, b], resources={{"io_manager": DeltaIOManager(lake=Local(root={str(lake.root)!r}))}})
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "Give it one, as in `DeltaIOManager(lake=..., spark=SparkResource())`" in done.stderr
