"""A snapshot beside what held at its time, compared column by column so that no more than one lies in memory twice."""

from __future__ import annotations

import datetime as dt
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
    same = settled = numbers.is_not_null()
    if not held.is_empty():
        for name in shape.tracked:
            same = same & _agrees(rows.column(name).gather(numbers), batch[name])
        for name in shape.overwritten:
            settled = settled & _agrees(rows.column(name).gather(numbers), batch[name])
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


def _agrees(known: pl.Series, stated: pl.Series) -> pl.Series:
    pair = pl.DataFrame([known.alias("known"), stated.alias("stated")])
    return pair.select(pl.col("known").eq_missing(pl.col("stated"))).to_series()


def _unmatched(held: pl.DataFrame, numbers: pl.Series, height: int) -> pl.DataFrame:
    if held.height == len(numbers) - numbers.null_count():
        return held.clear()
    matched = pl.repeat(False, height, eager=True).scatter(numbers.drop_nulls(), True)
    return held.filter(~matched.gather(held[ROW]))
