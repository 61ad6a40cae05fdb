"""What is loaded: snapshots of a dimension, and batches of changes to it, the same for every peer."""

from __future__ import annotations

import datetime as dt

import polars as pl

VALUES = ["name", "country", "lat", "lon", "elevation", "zone"]
FIRST = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def moment(number: int) -> dt.datetime:
    """When a snapshot holds, counted from 0."""
    return FIRST + dt.timedelta(days=number)


def snapshot(keys: int, number: int) -> pl.DataFrame:
    """A snapshot: against the one before, 5% of the keys have changed, 1% are new and 1% are gone.

    Args:
        keys: Rows of the first snapshot.
        number: Which one, counted from 0 and below 100.

    Returns:
        Rows x 7 columns (the key and six values), by key as extracts of databases often are.
    """
    alive = pl.int_range(keys + keys // 100 * number, dtype=pl.Int64, eager=True).alias("id").to_frame()
    alive = alive.filter((pl.col("id") >= keys) | (pl.col("id") % 100 >= number))
    changes = (pl.lit(number) - 1 - (pl.col("id") - 3) % 20).floordiv(20) + 1
    return _described(alive, changes)


def changed(keys: int, ids: pl.Series) -> pl.DataFrame:
    """Changes to some keys of the first snapshot: of ten, one is deleted, eight renamed, and one is a new key.

    Args:
        keys: Rows of the first snapshot.
        ids: Keys, ascending.

    Returns:
        Rows x 8 columns: the key, six values, and `op`, which is `D` for a delete.
    """
    tenth = pl.int_range(pl.len()) % 10
    named = (
        ids.alias("id")
        .to_frame()
        .with_columns(
            id=pl.when(tenth == 9).then(pl.col("id") + 2 * keys).otherwise("id"),
            op=pl.when(tenth == 0).then(pl.lit("D")).otherwise(pl.lit("U")),
        )
    )
    return _described(named, pl.lit(1)).select("id", *VALUES, "op").sort("id")


def _described(frame: pl.DataFrame, changes: pl.Expr) -> pl.DataFrame:
    return frame.with_columns(
        name=pl.format("Airport number {}, name {}", pl.col("id") * 7919 % 1_000_003, changes),
        country=pl.format("C{}", pl.col("id") * 31 % 240),
        lat=(pl.col("id") * 48_271 % 180_000) / 1000 - 90,
        lon=(pl.col("id") * 69_621 % 360_000) / 1000 - 180,
        elevation=pl.col("id") * 104_729 % 9000,
        zone=pl.format("Zone/{}", pl.col("id") * 17 % 400),
    )
