"""Values of a file as the types that somebody knows them to have: without loss, or not at all."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

_ISO = "%Y-%m-%dT%H:%M:%S%.f"


def as_types(frame: pl.LazyFrame, types: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """Give columns the types that they are known to have, where they are there.

    Args:
        frame: The rows.
        types: Column -> type.

    Returns:
        The same columns; a value that its type can't hold is an error when the rows are read.
    """
    schema = frame.collect_schema()
    changed = [name for name in schema if name in types and schema[name] != types[name]]
    return frame.with_columns(_cast(name, schema[name], types[name]) for name in changed) if changed else frame


def native_of_csv(dtype: pl.DataType) -> pl.DataType:
    """The type that CSV is parsed as, on the way to another: times in UTC, decimals as text."""
    if isinstance(dtype, pl.Datetime) and dtype.time_zone:
        return pl.Datetime(dtype.time_unit, "UTC")
    return pl.String() if isinstance(dtype, pl.Decimal) else dtype


def native_of_json(dtype: pl.DataType) -> pl.DataType:
    """The type that JSON is parsed as, on the way to another: no dates, times, decimals or small integers."""
    if dtype in (pl.Int8, pl.Int16, pl.UInt8, pl.UInt16):
        return pl.Int32()
    return pl.String() if dtype.is_temporal() or isinstance(dtype, pl.Decimal) else dtype


def _cast(name: str, found: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if found != pl.String:
        return _from_number(column, found, wanted)
    match wanted:
        case pl.Date():
            return column.str.to_date("%Y-%m-%d")
        case pl.Time():
            return column.str.to_time("%H:%M:%S%.f")
        case pl.Datetime():
            text = column.str.replace(" ", "T", literal=True)
            if wanted.time_zone is None:
                return text.str.to_datetime(_ISO, time_unit=wanted.time_unit)
            offset = text.str.replace("Z$", "+0000")
            moment = offset.str.to_datetime(f"{_ISO}%#z", time_unit=wanted.time_unit)
            return moment.dt.convert_time_zone(wanted.time_zone)
    return column.cast(wanted)


def _from_number(column: pl.Expr, found: pl.DataType, wanted: pl.DataType) -> pl.Expr:
    if found.is_float() and wanted.is_integer():
        # A plain cast would cut the fraction off; text that has one is no whole number.
        whole = pl.when(column == column.round()).then(column).cast(wanted)
        return (
            pl.when(column.is_null() | (column == column.round()))
            .then(whole)
            .otherwise(column.cast(pl.String).cast(wanted))
        )
    if isinstance(found, pl.Datetime) and wanted == pl.Date:
        midnight = column.dt.truncate("1d") == column
        return (
            pl.when(column.is_null() | midnight)
            .then(column.cast(wanted))
            .otherwise(column.cast(pl.String).str.to_date("%Y-%m-%d"))
        )
    return column.cast(wanted)
