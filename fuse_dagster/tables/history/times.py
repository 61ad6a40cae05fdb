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
    if not isinstance(value, dt.date):
        raise TimeValueError(f"`{value!r}` is no time; give a date or an aware datetime, parsed in the input")
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
    """A column of effective times as UTC microseconds.

    Args:
        frame: Rows with the column; types as `to_batch` leaves them.
        column: Date, naive or aware Datetime column.
        timezone: IANA zone of dates and naive times, or None.

    Returns:
        Series of Datetime("us", "UTC"), no nulls.

    Raises:
        TimeValueError: A null, or see `place`.
    """
    placed = place(frame, column, timezone, role="effective_column")
    null = frame.filter(placed.is_null())
    if null.height:
        raise TimeValueError(
            f"`effective_column` `{column}` is null in {null.height} rows: {samples(null)}; nothing was written"
        )
    return placed


def place(frame: pl.DataFrame, column: str, timezone: str | None, *, role: str) -> pl.Series:
    """A column of times on the UTC line; null stays null, and what is finer than a microsecond is cut off.

    Args:
        frame: Rows with the column.
        column: Date, naive or aware Datetime column, of any unit.
        timezone: IANA zone of dates and naive times; dates default to UTC.
        role: The parameter that named the column, for messages.

    Returns:
        Series of Datetime("us", "UTC").

    Raises:
        TimeValueError: Another type, naive without a zone, or a wall time that the zone skips or repeats.
        ConfigError: There is no such zone.
    """
    dtype, said = frame.schema[column], f"`{role}` `{column}`"
    if dtype == pl.Null or (isinstance(dtype, pl.Datetime) and dtype.time_zone is not None):
        return frame[column].cast(UTC_MICROS)
    if dtype not in (pl.Date, pl.Datetime):
        raise TimeValueError(f"{said} is {dtype}; it must be a date or a timestamp: parse it in the input")
    if dtype == pl.Date:
        timezone = timezone or "UTC"
    if timezone is None:
        known = frame.select(pl.col(column).drop_nulls())
        raise TimeValueError(f"{said} has no zone, as {samples(known, rows=1)}; make it aware, or set `timezone`")
    _zone(timezone)
    wall = frame[column].cast(pl.Datetime("us"))
    placed = wall.dt.replace_time_zone(timezone, ambiguous="null", non_existent="null")
    lost = frame.filter(placed.is_null() & wall.is_not_null())
    if lost.height:
        raise TimeValueError(
            f"{said} happens twice or never in `{timezone}`, where the clock is changed then, in {lost.height} rows: "
            f"{samples(lost)}; make it aware in the input"
        )
    return placed.dt.convert_time_zone("UTC")


def from_instants(instants: pl.Expr, dtype: pl.DataType, timezone: str | None) -> pl.Expr:
    """The inverse of `to_instants`: instants in the type that the effective column is stored in."""
    if dtype == UTC_MICROS:
        return instants
    wall = instants.dt.convert_time_zone(timezone or "UTC").dt.replace_time_zone(None)
    return wall.dt.date() if dtype == pl.Date else wall
