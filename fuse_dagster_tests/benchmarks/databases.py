"""Delta -> PostgreSQL beside PostgreSQL's own COPY: `python -m fuse_dagster_tests.benchmarks.databases`.

COPY reads files that are there already, as CSV and in its binary form: it neither decodes Parquet nor checks a type.
The rows are written to a table that `write_rows` makes anew each time; rounds alternate, and the median counts.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from fuse_dagster import PostgreSQL
from fuse_dagster.connectors.databases.modes import AppendRows
from fuse_dagster.engines.local.streaming import to_stream
from fuse_dagster_tests.servers.postgres import PostgresServer, postgres_server

COLUMNS = (
    "id bigint, code text, name text, day date, at timestamp, seen timestamptz, price numeric(12,2), "
    "amount double precision, count integer, flag boolean, note text, ratio real"
)


def rows(count: int) -> pl.LazyFrame:
    """Rows x 12 columns, of the types that tables have."""
    number = pl.int_range(count, eager=False).alias("id")
    start = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - one of the columns has no zone
    id_ = pl.col("id")
    return (
        pl.LazyFrame()
        .select(number)
        .with_columns(
            ("K" + (id_ % 10_000).cast(pl.String)).alias("code"),
            ("a name of some length " + id_.cast(pl.String)).alias("name"),
            (pl.lit(start) + pl.duration(days=id_ % 1000)).cast(pl.Date).alias("day"),
            (pl.lit(start) + pl.duration(seconds=id_)).cast(pl.Datetime("us")).alias("at"),
            (pl.lit(start) + pl.duration(seconds=id_ * 7))
            .cast(pl.Datetime("us"))
            .dt.replace_time_zone("UTC")
            .alias("seen"),
            ((id_ % 100_000).cast(pl.Decimal(12, 2)) / 4).cast(pl.Decimal(12, 2)).alias("price"),
            (id_ / 3).alias("amount"),
            (id_ % 1000).cast(pl.Int32).alias("count"),
            (id_ % 3 == 0).alias("flag"),
            pl.when(id_ % 5 != 0).then(pl.lit("a note")).alias("note"),
            (id_ / 7).cast(pl.Float32).alias("ratio"),
        )
    )


def written(server: PostgresServer, database: str, table: Path) -> tuple[float, float]:
    """Seconds and peak MB of a process of its own that writes the Delta table by us."""
    given = json.dumps(
        {
            "host": server.host,
            "port": server.port,
            "user": server.user,
            "password": server.password,
            "database": database,
        }
    )
    server.sql("DROP TABLE IF EXISTS ours", database)
    command = [sys.executable, "-m", "fuse_dagster_tests.benchmarks.databases", "--write", given, str(table)]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return said["seconds"], said["peak"]


def copied(server: PostgresServer, database: str, file: Path, layout: str) -> float:
    """Seconds of `COPY` from a file on this machine's disk."""
    server.sql(f"DROP TABLE IF EXISTS theirs; CREATE TABLE theirs ({COLUMNS})", database)
    began = time.perf_counter()
    server.sql(f"\\copy theirs FROM '{file}' WITH (FORMAT {layout})", database)
    return time.perf_counter() - began


def measure(count: int, rounds: int) -> None:
    """Measure, and print what was seen."""
    with tempfile.TemporaryDirectory() as name, postgres_server() as server:
        folder, database = Path(name), server.database("bench")
        table = folder / "delta"
        rows(count).collect().write_delta(str(table))
        written(server, database, table)
        for layout in ("csv", "binary"):
            server.sql(f"\\copy ours TO '{folder / layout}' WITH (FORMAT {layout})", database)
        seconds: dict[str, list[float]] = {"fuse_dagster": [], "COPY csv": [], "COPY binary": []}
        peaks = []
        for _ in range(rounds):
            took, peak = written(server, database, table)
            seconds["fuse_dagster"].append(took)
            peaks.append(peak)
            for layout in ("csv", "binary"):
                seconds[f"COPY {layout}"].append(copied(server, database, folder / layout, layout))
        ours, theirs = (
            server.sql(f"SELECT count(*), sum(price), max(seen) FROM {t}", database) for t in ("ours", "theirs")
        )
        assert ours == theirs, (ours, theirs)
    for name, took in seconds.items():
        middle = statistics.median(took)
        print(f"{name:>14}: {count / middle:>12,.0f} rows/s  ({', '.join(f'{one:.2f}' for one in took)} s)")
    for layout in ("csv", "binary"):
        ratio = statistics.median(seconds[f"COPY {layout}"]) / statistics.median(seconds["fuse_dagster"])
        print(f"{ratio:.2f}x of COPY {layout}")
    print(f"peak of memory: {max(peaks):,.0f} MB")


def _write(given: str, table: str) -> None:
    connector = PostgreSQL(**json.loads(given))
    began = time.perf_counter()
    connector.write_rows("ours", to_stream(pl.scan_delta(table)), AppendRows())
    took = time.perf_counter() - began
    print(json.dumps({"seconds": took, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", nargs=2)
    arguments = parser.parse_args()
    if arguments.write:
        _write(*arguments.write)
    else:
        measure(arguments.rows, arguments.rounds)
