"""Writers that are killed one after the other, and what their table must be after each."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack

from fuse_dagster_tests.tables.faults.feeds import FEEDS
from fuse_dagster_tests.tables.faults.places import Place, check_garbage, check_whole
from fuse_dagster_tests.tables.faults.worker import Worker

MOST = 2_000


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
