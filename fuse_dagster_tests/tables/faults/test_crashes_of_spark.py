"""SIGKILL of a process that writes through Spark, and of its JVM: the old table or the new, and the next run heals."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest

from fuse_dagster.testing import spark_for_tests
from fuse_dagster_tests.tables.faults.feeds import FEEDS
from fuse_dagster_tests.tables.faults.kills import MOST
from fuse_dagster_tests.tables.faults.places import Place, check_whole
from fuse_dagster_tests.tables.faults.worker import Worker

KILLS = 3
FEED = FEEDS["snapshots"]


def apply_through_spark(place: Place, numbers: range) -> Iterator[int]:
    session = spark_for_tests()
    for number in numbers:
        place.apply(FEED, number, spark=session)
        yield number


@pytest.mark.slow
@pytest.mark.spark
def test_snapshots_through_spark_under_fire(disk_place: Place) -> None:
    chance = random.Random(0)
    disk_place.apply(FEED, done := 0)
    for _ in range(KILLS):
        with Worker() as worker:
            worker.run(apply_through_spark, disk_place, range(done + 1, MOST))
            reported = worker.wait_for(1)  # the session is up, and has written once
            started = time.monotonic()
            reported += worker.wait_for(1)
            time.sleep(chance.uniform(0, time.monotonic() - started))
            reported += worker.kill()
        done = disk_place.version()
        assert reported[-1] <= done <= reported[-1] + 1, "reported as done, and gone; or more than one batch at once"
        check_whole(disk_place, rows := disk_place.rows())
        assert FEED.found(rows) == FEED.expected(range(done + 1))
        assert disk_place.apply(FEED, done).version is None, "what has landed is known to the other engine"
        disk_place.apply(FEED, done := done + 1)
        assert FEED.found(disk_place.rows()) == FEED.expected(range(done + 1))
