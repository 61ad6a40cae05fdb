"""A load that finds nothing new, in a table of many commits: what it takes beyond asking the database."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from fuse_dagster import PostgreSQL
from fuse_dagster.ingest import TableSource, load
from fuse_dagster.ingest.positions import position_of
from fuse_dagster.tables import Append, Upsert, WriteMode, write

MODES: dict[str, WriteMode] = {"Append": Append(), "Upsert": Upsert(keys=["id"])}


def measure(
    given: Mapping[str, Any], table: str, folder: Path, commits: int, rounds: int
) -> dict[str, list[dict[str, float]]]:
    """Seconds of the query alone, and of the load, in turns.

    Args:
        given: The database.
        table: A table of it with an `id`.
        folder: Where the Delta tables come.
        commits: How many commits of others lie above the first load.
        rounds: How often.
    """
    source = TableSource(database=PostgreSQL(**given), table=f"public.{table}", cursor="id")
    found: dict[str, list[dict[str, float]]] = {name: [] for name in MODES}
    for name, mode in MODES.items():
        path = folder / name
        load(source, path, mode)
        last = pl.read_delta(str(path)).tail(100)
        for number in range(commits):
            write(path, last.with_columns(id=-pl.col("id") - number * 1_000_000), Append())
        for _ in range(rounds):
            began = time.perf_counter()
            with source.read(position_of(path, source.identity)) as reading:
                assert reading.batches().read_all().num_rows == 0
            asked, cpu = time.perf_counter(), time.process_time()
            assert load(source, path, mode).rows == 0
            seconds, cpu = time.perf_counter() - asked, time.process_time() - cpu
            found[name].append({"query": asked - began, "load": seconds, "cpu": cpu})
    return found
