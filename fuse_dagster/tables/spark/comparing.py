"""Whether two frames in Spark hold the same rows: in any order, each as often, NaN equal to NaN and -0.0 to 0.0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuse_dagster.engines.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_TIMES = "__fuse_times"


def same_rows(left: DataFrame, right: DataFrame) -> bool:
    """Whether two frames hold the same rows, each as often.

    Args:
        left: Rows x columns.
        right: Rows x the same columns and types, in the same order.
    """
    from pyspark.sql import functions as f

    both = left.withColumn(_TIMES, f.lit(1)).unionByName(right.withColumn(_TIMES, f.lit(-1)))
    # Grouping knows one NaN, one zero and one null, in nested values, too.
    net = both.groupBy(*(f.col(quoted(name)) for name in left.columns)).agg(f.sum(_TIMES).alias(_TIMES))
    return net.filter(f.col(_TIMES) != 0).isEmpty()
