"""SIGKILL at random moments, while the source keeps changing: nothing lost, nothing doubled.

`FUSE_SOAK` multiplies the rounds.
"""

from __future__ import annotations

import random
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest

from fuse_dagster.engines.local.reading import scan
from fuse_dagster.ingest import load
from fuse_dagster_tests.ingest.killed import LAG, MODES, File, source_of
from fuse_dagster_tests.ingest.killing import kill_loads
from fuse_dagster_tests.soak import SOAK

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
    try:
        tally = kill_loads(partial(source_of, file.path), table, MODES[mode], rounds=ROUNDS, chance=random.Random(mode))
    finally:
        stop.set()
        changing.join()
    load(source_of(file.path), table, MODES[mode])
    with closing(file.connect()) as connection:
        expected = sorted(connection.execute("SELECT id, stamp, name FROM orders").fetchall())
    held = scan(table).select("id", "stamp", "name").collect().sort("id", "stamp", "name").rows()
    print(f"SQLite, {mode}: {tally}; {len(expected)} rows expected, {len(held)} found")
    assert held == expected
    assert tally.killed >= ROUNDS / 2
    assert load(source_of(file.path), table, MODES[mode]).written.version is None
