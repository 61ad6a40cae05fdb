"""PostgreSQL -> Delta by `ingest.load`, beside ADBC alone, which reads the same rows and drops them, and beside dlt.

Each measurement is a process of its own; the ways take turns, and the median counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fuse_dagster_tests.servers.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
TABLE = "source"
OURS, ADBC = "fuse_dagster", "ADBC alone, rows dropped"
DLT = {"dlt (connectorx)": "connectorx", "dlt (pyarrow)": "pyarrow"}
_PACKAGES = ("dlt[deltalake,sql-database]==1.31.0", "connectorx==0.4.6", "psycopg2-binary==2.9.13")
Measured = dict[str, float]


def address(server: PostgresServer, database: str) -> dict[str, Any]:
    """How a connector reaches a database of the server."""
    fields = ("host", "port", "user", "password")
    return {**{name: getattr(server, name) for name in fields}, "database": database}


def url_of(given: Mapping[str, Any]) -> str:
    """The same as a URL."""
    who = f"{given['user']}:{quote(given['password'], safe='')}"
    return f"postgresql://{who}@{given['host']}:{given['port']}/{given['database']}"


def measure(given: Mapping[str, Any], rows: int, rounds: int, ways: Mapping[str, int]) -> dict[str, list[Measured]]:
    """Seconds and peak MB of each way, in turns.

    Args:
        given: The database, whose table `TABLE` is loaded.
        rows: How many it has.
        rounds: How often.
        ways: Who is measured, and in how many of the rounds.

    Raises:
        AssertionError: Somebody brought another number of rows.
    """
    found: dict[str, list[Measured]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in (way for way, most in ways.items() if number < most):
            with tempfile.TemporaryDirectory() as folder:
                said = _said(way, given, Path(folder))
                held = _count(said["table"]) if way in DLT else said["rows"]
            assert held == rows, (way, held)
            found[way].append({name: said[name] for name in ("seconds", "cpu", "peak")})
            print(f"{way}, round {number + 1}: {said['seconds']:.1f} s", file=sys.stderr, flush=True)
    return found


def _said(way: str, given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    if way in DLT:
        uv = Path(sys.executable).with_name("uv")
        packages = [word for package in _PACKAGES for word in ("--with", package)]
        program = [str(Path(__file__).with_name("with_dlt.py")), DLT[way], url_of(given), TABLE, str(folder)]
        command = [str(uv), "run", "--quiet", "--no-project", "--python", sys.executable, *packages, *program]
    else:
        command = [sys.executable, "-m", "fuse_dagster_tests.benchmarks.loading", way, json.dumps(given), str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _count(table: str) -> int:
    import polars as pl

    return int(pl.scan_delta(table).select(pl.len()).collect().item())


def _ours(given: Mapping[str, Any], folder: Path) -> int:
    from fuse_dagster import PostgreSQL
    from fuse_dagster.ingest import TableSource, load
    from fuse_dagster.tables import Append

    source = TableSource(database=PostgreSQL(**given), table=f"public.{TABLE}", cursor="id")
    return load(source, folder / "table", Append()).rows


def _adbc(given: Mapping[str, Any], folder: Path) -> int:
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(url_of(given)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {TABLE}")
        return sum(batch.num_rows for batch in cursor.fetch_record_batch())


WAYS: dict[str, Callable[[Mapping[str, Any], Path], int]] = {OURS: _ours, ADBC: _adbc}


def peak_mb() -> float:
    """The most memory that this process had."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in status if line.startswith("VmHWM"))


def main(arguments: Sequence[str]) -> None:
    """One measurement."""
    way, given, folder = arguments
    import adbc_driver_postgresql.dbapi  # noqa: F401  # imports are not what is measured

    import fuse_dagster
    import fuse_dagster.ingest

    assert fuse_dagster.PostgreSQL
    began, cpu = time.perf_counter(), time.process_time()
    rows = WAYS[way](json.loads(given), Path(folder))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak_mb(), "rows": rows}))


if __name__ == "__main__":
    main(sys.argv[1:])
