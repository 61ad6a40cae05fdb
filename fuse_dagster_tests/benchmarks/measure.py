"""One measurement, in a process of its own. Arguments: way, table, file with the batch, moment.

Prints one line of JSON. CPU is user and system time of this process and its children, during the call alone;
the peak of memory is the whole process's, so what the libraries take for themselves is measured apart.
"""

from __future__ import annotations

import datetime as dt
import json
import resource
import sys
import time
from pathlib import Path

import polars as pl

from fuse_dagster_tests.benchmarks.cases import WAYS


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _peak_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


def _sizes(table: str) -> dict[Path, int]:
    return {path: path.stat().st_size for path in Path(table).rglob("*") if path.is_file()}


def main() -> None:
    way, table, batch, moment = sys.argv[1:]
    import fuse_dagster.tables  # noqa: F401  # the import is not what is measured

    frame = pl.read_parquet(batch)
    before, peak_before = _sizes(table), _peak_mb()
    cpu, wall = _cpu(), time.perf_counter()
    WAYS[way](table, frame, dt.datetime.fromisoformat(moment))
    wall, cpu = time.perf_counter() - wall, _cpu() - cpu
    written = sum(size for path, size in _sizes(table).items() if path not in before)
    print(json.dumps({"cpu": cpu, "wall": wall, "mb": written / 1e6, "peak": _peak_mb(), "start": peak_before}))


if __name__ == "__main__":
    main()
