"""The fence: what Spark commits is what was planned, on the very files that it was planned on.

Delta checks a commit against others that land *during* it, but a statement begins at the newest version, which may be
later than the one that was planned on. So the statement itself reads which files the table has, within its own
transaction, and fails where they are not those of the plan. Nothing is committed then, and the plan is made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from fuse_dagster.tables.spark.commit import SparkTable

MOVED = "another commit came first"
_HELD, _SEEN = "__fuse_held", "__fuse_seen"


def fenced(table: SparkTable, frame: DataFrame) -> DataFrame:
    """The same rows, which cannot be read once the table has other files than it was planned on.

    Args:
        table: What was planned on.
        frame: What is to be written.
    """
    from pyspark.sql import functions as f

    planned = _files(table.read()).first()
    expected = planned[_SEEN] if planned is not None else None
    now = _files(table.session.read.format("delta").load(table.view.uri))
    is_held = f.when(f.col(_SEEN).eqNullSafe(f.lit(expected)), f.lit(True)).otherwise(f.raise_error(f.lit(MOVED)))
    gate = now.select(is_held.cast("boolean").alias(_HELD))
    return frame.crossJoin(gate).filter(f.col(_HELD)).drop(_HELD)


def _files(rows: DataFrame) -> DataFrame:
    """One row that differs wherever the files differ, or how many rows of each are left."""
    from pyspark.sql import functions as f

    by_file = rows.select(f.col("_metadata.file_path").alias("path")).groupBy("path").agg(f.count("*").alias("rows"))
    return by_file.agg(f.sum(f.xxhash64("path", "rows").cast("decimal(38,0)")).alias(_SEEN))
