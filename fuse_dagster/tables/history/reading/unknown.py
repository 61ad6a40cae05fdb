"""The unknown member: the row of a dimension that facts without one refer to. It is added on reading, never stored.

After Kimball and Ross, The Data Warehouse Toolkit: a fact's reference to a dimension is never null, because a join
would drop the fact.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from fuse_dagster.core.errors import ConfigError, KeyValueError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.tables.history.reading.kinds import kind
from fuse_dagster.tables.history.reading.versions import Own

ALWAYS = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
"""From when the unknown member holds: the earliest time that a table can state."""

Member = Mapping[str, Any]

_WIDENS = {("integer", "float"), ("integer", "decimal")}


def with_member(
    part: pl.LazyFrame, versions: pl.LazyFrame, member: Member | None, *, keys: str | Sequence[str] | None, own: Own
) -> pl.LazyFrame:
    """Add the unknown member to a part of a history.

    Args:
        part: Rows of `versions`.
        versions: The whole history, which must not hold the member's key.
        member: Its values by column; None adds nothing.
        keys: Business key.
        own: The history's own columns.

    Raises:
        ConfigError: No `keys`, one of them without a value, or see `member_row`.
        KeyValueError: The history holds the key.
    """
    if member is None:
        return part
    row, names = keyed_member(versions.collect_schema(), member, keys=keys, own=own)
    refuse_taken(versions, row, names)
    return pl.concat([part, row.lazy()])


def keyed_member(
    schema: Mapping[str, pl.DataType], member: Member, *, keys: str | Sequence[str] | None, own: Own
) -> tuple[pl.DataFrame, list[str]]:
    """The unknown member's row, and the columns of its key.

    Args:
        schema: The history's columns and types.
        member: Values by column.
        keys: Business key.
        own: The history's own columns.

    Raises:
        ConfigError: No `keys`, one of them without a value, or see `member_row`.
    """
    names = [keys] if isinstance(keys, str) else list(keys or ())
    if not names:
        raise ConfigError("`unknown_member` needs `keys`: without them nobody can tell whether its key is taken")
    keyless = [name for name in names if member.get(name) is None]
    if keyless:
        raise ConfigError(f"`unknown_member` has no value for the keys {keyless}; give one that no real key has")
    return member_row(schema, member, own), names


def member_row(schema: Mapping[str, pl.DataType], member: Member, own: Own) -> pl.DataFrame:
    """The unknown member as one row of a history; columns without a value are null.

    Args:
        schema: The history's columns and types.
        member: Values by column.
        own: The history's own columns; the member holds from the year 1 on, without an end.

    Raises:
        ConfigError: An unknown column, one of the history's own, or a value that its column can't hold.
    """
    for name in member:
        if name not in schema:
            raise ConfigError(f"`unknown_member` names `{name}`, which is no column. {did_you_mean(name, schema)}")
        if name in own.names:
            raise ConfigError(
                f"`unknown_member` gives `{name}`, which the history adds by itself: the member holds from the year 1 "
                "on, without an end; leave it out"
            )
    values = {**member, own.valid_from: ALWAYS, own.valid_to: None, own.is_current: True}
    return pl.DataFrame([_column(name, values.get(name), dtype) for name, dtype in schema.items()])


def refuse_taken(versions: pl.LazyFrame, row: pl.DataFrame, keys: Sequence[str]) -> None:
    """Raise where a real key is that of the unknown member.

    Raises:
        KeyValueError: The history has versions of the key.
    """
    same = [pl.col(key) == pl.lit(row[key].item(), dtype=row.schema[key]) for key in keys]
    if versions.filter(*same).select(keys).head(1).collect().height:
        raise taken_error(row, keys)


def taken_error(row: pl.DataFrame, keys: Sequence[str]) -> KeyValueError:
    """Say that the history holds the key of the unknown member."""
    said = ", ".join(f"{key}={row[key].item()!r}" for key in keys)
    return KeyValueError(
        f"the key of `unknown_member` ({said}) is that of a real key in the history, whose facts could not be told "
        "from those that match nothing; give one that no real key has"
    )


def _column(name: str, value: object, dtype: pl.DataType) -> pl.Series:
    if value is None:
        return pl.Series(name, [None], dtype=dtype)
    try:
        given, fits = (_nested if dtype.is_nested() else _flat)(name, value, dtype)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise _unfit(name, value, dtype) from error
    if not fits:
        raise _unfit(name, value, dtype)
    return given


def _flat(name: str, value: object, dtype: pl.DataType) -> tuple[pl.Series, bool]:
    said = pl.Series(name, [value])
    given = said.cast(dtype, strict=True)
    kinds = kind(said.dtype), kind(dtype)
    whole = dtype.is_float() or given.cast(said.dtype).equals(said)
    return given, whole and (kinds[0] == kinds[1] or kinds in _WIDENS)


def _nested(name: str, value: object, dtype: pl.DataType) -> tuple[pl.Series, bool]:
    given = pl.Series(name, [value], dtype=dtype, strict=True)
    return given, bool(given.to_list() == [value])


def _unfit(name: str, value: object, dtype: pl.DataType) -> ConfigError:
    return ConfigError(
        f"`unknown_member` gives `{name}` the value `{value!r}` ({type(value).__name__}), but the column is "
        f"{str(dtype).lower()}, which can't hold it as it is; give a value of that type"
    )
