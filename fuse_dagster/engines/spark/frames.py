"""Frames in and out of Spark: the same values and Delta's types on both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from fuse_dagster.core.errors import InputError, first_line
from fuse_dagster.engines.local.frames import to_polars

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa
    from polars.datatypes import DataTypeClass
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import DataType, StructType

# Delta has signed integers only: the next wider one holds every value; where there is none, the values must fit.
_SAME_AS: dict[pl.DataType, pl.DataType] = {
    pl.UInt8(): pl.Int16(),
    pl.UInt16(): pl.Int32(),
    pl.UInt32(): pl.Int64(),
    pl.UInt64(): pl.Int64(),
    pl.Int128(): pl.Int64(),
}
_SIMPLE: dict[pl.DataType, str] = {
    pl.Boolean(): "BooleanType",
    pl.Int8(): "ByteType",
    pl.Int16(): "ShortType",
    pl.Int32(): "IntegerType",
    pl.Int64(): "LongType",
    pl.Float32(): "FloatType",
    pl.Float64(): "DoubleType",
    pl.String(): "StringType",
    pl.Binary(): "BinaryType",
    pl.Date(): "DateType",
    pl.Datetime("us", "UTC"): "TimestampType",
    pl.Datetime("us"): "TimestampNTZType",
    pl.Null(): "NullType",
}


def is_spark(data: object) -> bool:
    """Say whether `data` is a Spark DataFrame, classic or Connect, without importing pyspark."""
    return any(
        kind.__name__ == "DataFrame" and kind.__module__.startswith("pyspark.sql.") for kind in type(data).__mro__
    )


def to_spark(session: SparkSession, data: object) -> DataFrame:
    """Hand a frame of any accepted type to Spark, with the types that Delta has.

    Naive timestamps become `timestamp_ntz`, aware ones the same instant as `timestamp`; unsigned integers become
    the next wider signed type, categories text.

    Args:
        session: The session that the frame will belong to.
        data: A Spark DataFrame, which is returned as it is, or whatever `to_polars` takes.

    Returns:
        The rows x columns of `data`.

    Raises:
        InputError: `data` is no frame, has a column of a type that Delta lacks, or a value that its type can't hold
            without loss.
    """
    if is_spark(data):
        return data  # type: ignore[return-value]  # what `is_spark` means
    frame = _as_delta(to_polars(data))
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return session.createDataFrame(table, schema=spark_schema(frame.schema))


def spark_schema(schema: Mapping[str, pl.DataType]) -> StructType:
    """Columns as Spark declares them, with the types that `to_spark` gives.

    Args:
        schema: Column -> polars type.

    Raises:
        InputError: A type that Delta lacks.
    """
    from pyspark.sql.types import StructField, StructType

    return StructType([StructField(name, _spark_type(name, _delta_type(dtype))) for name, dtype in schema.items()])


def from_spark(frame: DataFrame) -> pl.DataFrame:
    """Bring a Spark DataFrame into memory as polars, through Arrow.

    Args:
        frame: A classic or a Connect DataFrame.

    Returns:
        Its rows x columns; `timestamp` is UTC, `timestamp_ntz` naive.

    Raises:
        InputError: A column has a type that polars can't represent, as `variant`; or computing the rows fails on
            their values, as by an overflow or a cast.
    """
    from pyspark.errors import (
        ArithmeticException,
        ArrayIndexOutOfBoundsException,
        DateTimeException,
        NumberFormatException,
        SparkRuntimeException,
    )

    on_data = (
        ArithmeticException, ArrayIndexOutOfBoundsException, DateTimeException, NumberFormatException,
        SparkRuntimeException,
    )  # fmt: skip
    _refuse_variants(frame)
    try:
        found = frame.toArrow()
    except on_data as error:
        msg = f"The rows can't be computed: {first_line(error)}."
        raise InputError(msg) from error
    return from_arrow(found)


def from_arrow(table: pa.Table) -> pl.DataFrame:
    """Read an Arrow table that Spark made: its `timestamp` stands in the session's zone, ours in UTC."""
    found = pl.DataFrame(table)
    return found.cast({name: _in_utc(dtype) for name, dtype in found.schema.items()})


def _as_delta(frame: pl.DataFrame) -> pl.DataFrame:
    targets = {name: _delta_type(dtype) for name, dtype in frame.schema.items()}
    changed = {name: dtype for name, dtype in targets.items() if dtype != frame.schema[name]}
    for name, dtype in changed.items():
        try:
            cast = frame[name].cast(dtype)
        except pl.exceptions.InvalidOperationError as error:
            msg = f"Column `{name}` holds values of {frame.schema[name]} that {dtype} can't hold. Cast it in the input."
            raise InputError(msg) from error
        if _has_nanoseconds(frame.schema[name]) and not cast.cast(frame.schema[name]).equals(frame[name]):
            msg = f"Column `{name}` holds fractions of a microsecond, which Delta can't hold. Round it in the input."
            raise InputError(msg)
        frame = frame.with_columns(cast)
    return frame


def _delta_type(dtype: pl.DataType) -> pl.DataType:
    match dtype:
        case pl.Array():
            return pl.List(_inner(_delta_type, dtype.inner))
        case pl.Datetime(time_zone=zone):
            return pl.Datetime("us", "UTC" if zone else None)
        case pl.Categorical() | pl.Enum():
            return pl.String()
        case pl.List() | pl.Struct() | pl.Map():
            return _within(_delta_type, dtype)
    return _SAME_AS.get(dtype, dtype)


def _in_utc(dtype: pl.DataType) -> pl.DataType:
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return pl.Datetime("us", "UTC")
    return _within(_in_utc, dtype)


def _within(change: Callable[[pl.DataType], pl.DataType], dtype: pl.DataType) -> pl.DataType:
    """Change the types that a nested type holds; others stay as they are."""
    match dtype:
        case pl.List():
            return pl.List(_inner(change, dtype.inner))
        case pl.Struct():
            return pl.Struct({field.name: _inner(change, field.dtype) for field in dtype.fields})
        case pl.Map():
            return pl.Map(_inner(change, dtype.key), _inner(change, dtype.value))
    return dtype


def _inner(change: Callable[[pl.DataType], pl.DataType], held: pl.DataType | DataTypeClass) -> pl.DataType:
    # What a type holds may be declared by a class, as in `pl.List(pl.Int64)`, which stands for its plain instance.
    return change(held() if isinstance(held, type) else held)


def _has_nanoseconds(dtype: pl.DataType) -> bool:
    return "time_unit='ns'" in repr(dtype)


def _spark_type(name: str, dtype: pl.DataType) -> DataType:
    from pyspark.sql import types

    def inner(held: pl.DataType | DataTypeClass) -> DataType:
        return _spark_type(name, held() if isinstance(held, type) else held)

    match dtype:
        case pl.List():
            return types.ArrayType(inner(dtype.inner))
        case pl.Map():
            return types.MapType(inner(dtype.key), inner(dtype.value))
        case pl.Struct():
            return types.StructType([types.StructField(field.name, inner(field.dtype)) for field in dtype.fields])
        case pl.Decimal():
            return types.DecimalType(dtype.precision or 38, dtype.scale)
    simple = _SIMPLE.get(dtype)
    if simple is None:
        msg = f"Column `{name}` is {dtype}, a type that Delta lacks. Cast it in the input, as to text or a number."
        raise InputError(msg)
    return getattr(types, simple)()  # type: ignore[no-any-return]


def _refuse_variants(frame: Any) -> None:
    from pyspark.sql.types import VariantType

    found = [field.name for field in frame.schema.fields if isinstance(field.dataType, VariantType)]
    if found:
        msg = f"Columns {found} are `variant`, which polars lacks. Select `to_json(column)` in Spark, or fields of it."
        raise InputError(msg)
