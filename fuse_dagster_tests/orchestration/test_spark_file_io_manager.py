"""Files of assets, written from Spark's frames and read as them."""

# Dagster reads these annotations, so they are not postponed.
from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl
import pytest
from pyspark.sql import DataFrame, SparkSession

from fuse_dagster import FileIOManager, SparkResource, read_file
from fuse_dagster.engines.spark.frames import to_spark
from fuse_dagster_tests.orchestration.helpers import Lake, errors

pytestmark = [pytest.mark.spark, pytest.mark.slow]

KEYS = dg.StaticPartitionsDefinition(["a b", "ä", "never"])


@dg.asset(partitions_def=KEYS)
def numbers(context: dg.AssetExecutionContext, spark: SparkResource) -> DataFrame:
    """From Spark."""
    frame = pl.DataFrame({"key": [context.partition_key] * 3, "n": [1, 2, None], "code": ["007", "", None]})
    return to_spark(spark.spark_session, frame)


@dg.asset(ins={"numbers": dg.AssetIn(metadata={"columns": ["code", "key"]})})
def codes(numbers: DataFrame) -> DataFrame:
    """Through Spark, and back."""
    assert numbers.columns == ["code", "key"]
    return numbers.filter("code IS NOT NULL").sort("key", "code")


def run(lake: Lake, assets: Sequence[Any], layout: str, **given: Any) -> dg.ExecuteInProcessResult:
    resources = {
        "io_manager": FileIOManager(lake=lake.connector, format=layout, spark=SparkResource()),
        "spark": SparkResource(),
    }
    return dg.materialize(assets, resources=resources, instance=lake.instance, raise_on_error=False, **given)


@pytest.mark.parametrize("layout", ["csv", "parquet", "excel"])
def test_partitions_go_out_and_come_in_through_spark(lake: Lake, spark: SparkSession, layout: str) -> None:
    assert spark
    for key in ("a b", "ä"):
        result = run(lake, [numbers], layout, partition_key=key)
        assert result.success, list(errors(result))
    result = run(lake, [numbers, codes], layout, selection=[codes])
    assert result.success, list(errors(result))
    ending = {"excel": "xlsx"}.get(layout, layout)
    found = read_file(lake.connector, f"codes.{ending}").collect()
    assert found.rows() == [("", "a b"), ("007", "a b"), ("", "ä"), ("007", "ä")]
