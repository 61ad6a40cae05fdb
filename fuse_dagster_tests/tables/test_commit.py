"""Commits under several writers and under SIGKILL: the old table or the new one, and nothing lost."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from fuse_dagster.tables import Append, History, Upsert, write
from fuse_dagster_tests.tables.oracle import of_snapshots

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
spawn = multiprocessing.get_context("spawn")


def contents(at: int) -> dict[int, int]:
    return {key: (key * at) % 3 for key in range(40) if (key + at) % 7}


def apply(table: str, moments: list[int]) -> None:
    for at in moments:
        frame = pl.DataFrame(list(contents(at).items()), schema=["k", "v"], orient="row")
        write(table, frame, History(keys=["k"], effective_at=START + dt.timedelta(hours=at)))


def rows(table: str) -> set[tuple[int, int, int, int | None]]:
    found = pl.read_delta(table).select("k", "v", "valid_from", "valid_to").rows()
    hours = [
        (k, v, int((a - START).total_seconds()) // 3600, b and int((b - START).total_seconds()) // 3600)
        for k, v, a, b in found
    ]
    assert len(hours) == len(set(hours))
    return set(hours)


def upsert_own_and_common(table: str, worker: int) -> None:
    for i in range(4):
        frame = pl.DataFrame({"k": [-1, worker * 10 + i], "v": [0, worker]})
        write(table, frame, Upsert(keys="k"))
        write(table + "-log", frame, Append())


def together(target: object, arguments: list[tuple[object, ...]]) -> None:
    workers = [spawn.Process(target=target, args=args) for args in arguments]  # type: ignore[arg-type]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0


def test_four_writers_apply_snapshots_at_once(tmp_path: Path) -> None:
    table = str(tmp_path / "t")
    together(apply, [(table, [worker, worker + 4, worker + 8]) for worker in range(4)])
    assert rows(table) == of_snapshots({at: contents(at) for at in range(12)})


def test_four_writers_upsert_and_append_at_once(tmp_path: Path) -> None:
    table = str(tmp_path / "t")
    together(upsert_own_and_common, [(table, worker) for worker in range(4)])
    expected = sorted([-1, *(worker * 10 + i for worker in range(4) for i in range(4))])
    assert sorted(pl.read_delta(table)["k"]) == expected
    assert pl.read_delta(table + "-log").height == 32


def committed(table: str) -> int:
    return len(list(Path(table, "_delta_log").glob("*.json"))) - 1


def wait_until_committed(table: str, version: int) -> None:
    patience = time.monotonic() + 60
    while committed(table) < version:
        assert time.monotonic() < patience, "the writer does not get on"
        time.sleep(0.001)


def test_a_killed_writer_leaves_the_old_table_or_the_new(tmp_path: Path) -> None:
    table, done = str(tmp_path / "t"), -1
    chance = random.Random(7)
    for _ in range(8):
        worker = spawn.Process(target=apply, args=(table, list(range(done + 1, 500))))
        worker.start()
        wait_until_committed(table, done + chance.randint(1, 3))
        time.sleep(chance.random() * 0.04)  # about as long as one write takes
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        done = DeltaTable(table).version()  # each snapshot is one commit
        assert rows(table) == of_snapshots({at: contents(at) for at in range(done + 1)})
    apply(table, [done + 1])
    assert rows(table) == of_snapshots({at: contents(at) for at in range(done + 2)})
