"""SIGKILL while a history is adopted, rebuilt or retracted, or a table gets a column: the old table or the new one.

Every other kill waits for the first file beside the table: there the order of memory, data and commit decides.
"""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest

from fuse_dagster_tests.tables.faults.deeds import DEEDS, Deed
from fuse_dagster_tests.tables.faults.places import Place, check_garbage, check_whole
from fuse_dagster_tests.tables.faults.worker import Worker, do_once

KILLS = 16


@pytest.mark.slow
@pytest.mark.parametrize("name", list(DEEDS))
def test_a_deed_is_done_or_not(name: str, tmp_path: Path) -> None:
    deed, whole, chance = DEEDS[name], Place(str(tmp_path / "whole")), random.Random(name)
    deed.prepare(whole)
    assert deed.found(whole.rows()) == deed.states[0]
    scratch = tmp_path / "scratch"  # what a killed process leaves there is no matter
    scratch.mkdir()
    longest = 0.0
    for number in range(KILLS):
        place = Place(str(tmp_path / f"copy{number}"))
        shutil.copytree(whole.uri, place.uri)
        with Worker() as worker:
            paths = place.paths()
            worker.run(do_once, name, place, scratch)
            assert worker.wait_for(1) == [0]
            started = time.monotonic()
            if number == 0:
                worker.wait_for(1)
                longest = time.monotonic() - started
            elif number % 2:
                while place.paths() == paths and time.monotonic() < started + 2 * longest:
                    pass
                time.sleep(chance.uniform(0, longest / 10))
            else:
                time.sleep(chance.uniform(0, longest))
            reported = number == 0 or bool(worker.kill())
        check_state(place, deed, base=whole.version(), reported=reported)


def check_state(place: Place, deed: Deed, *, base: int, reported: bool) -> None:
    """Old or new, and whole; done again it is the new one, which goes on, and what is left over is for vacuum only."""
    before, after, at_last = deed.states
    done = place.version() - base
    assert reported <= done <= 1, "one commit or none, and none that was reported is gone"
    check_whole(place, rows := place.rows())
    assert deed.found(rows) == (after if done else before)
    deed.do(place)
    assert place.version() == base + 1, "of a deed that was done, no second commit"
    assert deed.found(place.rows()) == after
    check_garbage(place)
    place.opened().vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
    deed.go_on(place)
    assert deed.found(place.rows()) == at_last
    check_whole(place)
