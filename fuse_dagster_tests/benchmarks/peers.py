"""Who is measured: `History`, the physical limit, and the usual MERGE of delta-rs and of Spark.

Each takes the path of a table, a batch (in memory; Spark reads its file), and when it holds. All make the same
versions.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
from deltalake import DeltaTable, write_deltalake

from fuse_dagster_tests.benchmarks.batches import VALUES

MICROS = pl.Datetime("us", "UTC")
COLUMNS = ["id", *VALUES, "valid_from", "valid_to", "is_current"]
Apply = Callable[[str, Path, pl.DataFrame, dt.datetime], None]


def ours_snapshot(table: str, path: Path, batch: pl.DataFrame, at: dt.datetime) -> None:
    from fuse_dagster.tables import History, write

    write(table, batch, History(keys=["id"], effective_at=at))


def ours_changes(table: str, path: Path, batch: pl.DataFrame, at: dt.datetime) -> None:
    from fuse_dagster.tables import History, write

    mode = History(keys=["id"], source="changes", effective_column="at", delete_when="op = 'D'", ignore=["op"])
    write(table, batch.with_columns(pl.lit(at, MICROS).alias("at")), mode)


def limit(table: str, path: Path, batch: pl.DataFrame, at: dt.datetime, *, partial: bool = False) -> None:
    """What cannot be left out, and nothing more: read the open rows, hash, join, write open rows and ended ones.

    No checks, no log, no memory, and rows are taken for equal where their hashes are. A folder of files is its table.
    """
    Path(table).mkdir(exist_ok=True)
    files = list(Path(table).glob("open-*.parquet"))
    if partial:
        deleted, batch = batch.filter(pl.col("op") == "D").select("id"), batch.filter(pl.col("op") != "D").drop("op")
    if not files:
        _write(_version(batch, pl.lit(at, MICROS), None), table, "open")
        return
    held = pl.read_parquet(files)
    hashes = held.select(VALUES).hash_rows(), batch.select(VALUES).hash_rows()
    known = held.select("id", "valid_from", was=hashes[0]).with_row_index("row")
    stated = batch.select("id", says=hashes[1])
    if known["id"].is_sorted() and stated["id"].is_sorted():  # polars merges what it knows to be sorted
        known, stated = (frame.with_columns(pl.col("id").set_sorted()) for frame in (known, stated))
    pairs = stated.join(known, on="id", how="left", maintain_order="left")
    same = pairs["was"].eq_missing(pairs["says"])
    gone = pl.repeat(not partial, held.height, eager=True).scatter(pairs.filter(same)["row"], False)
    if partial:
        gone = gone.scatter(pairs.filter(~same)["row"].drop_nulls(), True) | held["id"].is_in(deleted["id"].implode())
        opened = pl.concat([held.filter(~gone), _version(batch.filter(~same), pl.lit(at, MICROS), None)])
    else:
        start = pairs.select(pl.when(same).then("valid_from").otherwise(pl.lit(at, MICROS)).alias("s"))["s"]
        opened = _version(batch, start, None)
    if gone.any() or not same.all():
        _write(opened, table, "open")
        _write(_version(held.filter(gone), pl.col("valid_from"), at), table, "closed")
        for old in files:
            old.unlink()


def limit_changes(table: str, path: Path, batch: pl.DataFrame, at: dt.datetime) -> None:
    limit(table, path, batch, at, partial=True)


def _version(frame: pl.DataFrame, start: pl.Expr | pl.Series, end: dt.datetime | None) -> pl.DataFrame:
    return frame.with_columns(
        start.alias("valid_from"), pl.lit(end, MICROS).alias("valid_to"), pl.lit(end is None).alias("is_current")
    ).select(COLUMNS)


def _write(frame: pl.DataFrame, table: str, kind: str) -> None:
    if frame.height:
        frame.write_parquet(f"{table}/{kind}-{uuid4()}.parquet", compression="zstd", compression_level=1)


def merge_snapshot(table: str, path: Path, batch: pl.DataFrame, at: dt.datetime) -> None:
    """The usual MERGE of delta-rs.

    One statement needs a changed key twice: to end its open version, and to insert the new one. The usual way
    is to union the batch (joined by key) with its changed rows (under a null key, which matches nothing).
    """
    _merge(table, batch, at, partial=False)


def merge_changes(table: str, path: Path, batch: pl.DataFrame, at: dt.datetime) -> None:
    _merge(table, batch, at, partial=True)


def _merge(table: str, batch: pl.DataFrame, at: dt.datetime, *, partial: bool) -> None:
    stamped = _version(batch, pl.lit(at, MICROS), None)
    if partial:
        stamped = stamped.with_columns(batch["op"])
    if not DeltaTable.is_deltatable(table):
        write_deltalake(table, stamped.select(COLUMNS))
        return
    target = DeltaTable(table)
    opened = pl.scan_delta(target).filter(pl.col("is_current")).select("id", *VALUES).collect()
    differs = pl.any_horizontal([pl.col(name).ne_missing(pl.col(f"{name}_old")) for name in VALUES])
    changed = stamped.join(opened, on="id", suffix="_old").filter(differs).select(stamped.columns)
    changed = changed.filter(pl.col("op") != "D") if partial else changed
    source = pl.concat([stamped.with_columns(merge_key="id"), changed.with_columns(merge_key=pl.lit(None, pl.Int64))])
    unequal = " OR ".join(f"(t.{name} IS DISTINCT FROM s.{name})" for name in VALUES)
    deleted, kept = (" OR s.op = 'D'", "s.op <> 'D'") if partial else ("", None)
    statement = (
        target.merge(source, "t.id = s.merge_key AND t.is_current", source_alias="s", target_alias="t")
        .when_matched_update({"valid_to": "s.valid_from", "is_current": "false"}, predicate=f"({unequal}{deleted})")
        .when_not_matched_insert({name: f"s.{name}" for name in COLUMNS}, predicate=kept)
    )
    if not partial:
        end = f"arrow_cast('{at:%Y-%m-%dT%H:%M:%S}', 'Timestamp(Microsecond, Some(\"UTC\"))')"
        gone = {"valid_to": end, "is_current": "false"}
        statement = statement.when_not_matched_by_source_update(gone, predicate="t.is_current")
    statement.execute()


@cache
def spark() -> Any:
    from fuse_dagster.testing import spark_for_tests

    return spark_for_tests({"spark.master": "local[2]", "spark.driver.memory": "4g"})


def spark_snapshot(table: str, path: Path, batch: pl.DataFrame, at: dt.datetime) -> None:
    """The same in Spark SQL."""
    _spark_merge(table, path, at, partial=False)


def spark_changes(table: str, path: Path, batch: pl.DataFrame, at: dt.datetime) -> None:
    _spark_merge(table, path, at, partial=True)


def _spark_merge(table: str, path: Path, at: dt.datetime, *, partial: bool) -> None:
    stamp = f"timestamp'{at:%Y-%m-%d %H:%M:%S}+00:00'"
    extra = f"{stamp} AS valid_from, CAST(NULL AS TIMESTAMP) AS valid_to, true AS is_current"
    batch = spark().read.parquet(str(path)).selectExpr("*", *extra.split(", "))
    if not Path(table).exists():
        batch.select(COLUMNS).write.format("delta").save(table)
        return
    batch.createOrReplaceTempView("batch")
    unequal = " OR ".join(f"NOT (t.{name} <=> s.{name})" for name in VALUES)
    deleted, kept, new = (" OR s.op = 'D'", " AND s.op <> 'D'", "s.op <> 'D' AND ") if partial else ("", "", "")
    gone = f"WHEN NOT MATCHED BY SOURCE AND t.is_current THEN UPDATE SET valid_to = {stamp}, is_current = false"
    spark().sql(
        f"""
        MERGE INTO delta.`{table}` t USING (
            SELECT s.*, s.id AS merge_key FROM batch s
            UNION ALL
            SELECT s.*, NULL FROM batch s JOIN delta.`{table}` t ON s.id = t.id AND t.is_current WHERE {new}({unequal})
        ) s ON t.id = s.merge_key AND t.is_current
        WHEN MATCHED AND ({unequal}{deleted}) THEN UPDATE SET valid_to = s.valid_from, is_current = false
        WHEN NOT MATCHED{kept} THEN INSERT ({", ".join(COLUMNS)}) VALUES ({", ".join(f"s.{c}" for c in COLUMNS)})
        {"" if partial else gone}
        """
    )


PEERS: dict[str, tuple[Apply, Apply]] = {
    "ours": (ours_snapshot, ours_changes),
    "limit": (limit, limit_changes),
    "merge": (merge_snapshot, merge_changes),
    "spark": (spark_snapshot, spark_changes),
}
"""How a peer applies a snapshot, and a batch of changes."""


def versions(table: str | Path, columns: Sequence[str] = COLUMNS) -> pl.DataFrame:
    """All versions of a table of any peer, in one order."""
    log = Path(table, "_delta_log").exists()
    found = pl.read_delta(str(table)) if log else pl.read_parquet(list(Path(table).glob("*.parquet")))
    return found.select(columns).sort("id", "valid_from")
