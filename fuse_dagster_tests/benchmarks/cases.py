"""What is measured: the second snapshot of a dimension, by `History` and by the usual MERGE."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import polars as pl
from deltalake import DeltaTable, write_deltalake

FIRST = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
SECOND = dt.datetime(2024, 2, 1, tzinfo=dt.UTC)
VALUES = ["name", "country", "lat", "lon", "elevation", "zone"]


def snapshots(keys: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two snapshots: in the second, 5% of the keys have changed, 1% are new and 1% are gone.

    Args:
        keys: Rows of the first snapshot.

    Returns:
        Frames of `keys` rows x 7 columns (the key and six values).
    """
    number = pl.int_range(keys, dtype=pl.Int64, eager=True)
    first = pl.DataFrame({"id": number}).with_columns(
        name=pl.format("Airport number {}", pl.col("id") * 7919 % 1_000_003),
        country=pl.format("C{}", pl.col("id") * 31 % 240),
        lat=(pl.col("id") * 48_271 % 180_000) / 1000 - 90,
        lon=(pl.col("id") * 69_621 % 360_000) / 1000 - 180,
        elevation=pl.col("id") * 104_729 % 9000,
        zone=pl.format("Zone/{}", pl.col("id") * 17 % 400),
    )
    gone, changed = pl.col("id") % 100 == 0, pl.col("id") % 20 == 3
    added = first.head(keys // 100).with_columns(id=pl.col("id") + keys)
    second = first.filter(~gone).with_columns(
        name=pl.when(changed).then(pl.col("name") + " (renamed)").otherwise(pl.col("name"))
    )
    return first, pl.concat([second, added])


def history(table: str, batch: pl.DataFrame, moment: dt.datetime) -> None:
    """Apply a snapshot by `History`."""
    from fuse_dagster.tables import History, write

    write(table, batch, History(keys=["id"], effective_at=moment))


def merge(table: str, batch: pl.DataFrame, moment: dt.datetime) -> None:
    """Apply a snapshot by the usual MERGE.

    One statement needs a changed key twice: to end its open version, and to insert the new one. The usual way
    is to union the batch (joined by key) with its changed rows (under a null key, which matches nothing).
    """
    stamped = batch.with_columns(
        valid_from=pl.lit(moment), valid_to=pl.lit(None, pl.Datetime("us", "UTC")), is_current=pl.lit(True)
    )
    if not DeltaTable.is_deltatable(table):
        write_deltalake(table, stamped)
        return
    target = DeltaTable(table)
    opened = pl.scan_delta(target).filter(pl.col("is_current")).select("id", *VALUES).collect()
    differs = pl.any_horizontal([pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in VALUES])
    changed = stamped.join(opened, on="id", suffix="_old").filter(differs).select(stamped.columns)
    source = pl.concat(
        [
            stamped.with_columns(merge_key=pl.col("id")),
            changed.with_columns(merge_key=pl.lit(None, pl.Int64)),
        ]
    )
    unequal = " OR ".join(f"(t.{name} IS DISTINCT FROM s.{name})" for name in VALUES)
    end = {"valid_to": "s.valid_from", "is_current": "false"}
    gone = {"valid_to": f"arrow_cast('{moment:%Y-%m-%dT%H:%M:%S}', 'Timestamp(Microsecond, Some(\"UTC\"))')"}
    (
        target.merge(source, "t.id = s.merge_key AND t.is_current", source_alias="s", target_alias="t")
        .when_matched_update(end, predicate=f"({unequal})")
        .when_not_matched_insert({name: f"s.{name}" for name in stamped.columns})
        .when_not_matched_by_source_update({**gone, "is_current": "false"}, predicate="t.is_current")
        .execute()
    )


WAYS: dict[str, Callable[[str, pl.DataFrame, dt.datetime], None]] = {"History": history, "MERGE": merge}


def versions(table: str | Path) -> pl.DataFrame:
    """All versions, in one order, to compare what two ways made."""
    frame = pl.read_delta(str(table))
    return frame.select("id", *VALUES, "valid_from", "valid_to", "is_current").sort("id", "valid_from")
