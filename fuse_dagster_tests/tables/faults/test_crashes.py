"""SIGKILL at any moment: the old table or the new, what was reported as done stays done, and the next run goes on.

`make soak` applies hundreds of batches.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from fuse_dagster_tests.soak import SOAK
from fuse_dagster_tests.tables.faults.kills import check_kills
from fuse_dagster_tests.tables.faults.places import Place

TABLES = 3
"""Written at once by the long loops: one table is looked at while the others are written."""


def check_many_kills(place: Place, *, applies: int) -> None:
    """Kill the writers of several tables at once."""
    places = [replace(place, uri=f"{place.uri}-{number}") for number in range(TABLES)]
    each = -(-applies * SOAK // TABLES)

    def fire(number: int) -> None:
        check_kills(places[number], "snapshots", applies=each, pause=(0.0, 1.5), seed=number)

    with ThreadPoolExecutor(TABLES) as pool:
        list(pool.map(fire, range(TABLES)))


@pytest.mark.slow
def test_snapshots_under_fire_on_disk(disk_place: Place) -> None:
    check_many_kills(disk_place, applies=60)


@pytest.mark.slow
def test_snapshots_under_fire_on_s3(s3_place: Place) -> None:
    check_many_kills(s3_place, applies=42)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["changes", "upserts", "appends", "overwrites"])
def test_every_way_to_write_under_fire(place: Place, name: str) -> None:
    check_kills(place, name, applies=6 * SOAK, pause=(0.0, 0.8))
