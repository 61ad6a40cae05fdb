"""Small JSON files of a landing folder: our reading beside `json.load` per file into frames, in one run.

`python -m fuse_dagster_tests.benchmarks.landing 100000` prints the seconds of each.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl

from fuse_dagster import Local
from fuse_dagster.ingest.landing import LandingFiles


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


def naive(folder: Path) -> pl.DataFrame:
    """What one writes first: a frame for each file, and all of them put together."""
    frames = []
    for path in sorted(folder.rglob("*.json")):
        with path.open() as file:
            frames.append(pl.DataFrame([json.load(file)]))
    return pl.concat(frames)


def ours(folder: Path) -> pl.DataFrame:
    """A reading of the folder: listed, hashed, parsed."""
    source = LandingFiles(connector=Local(root=str(folder)), settle=0, parallel=1)
    with source.read(None) as reading:
        rows = pl.DataFrame(pl.from_arrow(reading.batches().read_all()))
        assert reading.rejected().is_empty()
        assert reading.entries().height >= rows.height
    return rows


def measure(count: int, rounds: int = 1) -> dict[str, list[float]]:
    """Wall seconds of each way, in turns.

    Args:
        count: Files.
        rounds: How often.

    Raises:
        AssertionError: The ways do not read the same rows.
    """
    ways: dict[str, Callable[[Path], pl.DataFrame]] = {"json.load and concat": naive, "LandingFiles": ours}
    found: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), count)
        for _ in range(rounds):
            frames = []
            for name, way in ways.items():
                began = time.perf_counter()
                frames.append(way(Path(folder)))
                found[name].append(time.perf_counter() - began)
            assert frames[0].sort("id").equals(frames[1].sort("id")), "the ways read different rows"
    return found


def main() -> None:
    """Print the seconds of each way."""
    for name, seconds in measure(int(sys.argv[1]), rounds=3).items():
        print(name, " ".join(f"{one:.2f}" for one in seconds))


if __name__ == "__main__":
    main()
