"""Slices in Spark's SQL, as typed and as safely quoted as in the local engine's."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.engines.spark.frames import from_spark
from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.history.memory.manifest import micros
from fuse_dagster.tables.slices import Equals, Slice, Value, Window, stray_error

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_PLAIN = re.compile(r"[A-Za-z0-9 _.:+-]*")


def slice_sql(where: Slice, schema: Mapping[str, pl.DataType]) -> str:
    """A predicate for Spark that a row meets where the slice owns it; it may be null where the row is null.

    Args:
        where: The slice.
        schema: Column name to polars type, of the table or the batch.

    Raises:
        PartitionError: A column is missing, or a value cannot be of its type.
    """
    where.matches(schema)  # every value is checked against its column's type
    return " OR ".join(f"({' AND '.join(map(_condition, conditions))})" for conditions in where.any_of)


def refuse_strays(frame: DataFrame, where: Slice, schema: Mapping[str, pl.DataType]) -> None:
    """Refuse a batch with rows that its slice does not own; a null in a deciding column is owned by none.

    Args:
        frame: The batch.
        where: The slice.
        schema: Its columns and types.

    Raises:
        PartitionError: Some rows lie outside, or a value of the slice cannot be of its column's type.
    """
    strays = frame.filter(f"NOT coalesce({slice_sql(where, schema)}, false)")
    shown = from_spark(strays.limit(3))
    if shown.height:
        raise stray_error(shown, where, strays=strays.count(), rows=frame.count())


def _condition(condition: Equals | Window) -> str:
    name = quoted(condition.column)
    if isinstance(condition, Equals):
        return f"{name} IN ({', '.join(map(_literal, condition.values))})"
    return f"{name} >= {_literal(condition.start)} AND {name} < {_literal(condition.end)}"


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        # Settings of the session decide what a backslash, two quotes or `${name}` in a text mean; not so of bytes.
        return f"'{value}'" if _PLAIN.fullmatch(value) else f"CAST(X'{value.encode().hex()}' AS STRING)"
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            return f"TIMESTAMP_NTZ'{value.isoformat(sep=' ', timespec='microseconds')}'"
        return f"timestamp_micros({micros(value)})"
    return f"DATE'{value.isoformat()}'"
