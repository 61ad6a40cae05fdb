"""`make bench`: measure each peer in one run, and write docs/pages/benchmarks.md with its plot."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from fuse_dagster_tests.benchmarks import landing, maintenance
from fuse_dagster_tests.benchmarks.batches import changed, moment, snapshot
from fuse_dagster_tests.benchmarks.overhead import overhead
from fuse_dagster_tests.benchmarks.peers import PEERS, versions
from fuse_dagster_tests.benchmarks.report import Case, Measured, Results, report, save

ROOT = Path(__file__).resolve().parents[2]
FIRST, SECOND, AGAIN = "first load", "second snapshot", "the same again"
MANY, CHANGES, CLUSTERED = "50th snapshot", "changes of 1% of the keys", "changes of 100 clustered keys"
_SLOW = ("merge", "spark")
_LARGE = 1_000_000
_MAINTAINED = 400_000
Step = tuple[str, Path, Path, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    Attributes:
        keys: Keys of the first snapshot.
        peers: Who is measured.
        rounds: How often; the median counts. MERGE is measured once from a million keys on.
        many: Whether the 50th snapshot is measured, of those whom 49 snapshots take minutes rather than hours.
    """

    keys: int
    peers: Sequence[str]
    rounds: int
    many: bool

    def rounds_of(self, peer: str) -> int:
        """How often a peer is measured."""
        return 1 if peer in _SLOW and self.keys >= _LARGE else self.rounds


def run(plan: Plan) -> Results:
    """Measure every peer on the same batches.

    Returns:
        (keys, peer, step) to all its rounds.

    Raises:
        AssertionError: The peers do not make the same table.
    """
    found: Results = {}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        for number in range(2):
            snapshot(plan.keys, number).write_parquet(base / f"{number}.parquet")
        _change_batches(plan.keys, base)
        for number in range(plan.rounds):  # in turns, because machines are not equally quiet all the time
            for peer in (peer for peer in plan.peers if number < plan.rounds_of(peer)):
                for step, row in _one_round(peer, base).items():
                    found.setdefault((plan.keys, peer, step), []).append(row)
                print(f"{plan.keys:,} keys, {peer}, round {number + 1}", file=sys.stderr, flush=True)
        for kind in ("snapshot", "changes") if len(plan.peers) > 1 else ():
            tables = [versions(base / f"{peer}-{kind}") for peer in plan.peers]
            assert all(table.equals(tables[0]) for table in tables[1:]), "the peers made different tables"
        if plan.many:
            fast = [peer for peer in plan.peers if peer not in _SLOW]
            found |= {(plan.keys, peer, MANY): rows for peer, rows in _after_many(fast, plan, base).items()}
    return found


def _change_batches(keys: int, base: Path) -> None:
    everything = snapshot(keys, 0).with_columns(op=pl.lit("I"))
    everything.write_parquet(base / "all.parquet")
    changed(keys, everything["id"].gather_every(100, 7)).write_parquet(base / "some.parquet")
    ends = pl.concat([everything["id"].slice(keys // 10, 45), everything["id"].slice(keys * 9 // 10, 45)])
    near = changed(keys, ends).filter(pl.col("id") < keys)  # existing keys at two ends of the table
    near.write_parquet(base / "near.parquet")


def _one_round(peer: str, base: Path) -> dict[str, Measured]:
    """Each step on new tables; those of the last round are kept, to be compared."""
    tables = {kind: base / f"{peer}-{kind}" for kind in ("snapshot", "changes")}
    clustered = base / f"{peer}-clustered"
    loaded: Step = ("changes", tables["changes"], base / "all.parquet", 0)
    steps: dict[str, Step] = {
        FIRST: ("snapshot", tables["snapshot"], base / "0.parquet", 0),
        SECOND: ("snapshot", tables["snapshot"], base / "1.parquet", 1),
        AGAIN: ("snapshot", tables["snapshot"], base / "1.parquet", 1),
        "": loaded,
        CHANGES: ("changes", tables["changes"], base / "some.parquet", 1),
        " ": ("changes", clustered, base / "all.parquet", 0),
        CLUSTERED: ("changes", clustered, base / "near.parquet", 1),
    }
    for table in (*tables.values(), clustered):
        shutil.rmtree(table, ignore_errors=True)
    if peer == "spark":  # one session, warmed up
        rows = _measure(peer, list(steps.values()), warm_ups=4)
    else:  # a process for each
        rows = [_measure(peer, [step])[0] for step in steps.values()]
    shutil.rmtree(clustered)
    return {name: row for name, row in zip(steps, rows, strict=True) if name.strip()}


def _after_many(peers: Sequence[str], plan: Plan, base: Path) -> dict[str, list[Measured]]:
    """49 snapshots, so that the history is four times as long as the dimension, and then the next one."""
    batch = base / "batch.parquet"
    for number in range(49):
        snapshot(plan.keys, number).write_parquet(batch)
        for peer in peers:
            PEERS[peer][0](str(base / f"{peer}-many"), batch, pl.read_parquet(batch), moment(number))
    snapshot(plan.keys, 49).write_parquet(batch)
    found: dict[str, list[Measured]] = {peer: [] for peer in peers}
    for number in range(plan.rounds):
        for peer in peers:
            table = base / f"{peer}-copy"
            shutil.copytree(base / f"{peer}-many", table)
            found[peer] += _measure(peer, [("snapshot", table, batch, 49)])
            shutil.rmtree(table)
        print(f"{plan.keys:,} keys, after 49 snapshots, round {number + 1}", file=sys.stderr, flush=True)
    return found


def _measure(peer: str, steps: Sequence[Step], *, warm_ups: int = 0) -> list[Measured]:
    told = [[kind, str(table), str(batch), moment(number).isoformat()] for kind, table, batch, number in steps]
    command = [sys.executable, "-m", "fuse_dagster_tests.benchmarks.measure", peer, str(warm_ups), json.dumps(told)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def median(rounds: Sequence[Measured]) -> Measured:
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def _plans(options: argparse.Namespace) -> list[Plan]:
    peers = options.peers or list(PEERS)
    without_merge = [peer for peer in peers if peer != "merge"]  # it takes 5.6 GB for a million keys
    if options.keys:
        return [Plan(keys, peers, options.rounds, many=options.full) for keys in options.keys]
    return [
        Plan(100_000, peers, options.rounds, many=True),
        Plan(1_000_000, peers, options.rounds, many=True),
        Plan(5_000_000, peers if options.full else without_merge, options.rounds, many=options.full),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--keys", type=int, nargs="+", help="keys of the dimension; by default 100k, 1M and 5M")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), help="who is measured; by default all that fit")
    parser.add_argument("--rounds", type=int, default=3, help="how often; the median counts")
    parser.add_argument(
        "--full", action="store_true", help="also delta-rs' MERGE with 5M keys, and the 50th snapshot of any size"
    )
    parser.add_argument("--no-page", action="store_true", help="print only, leave the page and its plot as they are")
    options = parser.parse_args()
    medians: dict[Case, Measured] = {}
    for plan in _plans(options):
        medians |= {case: median(rounds) for case, rounds in run(plan).items()}
        print(report(medians, {}, options.rounds), file=sys.stderr, flush=True)
    costs = overhead(3 * options.rounds) if not options.keys else {}  # short ones need more rounds
    tables = []
    if not options.keys:
        files = landing.measure(landing.FILES, options.rounds)
        tables = [maintenance.run(_MAINTAINED), landing.rows_of(files, landing.FILES)]
    text = report(medians, costs, options.rounds, tables)
    print(text)
    if not options.no_page:
        save(text, medians, ROOT / "docs" / "pages")


if __name__ == "__main__":
    main()
