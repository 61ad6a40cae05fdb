"""The fence: what Spark commits is what was planned, on the very files that it was planned on.

Delta checks a commit against others that land *during* it, but a statement begins at the newest version, which may be
later than the one that was planned on. So the statement itself reads which files the table has, within its own
transaction, and fails where they are not those of the plan. Nothing is committed then, and the plan is made again.

Commits without files are not seen by it. Columns are compared right before the statement begins, because a write of the
whole table would undo them: one that is added in the instant between, and so holds nothing, is all that can be lost.
Settings and constraints stay in any case, and Delta holds the statement to those of its own beginning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuse_dagster.tables.commit import LostRaceError
from fuse_dagster.tables.view import open_view

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from fuse_dagster.tables.spark.commit import SparkTable

MOVED = "another commit came first"
_HELD, _SEEN = "__fuse_held", "__fuse_seen"


def fenced(table: SparkTable, frame: DataFrame) -> DataFrame:
    """The same rows, which cannot be read once the table has other files than it was planned on.

    Args:
        table: What was planned on.
        frame: What a MERGE is to land; one row at least, because nobody looks behind what is empty.

    Raises:
        LostRaceError: The table has other columns by now.
    """
    from pyspark.sql import functions as f

    return frame.crossJoin(_gate(table)).filter(f.col(_HELD)).drop(_HELD)


def fenced_write(table: SparkTable, frame: DataFrame) -> DataFrame:
    """The same rows, or none, which cannot be written once the table has other files than it was planned on.

    Args:
        table: What was planned on.
        frame: What is to be written as it is, without a condition.

    Raises:
        LostRaceError: The table has other columns by now.
    """
    from pyspark.sql import functions as f

    # Beside the rows, not around them: Spark leaves out what it would only join with nothing.
    nothing = _gate(table).filter(~f.col(_HELD))
    return frame.union(nothing.select(*(f.lit(None).cast(c.dataType).alias(c.name) for c in frame.schema.fields)))


def _gate(table: SparkTable) -> DataFrame:
    """One row that is true, or cannot be read."""
    from pyspark.sql import functions as f

    _refuse_other_columns(table)
    planned = _files(table.read()).first()
    expected = planned[_SEEN] if planned is not None else None
    now = _files(table.session.read.format("delta").load(table.view.uri))
    is_held = f.when(f.col(_SEEN).eqNullSafe(f.lit(expected)), f.lit(True)).otherwise(f.raise_error(f.lit(MOVED)))
    return now.select(is_held.cast("boolean").alias(_HELD))


def _refuse_other_columns(table: SparkTable) -> None:
    planned, now = table.view.table, open_view(table.view.uri, table.view.storage_options)
    if not now.exists or now.table.schema() != planned.schema():
        raise LostRaceError


def _files(rows: DataFrame) -> DataFrame:
    """One row that differs wherever the files differ, or how many rows of each are left."""
    from pyspark.sql import functions as f

    by_file = rows.select(f.col("_metadata.file_path").alias("path")).groupBy("path").agg(f.count("*").alias("rows"))
    return by_file.agg(f.sum(f.xxhash64("path", "rows").cast("decimal(38,0)")).alias(_SEEN))
