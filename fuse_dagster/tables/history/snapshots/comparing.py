"""A snapshot beside what held at its time, compared column by column so that no more than one lies in memory twice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from fuse_dagster.tables.history.timeline import Shape
from fuse_dagster.tables.rows import ROW, Rows


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a snapshot differs from what held at its time.

    Attributes:
        held: Versions that held: keys and `ROW`.
        rows: Per row of the snapshot, the number of the version of its key that held, or null.
        same: Per row of the snapshot, whether that version agrees in every tracked column; never null.
        gone: Versions of keys that are absent from the snapshot: keys and `ROW`.
        settled: Per row of the snapshot, whether that version agrees in every overwritten column, too; never null.
    """

    held: pl.DataFrame
    rows: pl.Series
    same: pl.Series
    gone: pl.DataFrame
    settled: pl.Series

    @property
    def is_empty(self) -> bool:
        """Whether the snapshot says what held anyway."""
        return bool(self.same.all() and self.settled.all()) and self.held.height == len(self.rows)

    @property
    def inserted(self) -> int:
        """Rows of the snapshot whose key did not hold."""
        return self.rows.null_count()

    @property
    def updated(self) -> int:
        """Rows of the snapshot whose key held other values."""
        return len(self.rows) - self.inserted - int(self.same.sum())

    @property
    def closed(self) -> int:
        """Keys that held and are absent from the snapshot."""
        return self.gone.height


def compare(rows: Rows, batch: pl.DataFrame, at: dt.datetime, shape: Shape) -> Comparison:
    """Compare a snapshot with the versions that hold at its time.

    Args:
        rows: Version rows, at least all that hold then.
        batch: One row per key, business columns.
        at: The snapshot's time.
        shape: Parts of the columns.
    """
    keys = list(shape.keys)
    times = rows.columns([shape.valid_from, shape.valid_to])
    holds = times.select(shape.covering(at).alias(ROW)).to_series()
    held = rows.columns(keys) if holds.all() else rows.columns(keys).filter(holds)
    numbers = _numbers(batch.select(keys), held)
    same = _agreeing(rows, batch, numbers, shape.tracked)
    settled = _agreeing(rows, batch, numbers, shape.overwritten)
    return Comparison(held, numbers, same, _unmatched(held, numbers, rows.height), settled)


def _numbers(wanted: pl.DataFrame, held: pl.DataFrame) -> pl.Series:
    """Per row, the number of the version of its key, or null.

    Polars merges two sorted columns for a small part of what hashing them costs, once it is told that they are sorted.
    """
    keys = wanted.columns
    if len(keys) == 1 and wanted[keys[0]].is_sorted() and held[keys[0]].is_sorted():
        flag = pl.col(keys[0]).set_sorted()
        wanted, held = wanted.with_columns(flag), held.with_columns(flag)
    return wanted.join(held, on=keys, how="left", maintain_order="left")[ROW]


def _agreeing(rows: Rows, batch: pl.DataFrame, numbers: pl.Series, names: Sequence[str]) -> pl.Series:
    """Per row of the batch, whether the version of its key has the same values.

    Where rows and versions follow each other alike, those that have a partner are filtered on both sides: that costs a
    quarter of gathering them by their numbers.
    """
    matched = numbers.is_not_null()
    found = numbers.drop_nulls().cast(pl.get_index_type())
    if found.is_empty() or not names:
        return matched
    wanted = _chosen(found, rows.height) if found.is_sorted() else None
    agree = pl.repeat(True, len(found), eager=True)
    for name in names:
        column = rows.column(name)
        known = column.gather(found) if wanted is None else column.filter(wanted)
        agree = agree & known.eq_missing(batch[name].filter(matched))
    return _chosen(matched.arg_true().filter(agree), len(numbers))


def _unmatched(held: pl.DataFrame, numbers: pl.Series, height: int) -> pl.DataFrame:
    if held.height == len(numbers) - numbers.null_count():
        return held.clear()
    return held.filter(~_chosen(numbers.drop_nulls(), height).gather(held[ROW]))


def _chosen(positions: pl.Series, height: int) -> pl.Series:
    """A mask of a height that is true at some positions."""
    return pl.repeat(False, height, eager=True).scatter(positions, True)
