"""Versions of keys as disjoint half-open intervals, and the one operation on them: joining equal neighbours."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from fuse_dagster.tables.equality import same_as_previous
from fuse_dagster.tables.modes import History

AT = "__fuse_at"
UTC_MICROS = pl.Datetime("us", "UTC")


@dataclass(frozen=True, slots=True)
class Shape:
    """Which column of a history plays which part.

    Attributes:
        keys: Business key.
        tracked: Columns whose values make a version.
        valid_from: Inclusive start.
        valid_to: Exclusive end; null while open.
        is_current: True for open versions.
        columns: The business columns, in the table's order, without those that the history adds.
        durable_key: Column with the hash of the business key, if declared.
        surrogate_key: Column with the hash of the business key and the start, if declared.
        overwritten: Columns that hold, in every version of a key, what was said of it last.
    """

    keys: tuple[str, ...]
    tracked: tuple[str, ...]
    valid_from: str
    valid_to: str
    is_current: str
    columns: tuple[str, ...]
    durable_key: str | None = None
    surrogate_key: str | None = None
    overwritten: tuple[str, ...] = ()

    @classmethod
    def of(cls, mode: History, columns: Sequence[str], tracked: Sequence[str]) -> Shape:
        """The shape that a declaration gives to a table with these business columns."""
        return cls(
            tuple(mode.keys),
            tuple(tracked),
            mode.valid_from,
            mode.valid_to,
            mode.is_current,
            tuple(columns),
            durable_key=mode.durable_key,
            surrogate_key=mode.surrogate_key,
            overwritten=tuple(mode.overwrite_columns),
        )

    @property
    def own(self) -> tuple[str, str, str]:
        """The columns that say when a version holds."""
        return (self.valid_from, self.valid_to, self.is_current)

    def covering(self, moment: dt.datetime) -> pl.Expr:
        """Versions that hold at a moment."""
        return (pl.col(self.valid_from) <= moment) & self.reaching(moment, touching=False)

    def reaching(self, moment: dt.datetime, *, touching: bool = True) -> pl.Expr:
        """Versions that end after a moment, or (touching) at it, or never."""
        end = pl.col(self.valid_to)
        return end.is_null() | (end >= moment if touching else end > moment)


def coalesce(pieces: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """Join pieces of a key that touch and agree on every tracked column.

    Args:
        pieces: Disjoint pieces of any number of keys, in any order.
        shape: Parts of the columns.

    Returns:
        Rows sorted by key and time; a joined row holds the earliest piece's values and the latest piece's end.
    """
    if pieces.is_empty():
        return pieces
    rows = pieces.sort(*shape.keys, shape.valid_from)
    touches = (pl.col(shape.valid_from) == pl.col(shape.valid_to).shift(1)).fill_null(False)
    joined = rows.select(same_as_previous([*shape.keys, *shape.tracked]) & touches).to_series()
    ends = (~joined).shift(-1, fill_value=True)
    return rows.filter(~joined).with_columns(rows.filter(ends)[shape.valid_to]).with_columns(current(shape))


def current(shape: Shape) -> pl.Expr:
    """The flag that follows from the end."""
    return pl.col(shape.valid_to).is_null().alias(shape.is_current)
