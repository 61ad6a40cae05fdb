"""One process that measures steps. Arguments: a peer, how often to try first, and steps as JSON, one after the other.

A step is: `snapshot` or `changes`, table, file with the batch, when it holds. Each prints a line of JSON. CPU is
user and system time of this process and of all that it started, during the call alone; the peak of memory is that
of the processes, so what the libraries and the batch take is measured apart.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import polars as pl

from fuse_dagster_tests.benchmarks.batches import moment, snapshot
from fuse_dagster_tests.benchmarks.peers import PEERS


def _children() -> list[Path]:
    """What runs below this process (on Linux): Spark's JVM and its workers."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended meanwhile
            continue
    found, front = [], {os.getpid()}
    while front:
        front = {process for process, parent in parents.items() if parent in front}
        found += [Path("/proc", str(process)) for process in front]
    return found


def _cpu() -> float:
    """Seconds."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    ticks = 0
    for child in _children():
        try:
            ticks += sum(int(field) for field in (child / "stat").read_text().rpartition(")")[2].split()[11:15])
        except OSError:  # it ended meanwhile, and counts among the children that did
            continue
    return sum(usage.ru_utime + usage.ru_stime for usage in used) + ticks / os.sysconf("SC_CLK_TCK")


def _peak_mb() -> float:
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    total = 0.0  # what `getrusage` says includes the process that started this one
    for process in (Path("/proc/self"), *_children()):
        lines = (process / "status").read_text().splitlines()
        total += sum(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM"))
    return total


def _sizes(table: str) -> dict[Path, int]:
    return {path: path.stat().st_size for path in Path(table).rglob("*") if path.is_file()}


def _warm_up(peer: str, times: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number in range(times):
            path = Path(folder, f"{number}.parquet")
            snapshot(20_000, number).write_parquet(path)
            PEERS[peer][0](f"{folder}/table", path, pl.read_parquet(path), moment(number))


def main() -> None:
    peer, warm_ups, steps = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    import fuse_dagster.tables  # noqa: F401  # the import is not what is measured

    _warm_up(peer, warm_ups)
    for kind, table, batch, at in steps:
        frame = pl.read_parquet(batch) if peer != "spark" else pl.DataFrame()
        before, start = _sizes(table), _peak_mb()
        cpu, wall = _cpu(), time.perf_counter()
        PEERS[peer][kind == "changes"](table, Path(batch), frame, dt.datetime.fromisoformat(at))
        wall, cpu = time.perf_counter() - wall, _cpu() - cpu
        new = {path: size for path, size in _sizes(table).items() if path not in before}
        files = sum(path.suffix == ".parquet" and "_fuse" not in path.parts for path in new)
        written = sum(new.values()) / 1e6
        said = {"cpu": cpu, "wall": wall, "mb": written, "files": files, "peak": _peak_mb(), "start": start}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
