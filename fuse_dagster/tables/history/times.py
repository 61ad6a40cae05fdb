"""Effective times: every one of them lands at exactly one microsecond of the UTC line, or is an error."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import polars as pl

from fuse_dagster.core.errors import ConfigError, TimeValueError
from fuse_dagster.tables.samples import samples

UTC_MICROS = pl.Datetime("us", "UTC")


def to_instant(value: dt.datetime | dt.date, timezone: str | None) -> dt.datetime:
    """One time as an aware UTC datetime.

    Args:
        value: Aware: converted. Naive: wall time in `timezone`. A date: midnight in `timezone`, or in UTC.
        timezone: IANA zone, or None.

    Raises:
        TimeValueError: Naive without a zone, or a wall time that the zone skips or repeats.
    """
    if not isinstance(value, dt.datetime):
        value, timezone = dt.datetime.combine(value, dt.time()), timezone or "UTC"
    if value.tzinfo is not None:
        return _in_utc(value)
    if timezone is None:
        raise TimeValueError(
            f"the effective time `{value.isoformat()}` has no zone; give an aware datetime, or set `timezone`"
        )
    zone = _zone(timezone)
    first, second = (value.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() != second.utcoffset():
        raise TimeValueError(
            f"the effective time `{value.isoformat()}` happens twice or never in `{timezone}`, where the clock is "
            "changed then; give an aware datetime"
        )
    return _in_utc(first)


def _in_utc(value: dt.datetime) -> dt.datetime:
    try:
        return value.astimezone(dt.UTC)
    except OverflowError as error:
        raise TimeValueError(f"`{value.isoformat()}` is outside of the years 1 to 9999 in UTC") from error


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f"`{name}` is no time zone; give an IANA name such as `Europe/Vienna` or `UTC`") from error


def to_instants(frame: pl.DataFrame, column: str, timezone: str | None) -> pl.Series:
    """A column of times as UTC microseconds.

    Args:
        frame: Rows with the column; types as `to_batch` leaves them.
        column: Date, naive or aware Datetime column.
        timezone: IANA zone of dates and naive times, or None.

    Returns:
        Series of Datetime("us", "UTC"), no nulls.

    Raises:
        TimeValueError: Another type, a null, naive without a zone, or a wall time that the zone skips or repeats.
    """
    dtype = frame.schema[column]
    if dtype == pl.Date:
        wall, timezone = frame[column].cast(pl.Datetime("us")), timezone or "UTC"
    elif isinstance(dtype, pl.Datetime):
        wall = frame[column]
    else:
        raise TimeValueError(
            f"`effective_column` `{column}` is {dtype}; it must be a date or a timestamp: parse it in the input"
        )
    _refuse(frame.filter(wall.is_null()), f"`effective_column` `{column}` is null")
    if wall.dtype == UTC_MICROS:
        return wall
    if timezone is None:
        raise TimeValueError(
            f"`effective_column` `{column}` has no zone, as {samples(frame.select(column), rows=1)}; make it aware, or "
            "set `timezone`"
        )
    placed = wall.dt.replace_time_zone(timezone, ambiguous="null", non_existent="null")
    _refuse(
        frame.filter(placed.is_null()),
        f"`effective_column` `{column}` happens twice or never in `{timezone}`, where the clock is changed then",
    )
    return placed.dt.convert_time_zone("UTC")


def from_instants(instants: pl.Expr, dtype: pl.DataType, timezone: str | None) -> pl.Expr:
    """The inverse of `to_instants`: instants in the type that the effective column is stored in."""
    if dtype == UTC_MICROS:
        return instants
    wall = instants.dt.convert_time_zone(timezone or "UTC").dt.replace_time_zone(None)
    return wall.dt.date() if dtype == pl.Date else wall


def _refuse(rows: pl.DataFrame, what: str) -> None:
    if rows.height:
        raise TimeValueError(f"{what} in {rows.height} rows: {samples(rows)}; nothing was written")
