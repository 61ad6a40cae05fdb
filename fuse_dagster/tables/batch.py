"""From whatever frame a caller has to the types a Delta table can hold, without losing a digit on the way."""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl

from fuse_dagster.core.errors import SchemaError
from fuse_dagster.engines.local.frames import to_polars
from fuse_dagster.tables.samples import INTERNAL, samples

# Delta has signed integers only: the next wider one holds every value. UInt64 fits where its values do.
_WIDER: dict[pl.DataType, pl.DataType] = {
    pl.UInt8(): pl.Int16(),
    pl.UInt16(): pl.Int32(),
    pl.UInt32(): pl.Int64(),
    pl.UInt64(): pl.Int64(),
    pl.Int128(): pl.Int64(),
}
# The years 1 to 9999, in the numbers that polars stores: days, and by unit since 1970. Nanoseconds reach less far.
_MICROS = (-62_135_596_800_000_000, 253_402_300_799_999_999)
_YEARS = {"us": _MICROS, "ms": (_MICROS[0] // 1000, _MICROS[1] // 1000)}
_DAYS = (-719_162, 2_932_896)
_SAME = (
    pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.Boolean, pl.String, pl.Binary, pl.Date,
    pl.Decimal, pl.Null,
)  # fmt: skip


def to_batch(data: Any) -> pl.DataFrame:
    """Collect the data and give every column a type that Delta has.

    Args:
        data: Any frame that `to_polars` takes.

    Returns:
        Rows x columns, in the given order; all-null columns without a type keep the type Null, which means absent.

    Raises:
        SchemaError: A column has no Delta type, a value does not fit it, or two names differ in case only.
    """
    frame = to_polars(data)
    _refuse_names(frame.columns)
    return frame.select(_as_delta(frame[name]) for name in frame.columns) if frame.width else frame


def _refuse_names(names: list[str]) -> None:
    counts = Counter(name.lower() for name in names)
    doubled = [name for name in names if counts[name.lower()] > 1]
    if doubled:
        raise SchemaError(f"columns {doubled} differ only in case; Delta cannot tell them apart: rename one")
    if "" in names:
        raise SchemaError("a column has an empty name; give it one")
    patterns = [name for name in names if name == "*" or (name.startswith("^") and name.endswith("$"))]
    if patterns:
        raise SchemaError(f"columns {patterns} are named like patterns, which choose other columns; rename them")
    internal = [name for name in names if INTERNAL in name]
    if internal:
        raise SchemaError(
            f"columns {internal} hold `{INTERNAL}` in their names, which is kept for helper columns; rename them"
        )


def _as_delta(series: pl.Series) -> pl.Series:
    _refuse_out_of_range(series)
    target = _delta_type(series.dtype, series.name)
    if target == series.dtype:
        return series
    cast = series.cast(target, strict=False)
    lost = series.filter(series.ne_missing(cast.cast(series.dtype, strict=False)))  # nested values, too
    if len(lost):
        raise SchemaError(
            f"column `{series.name}` is {series.dtype}; Delta would hold it as {target}, but not every value fits, as "
            f"{samples(lost.to_frame())}; cast it to String or Decimal, or cut nanoseconds off with "
            "`dt.truncate('1us')`"
        )
    return cast


def _refuse_out_of_range(series: pl.Series) -> None:
    """Delta's readers know the years 1 to 9999; polars' own clock goes further, and "infinity" is often put there."""
    if series.dtype == pl.Date:
        low, high = _DAYS
    elif isinstance(series.dtype, pl.Datetime) and series.dtype.time_unit in _YEARS:
        low, high = _YEARS[series.dtype.time_unit]
    else:
        return
    outside = series.to_physical()
    outside = outside.filter((outside < low) | (outside > high))
    if len(outside):
        raise SchemaError(
            f"column `{series.name}` has {len(outside)} values outside of the years 1 to 9999, which Delta cannot "
            "hold; use null for what never ends"
        )


def _delta_type(dtype: pl.DataType, column: str) -> pl.DataType:
    if isinstance(dtype, _SAME):
        return dtype
    if dtype in _WIDER:
        return _WIDER[dtype]
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    if isinstance(dtype, pl.Datetime):
        return pl.Datetime("us", None if dtype.time_zone is None else "UTC")
    if isinstance(dtype, pl.List | pl.Array):
        return pl.List(_delta_type(_typed(dtype.inner, column), column))
    if isinstance(dtype, pl.Struct):
        return pl.Struct({f.name: _delta_type(_typed(f.dtype, column), column) for f in dtype.fields})
    if isinstance(dtype, pl.Map):
        raise SchemaError(
            f"column `{column}` is {dtype}, and batches hold no maps, whose entries have no order to compare them in; "
            "give a list of structs of `key` and `value` (in Spark: `map_entries`)"
        )
    raise SchemaError(
        f"column `{column}` is {dtype}, which Delta has no type for; cast it "
        "(a time or a duration to Int64 or String, an object to String or Struct)"
    )


def _typed(dtype: Any, column: str) -> pl.DataType:
    """Type of a nested value; one that is null in every row cannot be named later without a rewrite."""
    if dtype == pl.Null:
        raise SchemaError(f"column `{column}` has a nested part that is null in every row, so it has no type; cast it")
    return dtype if isinstance(dtype, pl.DataType) else dtype()
