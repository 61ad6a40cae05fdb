"""Maps through Spark: a batch with one is refused, and a table that Spark made with one can still be overwritten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from deltalake import DeltaTable

from fuse_dagster.core.errors import SchemaError
from fuse_dagster.tables import Append, Overwrite, Slice, write
from fuse_dagster.tables.spark.comparing import same_rows

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]

ROW = "SELECT 1 AS k, 'p' AS day, map('a', double('nan'), 'b', 0d) AS m, named_struct('x', map(-0d, 1)) AS s"


def test_a_batch_with_a_map_is_refused_with_what_to_do(tmp_path: Path, spark: SparkSession) -> None:
    table, batch = tmp_path / "t", spark.sql(ROW)
    with pytest.raises(SchemaError, match=r"column `m` is Map\(String, Float64\), and batches hold no maps.*map_entri"):
        write(table, batch, Append(), spark=spark)
    with pytest.raises(SchemaError, match=r"column `s` is Map\(Float64, Int32\), and batches hold no maps"):
        write(table, batch.drop("m"), Append(), spark=spark)
    assert not DeltaTable.is_deltatable(str(table))
    entries = batch.selectExpr("k", "map_entries(m) AS m")
    assert write(table, entries, Overwrite(), spark=spark).inserted == 1
    assert write(table, entries, Overwrite(), spark=spark).version is None


def test_a_slice_of_a_table_with_maps_is_overwritten_once(tmp_path: Path, spark: SparkSession) -> None:
    table, mode = tmp_path / "t", Overwrite(where=Slice.equals("day", "p"))
    spark.sql(ROW).write.format("delta").save(str(table))
    batch = pl.DataFrame({"k": [1], "day": ["p"]}, schema_overrides={"k": pl.Int32})
    assert write(table, batch, mode, spark=spark).version == 1, "the row had maps, and has none now"
    assert write(table, batch, mode, spark=spark).version is None


def test_maps_are_the_same_in_any_order_of_their_entries(spark: SparkSession) -> None:
    turned = ROW.replace("'a', double('nan'), 'b', 0d", "'b', -0d, 'a', double('nan')").replace("-0d, 1", "0d, 1")
    other = ROW.replace("'b', 0d", "'b', 1d")
    assert same_rows(spark.sql(ROW), spark.sql(turned))
    assert not same_rows(spark.sql(ROW), spark.sql(other))
