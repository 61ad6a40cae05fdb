"""Slices: which rows of a table a partition owns, as typed conditions rather than SQL text.

A slice becomes a polars expression (to check and read rows) and a SQL predicate (for the commit). Both refuse values
that are not of the column's type, because a predicate that silently matches nothing deletes nothing, or everything.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import Any

import polars as pl

from fuse_dagster.core.errors import PartitionError
from fuse_dagster.tables.samples import samples

Value = int | str | bool | dt.date | dt.datetime


@dataclass(frozen=True, slots=True)
class Equals:
    """Rows whose column is one of the values; a null is in no slice.

    Attributes:
        column: Column of the table.
        values: One or more values of exactly the column's type.
    """

    column: str
    values: tuple[Value, ...]

    def matches(self, dtype: pl.DataType) -> pl.Expr:
        """Expression that is true, false, never null, for a column of this type."""
        for value in self.values:
            _check(self.column, value, dtype)
        # One list, not a chain of `or`: polars takes time in the square of a chain's length.
        return pl.col(self.column).is_in(pl.Series(self.values, dtype=dtype, strict=True).implode()).fill_null(False)

    def sql(self, dtype: pl.DataType) -> str:
        """SQL predicate for the commit."""
        values = ", ".join(_sql_literal(self.column, value, dtype) for value in self.values)
        return f"{_quoted(self.column)} IN ({values})"


@dataclass(frozen=True, slots=True)
class Window:
    """Rows whose column lies in the half-open range [start, end).

    Attributes:
        column: Column of the table.
        start: First value that belongs; UTC-aware for a column with a zone, naive for one without.
        end: First value after the range.
    """

    column: str
    start: Value
    end: Value

    def matches(self, dtype: pl.DataType) -> pl.Expr:
        """Expression that is true, false, never null, for a column of this type."""
        start, end = _literal(self.column, self.start, dtype), _literal(self.column, self.end, dtype)
        column = pl.col(self.column)
        return ((column >= start) & (column < end)).fill_null(False)

    def sql(self, dtype: pl.DataType) -> str:
        """SQL predicate for the commit."""
        name = _quoted(self.column)
        start, end = (_sql_literal(self.column, value, dtype) for value in (self.start, self.end))
        return f"({name} >= {start} AND {name} < {end})"


Condition = Equals | Window


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows that meet all conditions of at least one of the alternatives.

    Attributes:
        any_of: Alternatives, each a tuple of conditions that must all hold.

    Example:
        >>> Slice.equals("day", 1, 2).columns
        ('day',)
    """

    any_of: tuple[tuple[Condition, ...], ...]

    def __post_init__(self) -> None:
        """Refuse a slice that would own every row, or none, by accident."""
        if not self.any_of or not all(self.any_of):
            raise PartitionError("a slice needs at least one condition; leave `where` out to mean the whole table")

    @classmethod
    def equals(cls, column: str, *values: Value) -> Slice:
        """Rows whose `column` is one of `values`."""
        return cls(((Equals(column, values),),))

    @classmethod
    def window(cls, column: str, start: Value, end: Value) -> Slice:
        """Rows whose `column` lies in [start, end)."""
        return cls(((Window(column, start, end),),))

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that decide, each once, in order of first mention."""
        return tuple(dict.fromkeys(condition.column for both in self.any_of for condition in both))

    def matches(self, schema: Mapping[str, pl.DataType]) -> pl.Expr:
        """Typed polars predicate, never null.

        Args:
            schema: Column name to polars type, of the table or batch.

        Raises:
            PartitionError: A column is missing, or a value cannot be of its type.
        """
        parts = [reduce(and_, [c.matches(_dtype(c.column, schema)) for c in conditions]) for conditions in self.any_of]
        return reduce(or_, parts)

    def sql(self, schema: Mapping[str, pl.DataType]) -> str:
        """The same predicate as SQL, with quoted names and typed literals.

        Args:
            schema: Column name to polars type, of the table.

        Raises:
            PartitionError: A column is missing, or a value cannot be of its type.
        """
        parts = [" AND ".join(c.sql(_dtype(c.column, schema)) for c in conditions) for conditions in self.any_of]
        return parts[0] if len(parts) == 1 else " OR ".join(f"({part})" for part in parts)


def refuse_strays(batch: pl.DataFrame, where: Slice) -> None:
    """Refuse a batch with rows that its slice does not own; a null in a deciding column is owned by none.

    Args:
        batch: Rows x columns.
        where: The slice.

    Raises:
        PartitionError: Some rows lie outside, or a value of the slice cannot be of its column's type.
    """
    strays = batch.filter(~where.matches(batch.schema))
    if strays.height:
        raise stray_error(strays, where, strays=strays.height, rows=batch.height)


def stray_error(shown: pl.DataFrame, where: Slice, *, strays: int, rows: int) -> PartitionError:
    """What is said of rows outside of a slice.

    Args:
        shown: Some of them.
        where: The slice.
        strays: How many there are.
        rows: Rows of the batch.
    """
    first = shown.select(*dict.fromkeys([*where.columns, *shown.columns]))
    return PartitionError(
        f"{strays} of {rows} rows do not belong to the partition being written, which is decided by "
        f"`{', '.join(where.columns)}`: {samples(first, of=strays)}; nothing was written. Filter them out in the "
        "asset, write the partition that they belong to, or correct `partition_by`"
    )


def _dtype(column: str, schema: Mapping[str, pl.DataType]) -> pl.DataType:
    if column not in schema:
        raise PartitionError(
            f"the partition is decided by column `{column}`, which is not there; columns: {', '.join(schema)}; "
            "return it, or name another in `partition_by`"
        )
    return schema[column]


def _literal(column: str, value: Value, dtype: pl.DataType) -> pl.Expr:
    _check(column, value, dtype)
    return pl.lit(value, dtype=dtype)


def _sql_literal(column: str, value: Value, dtype: pl.DataType) -> str:
    _check(column, value, dtype)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, dt.datetime):
        zone = "None" if value.tzinfo is None else 'Some("UTC")'
        naive = value.replace(tzinfo=None) if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
        return f"arrow_cast('{naive.isoformat(timespec='microseconds')}', 'Timestamp(Microsecond, {zone})')"
    return f"arrow_cast('{value.isoformat()}', 'Date32')"


def _check(column: str, value: Value, dtype: pl.DataType) -> None:
    """Refuse a value that is not exactly of the column's type, so that no engine has to guess a cast."""
    if not _fits(value, dtype):
        raise PartitionError(
            f"`{value!r}` cannot be a value of column `{column}`, which is {dtype}; "
            "give a value of that type, or decide the partition by another column"
        )


def _fits(value: Any, dtype: pl.DataType) -> bool:
    if isinstance(value, bool):
        return dtype == pl.Boolean
    if isinstance(value, int):
        return dtype.is_integer() and _in_range(value, dtype)
    if isinstance(value, str):
        return dtype == pl.String
    if isinstance(value, dt.datetime):
        return isinstance(dtype, pl.Datetime) and (dtype.time_zone is None) == (value.tzinfo is None)
    return isinstance(value, dt.date) and dtype == pl.Date


def _in_range(value: int, dtype: pl.DataType) -> bool:
    return bool(pl.Series([value], dtype=pl.Int128).cast(dtype, strict=False).is_not_null().all())


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
