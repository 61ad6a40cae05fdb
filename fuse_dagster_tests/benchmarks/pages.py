"""Pages of an API, fetched one after the other and several at a time; and how much memory many of them take."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from fuse_dagster import REST
from fuse_dagster_tests.benchmarks.loading import peak_mb
from fuse_dagster_tests.servers.rest import rest_server

ROOT = Path(__file__).resolve().parents[2]
SIZE = 200
"""Rows of a page."""


def measure(pages: int, slow: float, limits: tuple[int, ...], rounds: int) -> dict[int, list[dict[str, float]]]:
    """Seconds and peak MB by the limit of requests at a time, in turns.

    Args:
        pages: How many.
        slow: Seconds that the server takes for each.
        limits: How many requests may be under way.
        rounds: How often.

    Raises:
        AssertionError: More requests were under way than the limit says.
    """
    found: dict[int, list[dict[str, float]]] = {limit: [] for limit in limits}
    with rest_server() as server:
        rows = [{"id": number, "name": f"flight {number}", "delay": number / 7} for number in range(pages * SIZE)]
        for _ in range(rounds):
            for limit in limits:
                server.reset()
                server.rows, server.slow = rows, slow
                command = [sys.executable, "-m", "fuse_dagster_tests.benchmarks.pages", server.url, str(limit)]
                done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
                said = json.loads(done.stdout.splitlines()[-1])
                assert said.pop("rows") == len(rows)
                assert server.at_once <= limit, (server.at_once, limit)
                found[limit].append({**said, "at once": server.at_once})
    return found


def main(url: str, limit: str) -> None:
    """One reading, whose rows are dropped."""
    paging = {"style": "page", "size": SIZE, "size_parameter": "size", "total": "total"}
    endpoint = {"path": "page/flights", "records": "data.items", "paging": paging}
    columns = {"id": "int64", "name": "string", "delay": "float64"}
    flights = {**endpoint, "columns": columns}
    api = REST(base_url=url, allow_http=True, concurrency=int(limit), endpoints={"flights": flights})
    began, rows = time.perf_counter(), 0
    with api.rows("flights") as reader:
        rows = sum(batch.num_rows for batch in reader)
    print(json.dumps({"seconds": time.perf_counter() - began, "peak": peak_mb(), "rows": rows}))


if __name__ == "__main__":
    main(*sys.argv[1:])
