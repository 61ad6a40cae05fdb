"""Delta -> PostgreSQL beside PostgreSQL's own COPY, which polars feeds from the same table, or a file.

Files are there already, as CSV and in COPY's binary form: nobody decodes Parquet then, nor checks a type.
The rows are written to a table that `write_rows` makes anew each time; rounds alternate, and the median counts.
"""

from __future__ import annotations

import datetime as dt
import json
import resource
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

OURS, PIPED = "fuse_dagster", "`COPY` of CSV from Delta"
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
    command = [sys.executable, "-m", "fuse_dagster_tests.benchmarks.databases", given, str(table)]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return said["seconds"], said["peak"]


def copied(server: PostgresServer, database: str, file: Path, layout: str) -> float:
    """Seconds of `COPY` from a file on this machine's disk."""
    server.sql(f"DROP TABLE IF EXISTS theirs; CREATE TABLE theirs ({COLUMNS})", database)
    began = time.perf_counter()
    server.sql(f"\\copy theirs FROM '{file}' WITH (FORMAT {layout})", database)
    return time.perf_counter() - began


def piped(server: PostgresServer, database: str, table: Path) -> float:
    """Seconds of what one does without us: the Delta table read by polars, as CSV into `COPY ... FROM STDIN`."""
    server.sql(f"DROP TABLE IF EXISTS theirs; CREATE TABLE theirs ({COLUMNS})", database)
    began = time.perf_counter()
    with server.psql("\\copy theirs FROM STDIN WITH (FORMAT csv)", database) as program:
        for part in pl.scan_delta(str(table)).collect_batches(chunk_size=65_536, lazy=True):
            part.write_csv(program, include_header=False)
    return time.perf_counter() - began


def measure(count: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Seconds of each way, in turns.

    Raises:
        AssertionError: The ways do not make the same table.
    """
    files = {"`COPY` of a CSV file": "csv", "`COPY` of a binary file": "binary"}
    found: dict[str, list[dict[str, float]]] = {way: [] for way in (OURS, PIPED, *files)}
    said = "SELECT count(*), sum(price), max(seen), sum(length(name)), count(note) FROM "
    with tempfile.TemporaryDirectory() as name, postgres_server() as server:
        folder, database = Path(name), server.database("bench")
        folder.chmod(0o755)
        table = folder / "delta"
        rows(count).collect().write_delta(str(table))
        written(server, database, table)
        for layout in files.values():
            server.sql(f"\\copy ours TO '{folder / layout}' WITH (FORMAT {layout})", database)
        for _ in range(rounds):
            found[OURS].append({"seconds": written(server, database, table)[0]})
            found[PIPED].append({"seconds": piped(server, database, table)})
            assert server.sql(f"{said} ours", database) == server.sql(f"{said} theirs", database)
            for way, layout in files.items():
                found[way].append({"seconds": copied(server, database, folder / layout, layout)})
    return found


def _write(given: str, table: str) -> None:
    import adbc_driver_postgresql.dbapi  # noqa: F401  # imports are not what is measured
    import deltalake  # noqa: F401

    connector = PostgreSQL(**json.loads(given))
    began = time.perf_counter()
    connector.write_rows("ours", to_stream(pl.scan_delta(table)), AppendRows())
    took = time.perf_counter() - began
    print(json.dumps({"seconds": took, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}))


if __name__ == "__main__":
    _write(*sys.argv[1:])
