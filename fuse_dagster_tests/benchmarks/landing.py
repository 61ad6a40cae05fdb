"""Small JSON files of a landing folder: our reading beside what one writes first, in turns in one process.

`python -m fuse_dagster_tests.benchmarks.landing --files 100000` prints CPU and wall seconds of each.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl

from fuse_dagster import Local
from fuse_dagster.ingest.landing import LandingFiles

FILES = 100_000
Seconds = tuple[float, float]
"""CPU and wall."""


def write_files(folder: Path, count: int) -> None:
    """Make files of one object with six fields.

    Args:
        folder: Where.
        count: How many, a thousand in each folder.
    """
    for number in range(count):
        place = folder / f"{number // 1000:03}"
        if number % 1000 == 0:
            place.mkdir(parents=True)
        row = {
            "id": number,
            "carrier": "AA",
            "flight": f"{number:05}",
            "delay": number / 7,
            "late": number % 2 == 0,
            "at": "2024-06-01T12:00:00Z",
        }
        (place / f"{number}.json").write_text(json.dumps(row))


def frame_per_file(folder: Path) -> pl.DataFrame:
    """What one writes first: a frame for each file, and all of them put together."""
    frames = []
    for path in sorted(folder.rglob("*.json")):
        with path.open() as file:
            frames.append(pl.DataFrame([json.load(file)]))
    return pl.concat(frames)


def one_frame(folder: Path) -> pl.DataFrame:
    """What one writes next: a list of all objects, in memory, and a frame of that."""
    rows = []
    for path in sorted(folder.rglob("*.json")):
        with path.open() as file:
            rows.append(json.load(file))
    return pl.DataFrame(rows)


def ours(folder: Path) -> pl.DataFrame:
    """A reading of the folder: listed, hashed, parsed, and remembered."""
    source = LandingFiles(connector=Local(root=str(folder)), settle=0)
    with source.read(None) as reading:
        rows = pl.DataFrame(pl.from_arrow(reading.batches().read_all()))
        assert reading.rejected().is_empty()
        assert reading.entries().height >= rows.height
    return rows


WAYS: Mapping[str, Callable[[Path], pl.DataFrame]] = {
    "json.load into a frame per file": frame_per_file,
    "json.load into one list": one_frame,
    "LandingFiles": ours,
}


def measure(count: int, rounds: int = 1) -> dict[str, list[Seconds]]:
    """Seconds of each way, in turns.

    Args:
        count: Files.
        rounds: How often.

    Raises:
        AssertionError: The ways do not read the same rows.
    """
    found: dict[str, list[Seconds]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), count)
        for _ in range(rounds):
            frames = []
            for name, way in WAYS.items():
                began, cpu = time.perf_counter(), _cpu()
                frames.append(way(Path(folder)))
                found[name].append((_cpu() - cpu, time.perf_counter() - began))
            first = frames[0].sort("id")
            assert all(first.equals(frame.sort("id")) for frame in frames[1:]), "the ways read different rows"
    return found


def rows_of(found: Mapping[str, Sequence[Seconds]], count: int) -> list[dict[str, object]]:
    """Rows of a table: each way, medians of its seconds, and how much of the first way's CPU it takes.

    Args:
        found: From `measure`.
        count: Files.
    """
    medians = {name: [statistics.median(column) for column in zip(*each, strict=True)] for name, each in found.items()}
    ours_cpu = medians["LandingFiles"][0]
    return [
        {
            f"{count:,} small JSON files": name,
            "CPU s": f"{cpu:.2f}",
            "wall s": f"{wall:.2f}",
            "CPU over LandingFiles": f"{cpu / ours_cpu:.1f}",
        }
        for name, (cpu, wall) in medians.items()
    ]


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print the medians of each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for row in rows_of(measure(arguments.files, arguments.rounds), arguments.files):
        print(*row.values(), sep="  ")


if __name__ == "__main__":
    main()
