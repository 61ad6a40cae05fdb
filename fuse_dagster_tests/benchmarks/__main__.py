"""`make bench`: measure each case in a fresh process, several times, and write docs/pages/benchmarks.md."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from fuse_dagster_tests.benchmarks.cases import FIRST, SECOND, WAYS, snapshots, versions

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "pages" / "benchmarks.md"
START, END = "<!-- measured -->", "<!-- /measured -->"

Measured = dict[str, float]


def _measure(way: str, table: Path, batch: Path, moment: dt.datetime) -> Measured:
    command = [sys.executable, "-m", "fuse_dagster_tests.benchmarks.measure"]
    command += [way, str(table), str(batch), moment.isoformat()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: Measured = json.loads(done.stdout.splitlines()[-1])
    return found


def _median(rounds: list[Measured]) -> Measured:
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def run(keys: int, rounds: int) -> dict[tuple[str, str], Measured]:
    """Measure each way: the second snapshot, and the same again.

    Args:
        keys: Keys of the first snapshot.
        rounds: How often each is measured; the median counts.

    Returns:
        (way, step) to its median.

    Raises:
        AssertionError: The ways do not make the same table.
    """
    found: dict[tuple[str, str], list[Measured]] = {}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        batches = [base / "first.parquet", base / "second.parquet"]
        for frame, path in zip(snapshots(keys), batches, strict=True):
            frame.write_parquet(path)
        for way in WAYS:
            _measure(way, base / f"{way}-first", batches[0], FIRST)
        for number in range(rounds):
            for way in WAYS:
                table = base / f"{way}-{number}"
                shutil.copytree(base / f"{way}-first", table)
                for step in ("second snapshot", "the same again"):
                    found.setdefault((way, step), []).append(_measure(way, table, batches[1], SECOND))
        tables = [versions(base / f"{way}-0") for way in WAYS]
        assert all(table.equals(tables[0]) for table in tables[1:]), "the ways made different tables"
    return {case: _median(each) for case, each in found.items()}


def report(found: dict[tuple[str, str], Measured], keys: int, rounds: int) -> str:
    """What was measured, as Markdown."""
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("deltalake", "polars"))
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, {packages}"
    lines = [
        f"{keys:,} keys; 5% changed, 1% new, 1% gone. Median of {rounds} rounds on {machine}.",
        "",
        "| | CPU s | wall s | MB written | peak MB of the process |",
        "|---|---:|---:|---:|---:|",
    ]
    for (way, step), row in found.items():
        numbers = f"{row['cpu']:.2f} | {row['wall']:.2f} | {row['mb']:.1f} | {row['peak']:.0f}"
        lines.append(f"| {way}, {step} | {numbers} |")
    start = statistics.median(row["start"] for row in found.values())
    lines += ["", f"Before the call, with libraries and the batch loaded, a process takes {start:.0f} MB."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-page", action="store_true", help="print only, leave the page as it is")
    options = parser.parse_args()
    text = report(run(options.keys, options.rounds), options.keys, options.rounds)
    print(text)
    if not options.no_page:
        page = PAGE.read_text(encoding="utf-8")
        block = f"{START}\n{text}\n{END}"
        PAGE.write_text(re.sub(f"{START}.*?{END}", lambda _: block, page, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
