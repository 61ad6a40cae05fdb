"""SIGKILL at any moment: the old table or the new, what was reported as done stays done, and the next run goes on.

`FUSE_KILLED_BATCHES` is the number of batches that each of the long loops applies, on disk and on the S3 server;
without it the server gets fewer, because each costs much more there.
"""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import pytest

from fuse_dagster_tests.tables.faults.feeds import FEEDS
from fuse_dagster_tests.tables.faults.places import Place, check_garbage, check_whole
from fuse_dagster_tests.tables.faults.worker import Worker

MOST = 2_000
ASKED = os.environ.get("FUSE_KILLED_BATCHES")
TABLES = 3
"""Written at once by the long loops: one table is looked at while the others are written."""


def check_kills(place: Place, name: str, *, applies: int, pause: tuple[float, float], seed: int = 0) -> None:
    """Apply a feed by processes that are killed one after the other, and look at the table after each."""
    feed, chance, done, told = FEEDS[name], random.Random(f"{name} {seed}"), -1, -1
    with ExitStack() as workers:
        next_worker = workers.enter_context(Worker())
        while done < applies:
            worker = next_worker
            # A run that was killed is run again as it was: from the first batch that was never reported as done. Only
            # Append takes a batch twice, so there the table is asked first.
            worker.order(place, name, range(done + 1 if name == "appends" else told + 1, MOST))
            next_worker = workers.enter_context(Worker())  # it starts while the other one writes
            reported = worker.wait_for(1)
            time.sleep(chance.uniform(*pause))
            reported += worker.kill()
            before, told, done = done, reported[-1], place.version()  # every batch is one commit, again it is none
            assert before <= told <= done <= told + 1, "reported as done, and gone; or more than one batch at once"
            check_whole(place, rows := place.rows())
            assert feed.found(rows) == feed.expected(range(done + 1))
    finish(place, name, done)


def finish(place: Place, name: str, done: int) -> None:
    """What is left over is for vacuum only, and the table is as alive as ever without it."""
    feed = FEEDS[name]
    check_garbage(place)
    place.opened().vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
    place.apply(feed, done + 1)
    assert feed.found(place.rows()) == feed.expected(range(done + 2))
    if name != "appends":
        assert place.apply(feed, done + 1).version is None


def check_many_kills(place: Place, *, applies: int) -> None:
    """Kill the writers of several tables at once."""
    places = [replace(place, uri=f"{place.uri}-{number}") for number in range(TABLES)]
    each = -(-int(ASKED or applies) // TABLES)

    def fire(number: int) -> None:
        check_kills(places[number], "snapshots", applies=each, pause=(0.0, 1.5), seed=number)

    with ThreadPoolExecutor(TABLES) as pool:
        list(pool.map(fire, range(TABLES)))


@pytest.mark.slow
def test_hundreds_of_snapshots_under_fire_on_disk(disk_place: Place) -> None:
    check_many_kills(disk_place, applies=300)


@pytest.mark.slow
def test_hundreds_of_snapshots_under_fire_on_s3(s3_place: Place) -> None:
    check_many_kills(s3_place, applies=210)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["changes", "upserts", "appends", "overwrites"])
def test_every_way_to_write_under_fire(place: Place, name: str) -> None:
    check_kills(place, name, applies=20, pause=(0.0, 0.8))
