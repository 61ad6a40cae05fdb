"""Eight processes write different batches to one table at once: nothing is lost, and nothing stands twice."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from fuse_dagster_tests.soak import SOAK
from fuse_dagster_tests.tables.faults.feeds import FEEDS
from fuse_dagster_tests.tables.faults.places import Place, check_garbage, check_whole
from fuse_dagster_tests.tables.faults.worker import Worker

WRITERS = 8
BATCHES = 16 * SOAK
"""Two of each writer, so that each meets the others' commits at its start and in the middle of its work."""


def at_once(place: Place, name: str, shares: list[list[int]]) -> None:
    """Each share is applied by a process of its own; all of them are ready before the first one starts."""
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker()) for _ in shares]
        for worker, numbers in zip(workers, shares, strict=True):
            worker.order(place, name, numbers)
        assert [worker.finish() for worker in workers] == shares


@pytest.mark.slow
@pytest.mark.parametrize("name", ["snapshots", "changes", "appends"])
def test_eight_writers_make_what_one_would(place: Place, name: str) -> None:
    shares = [list(range(first, BATCHES, WRITERS)) for first in range(WRITERS)]
    at_once(place, name, shares)
    feed = FEEDS[name]
    assert feed.found(place.rows()) == feed.expected(range(BATCHES))
    assert place.version() == BATCHES - 1, "every batch is one commit"
    check_whole(place)
    check_garbage(place)


@pytest.mark.slow
def test_eight_writers_apply_the_same_snapshots_once(place: Place) -> None:
    at_once(place, "snapshots", [list(range(first, first + 4)) for first in range(WRITERS)])
    feed = FEEDS["snapshots"]
    assert feed.found(place.rows()) == feed.expected(range(11))
    assert place.version() == 10, "what another one has applied is no commit"
    check_whole(place)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["upserts", "overwrites"])
def test_eight_writers_replace_rows_as_if_one_after_the_other(place: Place, name: str) -> None:
    shares = [list(range(first, BATCHES, WRITERS)) for first in range(WRITERS)]
    at_once(place, name, shares)
    order, feed = order_of(place), FEEDS[name]
    assert sorted(order) == list(range(BATCHES)), "every batch is one commit"
    assert feed.found(place.rows()) == feed.expected(order)
    check_whole(place)


def order_of(place: Place) -> list[int]:
    """Numbers of the batches in the order in which their commits landed: each writes its number, and no other new."""
    order: list[int] = []
    for version in range(place.version() + 1):
        (number,) = {v for v in place.rows(version)["v"] if v >= 0} - set(order)
        order.append(number)
    return order
