"""Frames in and out: whatever a caller holds becomes polars, and polars becomes what the caller wants."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import polars as pl

from fuse_dagster.core.errors import ConfigError, InputError, MissingExtraError
from fuse_dagster.engines.local.session import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb
    import pandas as pd

ACCEPTED = (
    "polars DataFrame or LazyFrame, pandas DataFrame, pyarrow Table, RecordBatch or RecordBatchReader, "
    "DuckDB relation, Spark DataFrame"
)
"""The frame types that `to_polars` takes, as messages and docs name them."""


def to_polars(data: object) -> pl.DataFrame:
    """Bring a frame of any accepted type into memory as polars.

    DuckDB's HUGEINT (the type of its sums over integers) becomes a 64-bit integer, because Delta has no wider
    one. The index of a pandas frame is dropped unless its levels are named; then they become columns.

    Args:
        data: One of the types in `ACCEPTED`; a RecordBatchReader is consumed.

    Returns:
        The rows x columns of `data`, in its order.

    Raises:
        InputError: `data` is of another type, holds a column that polars can't represent, or a HUGEINT beyond
            64 bits.
    """
    if isinstance(data, pl.DataFrame):
        return data
    if isinstance(data, pl.LazyFrame):
        return data.collect()
    root = type(data).__module__.partition(".")[0]
    convert = _CONVERTERS.get((root, type(data).__name__))
    if convert is None:
        shown = f"{type(data).__module__}.{type(data).__qualname__}"
        msg = f"A frame is expected, not `{shown}`. Valid: {ACCEPTED}."
        raise InputError(msg)
    try:
        return convert(data)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        msg = f"The {root} frame can't be read: {error}. Give every column one plain type."
        raise InputError(msg) from error


def from_polars(frame: pl.LazyFrame, wanted: object) -> Any:
    """Give a lazy frame the type that an annotation asks for.

    Args:
        frame: The rows, not yet collected; a `pl.LazyFrame` is handed on as it is.
        wanted: A frame type of `ACCEPTED`, `X | None` for one, or `Any` / `object` / nothing for a LazyFrame.

    Returns:
        An object of that type.

    Raises:
        ConfigError: `wanted` is no frame type.
        MissingExtraError: pandas or Spark is wanted and not installed.
    """
    kind = frame_kind(wanted)
    return _PRODUCERS[kind](frame)


def frame_kind(wanted: object) -> str:
    """Name the frame type that an annotation asks for, without importing its package.

    Raises:
        ConfigError: The annotation is no frame type.
    """
    if get_origin(wanted) in (Union, types.UnionType):
        members = [member for member in get_args(wanted) if member is not type(None)]
        if len(members) == 1:
            return frame_kind(members[0])
    if wanted in (None, Any, object):
        return "polars.LazyFrame"
    if isinstance(wanted, type):
        kind = f"{wanted.__module__.partition('.')[0]}.{wanted.__name__}"
        if kind in _PRODUCERS:
            return kind
    shown = getattr(wanted, "__qualname__", None) or wanted
    msg = f"An input can't be loaded as `{shown}`. Annotate it with one of: {ACCEPTED}."
    raise ConfigError(msg)


def to_relation(frame: pl.LazyFrame) -> duckdb.DuckDBPyRelation:
    """Make a DuckDB relation, on a connection of its own, that pushes filters and columns into the frame."""
    connection = connect()
    connection.register("input", frame)
    return connection.table("input")


def _from_pandas(data: pd.DataFrame) -> pl.DataFrame:
    names = list(data.index.names)
    if any(name is not None for name in names) and not all(isinstance(name, str) for name in names):
        msg = f"the levels of its index are named {names}: name all of them, or none"
        raise ValueError(msg)
    return pl.from_pandas(data, include_index=names[0] is not None)


def _from_relation(data: duckdb.DuckDBPyRelation) -> pl.DataFrame:
    import duckdb

    wide = [name for name, kind in zip(data.columns, data.types, strict=True) if str(kind) in _HUGE]
    if wide:
        casts = ", ".join(f"{quoted(name)}::BIGINT AS {quoted(name)}" for name in wide)
        data = data.project(f"* REPLACE ({casts})")
    try:
        return pl.DataFrame(data.to_arrow_table())
    except duckdb.Error as error:
        raise ValueError(str(error)) from error


def _from_spark(data: Any) -> pl.DataFrame:
    from fuse_dagster.engines.spark.frames import from_spark, is_spark

    # pandas-on-Spark has a DataFrame too, which knows its Spark frame.
    return from_spark(data if is_spark(data) else data.to_spark())


def _to_spark(frame: pl.LazyFrame) -> Any:
    from fuse_dagster.engines.spark.frames import to_spark
    from fuse_dagster.engines.spark.session import spark_session

    return to_spark(spark_session(), frame)


def quoted(name: str) -> str:
    """A name as DuckDB takes it, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def _to_pandas(frame: pl.LazyFrame) -> pd.DataFrame:
    try:
        return frame.collect().to_pandas()
    except ModuleNotFoundError as error:
        msg = 'pandas is not installed. Install it with: pip install "fuse-dagster[pandas]"'
        raise MissingExtraError(msg) from error


def _to_table(frame: pl.LazyFrame) -> Any:
    # The oldest level writes large_string, which every Arrow library reads; string_view is still new to many.
    return frame.collect().to_arrow(compat_level=pl.CompatLevel.oldest())


def _to_record_batch(frame: pl.LazyFrame) -> Any:
    import pyarrow as pa

    # A table without rows has no batches, so the one batch is not taken from among them.
    return pa.RecordBatch.from_struct_array(_to_table(frame).to_struct_array().combine_chunks())


_HUGE = frozenset({"HUGEINT", "UHUGEINT"})

_CONVERTERS: dict[tuple[str, str], Callable[[Any], pl.DataFrame]] = {
    ("pandas", "DataFrame"): _from_pandas,
    ("pyarrow", "Table"): pl.DataFrame,
    ("pyarrow", "RecordBatch"): pl.DataFrame,
    ("pyarrow", "RecordBatchReader"): pl.DataFrame,
    ("duckdb", "DuckDBPyRelation"): _from_relation,
    ("pyspark", "DataFrame"): _from_spark,
}

_PRODUCERS: dict[str, Callable[[pl.LazyFrame], Any]] = {
    "polars.LazyFrame": lambda frame: frame,
    "polars.DataFrame": lambda frame: frame.collect(),
    "pandas.DataFrame": _to_pandas,
    "pyarrow.Table": _to_table,
    "pyarrow.RecordBatch": _to_record_batch,
    "pyarrow.RecordBatchReader": lambda frame: _to_table(frame).to_reader(),
    "duckdb.DuckDBPyRelation": to_relation,
    "pyspark.DataFrame": _to_spark,
}
