"""SIGKILL at random moments, while the source keeps changing: nothing lost, nothing doubled.

`FUSE_SOAK` multiplies the rounds.
"""

from __future__ import annotations

import random
import time
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Event, Thread

import pytest

from fuse_dagster.engines.local.reading import scan
from fuse_dagster.ingest import load
from fuse_dagster.tables import read_memo
from fuse_dagster_tests.ingest.killed import LAG, MODES, File, load_on, source_of
from fuse_dagster_tests.soak import SOAK
from fuse_dagster_tests.tables.faults.worker import Worker

ROUNDS = 3 * SOAK


def _change(file: File, mode: str, stop: Event) -> None:
    """Rows come, some of them late; where rows have a key, they change, too."""
    chance, now = random.Random(mode), 100
    with closing(file.connect()) as connection:
        while not stop.wait(0.002):
            now += chance.randint(0, 2)
            stamp = now - chance.randint(0, LAG)
            if mode == "upsert":
                connection.execute("DELETE FROM orders WHERE id = ?", [now % 200])
                connection.execute("INSERT INTO orders VALUES (?, ?, ?)", [now % 200, now, str(stamp)])
            else:
                connection.execute("INSERT INTO orders VALUES (?, ?, 'x')", [now % 7, stamp])


@pytest.mark.parametrize("mode", MODES)
def test_loads_that_are_killed_lose_and_double_nothing(tmp_path: Path, mode: str) -> None:
    file, table, stop = File(tmp_path / "shop.db"), tmp_path / "orders", Event()
    file.make()
    changing = Thread(target=_change, args=(file, mode, stop))
    changing.start()
    chance = random.Random(mode)
    try:
        with ExitStack() as workers:
            following = workers.enter_context(Worker())
            for _ in range(ROUNDS):
                worker, rival = following, None
                worker.run(load_on, file.path, table, mode)
                if chance.random() < 0.3:  # two loads of one source at once
                    rival = workers.enter_context(Worker())
                    rival.run(load_on, file.path, table, mode)
                following = workers.enter_context(Worker())
                assert worker.wait_for(1)
                time.sleep(chance.uniform(0, 0.4))
                worker.kill()
                if rival is not None:
                    rival.kill()
    finally:
        stop.set()
        changing.join()
    load(source_of(file.path), table, MODES[mode])
    with closing(file.connect()) as connection:
        expected = sorted(connection.execute("SELECT id, stamp, name FROM orders").fetchall())
    held = scan(table).select("id", "stamp", "name").collect().sort("id", "stamp", "name").rows()
    assert held == expected
    assert read_memo(table, "orders").number >= ROUNDS
    assert load(source_of(file.path), table, MODES[mode]).written.version is None
