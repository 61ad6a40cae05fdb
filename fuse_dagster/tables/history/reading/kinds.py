"""Which types mean the same thing: an int32 and an int64 can hold one key, '1' and 1 never do."""

from __future__ import annotations

import polars as pl

_UP_TO_64 = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
_EXACT = (pl.Boolean, pl.Date, pl.Binary)


def kind(dtype: pl.DataType) -> str:
    """A name that types of the same kind share."""
    if dtype.is_integer():
        return "integer"
    if dtype.is_float():
        return "float"
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return "string"
    if isinstance(dtype, pl.Decimal):
        return "decimal"
    if isinstance(dtype, pl.Datetime):
        return "timestamp" if dtype.time_zone is None else "timestamp with a zone"
    return str(dtype).lower()


def meeting(left: pl.DataType, right: pl.DataType) -> pl.DataType | None:
    """The type in which keys of both types can be compared without a false match; None where there is none.

    Args:
        left: Type of one side; Null meets every key type.
        right: Type of the other side.
    """
    if pl.Null in (left, right):
        left = right = right if left == pl.Null else left
    if kind(left) != kind(right):
        return None
    if left.is_integer():
        return pl.Int64() if isinstance(left, _UP_TO_64) and isinstance(right, _UP_TO_64) else pl.Int128()
    if isinstance(left, pl.Decimal) and isinstance(right, pl.Decimal):
        return pl.Decimal(38, max(left.scale, right.scale))
    if isinstance(left, pl.Datetime):
        return pl.Datetime("us", None if left.time_zone is None else "UTC")
    return pl.String() if kind(left) == "string" else left if isinstance(left, _EXACT) else None


def exactly(column: pl.Expr, dtype: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    """A key in the type that `meeting` gave; null where it has no equal in that type, as it can't match then."""
    cast = column.cast(wanted, strict=False)
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
        return pl.when(cast.cast(dtype) == column).then(cast)
    return cast
