"""A full disk, a folder that may not be written, a table that is taken away: an error on purpose, and nothing lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuse_dagster.core.errors import FuseError
from fuse_dagster_tests.tables.faults.feeds import FEEDS
from fuse_dagster_tests.tables.faults.isolated import NOBODY, Outcome, apply_isolated
from fuse_dagster_tests.tables.faults.places import Place, check_whole
from fuse_dagster_tests.tables.faults.worker import Worker

ROOTLIKE = os.geteuid() == 0


FILLED = 4
"""Batches that a table has before it is damaged: after so many, each feed's next one meets rows of an older one."""


def fill(place: Place, name: str, count: int = FILLED) -> None:
    for number in range(count):
        place.apply(FEEDS[name], number)


def check_refused(outcome: Outcome, place: Place, before: dict[str, str]) -> None:
    """An error of ours, the old table byte by byte, and at most files beside it that no commit names."""
    assert outcome.on_purpose, outcome
    assert len(outcome.message) > 60, outcome
    check_untouched(place, before)


def check_untouched(place: Place, before: dict[str, str]) -> None:
    after = place.digests()
    assert {path: after.get(path) for path in before} == before
    assert not [path for path in set(after) - set(before) if path.startswith("_delta_log/") and path.endswith(".json")]


def check_goes_on(place: Place, name: str, number: int) -> None:
    feed = FEEDS[name]
    place.apply(feed, number)
    assert feed.found(place.rows()) == feed.expected(range(number + 1))
    check_whole(place)


@pytest.mark.parametrize("largest", [0, 900])
@pytest.mark.parametrize("name", list(FEEDS))
def test_a_disk_that_takes_no_more_of_a_file(disk_place: Place, name: str, largest: int) -> None:
    fill(disk_place, name)
    before = disk_place.digests()
    outcome = apply_isolated(disk_place, name, FILLED, largest=largest)
    if outcome.error:
        check_refused(outcome, disk_place, before)
        check_goes_on(disk_place, name, FILLED)
    else:
        assert largest > 0
        assert disk_place.version() == FILLED
        check_whole(disk_place)


def refused(place: Place, name: str, before: dict[str, str]) -> bool:
    """Whether the next batch is refused, by an error on purpose that leaves the table as it was."""
    try:
        place.apply(FEEDS[name], FILLED)
    except FuseError as error:
        message = str(error)
    else:
        return False
    assert len(message) > 60
    check_untouched(place, before)
    return True


@contextlib.contextmanager
def small_disk() -> Iterator[Path]:
    """A file system of one megabyte in memory."""
    folder = Path(tempfile.mkdtemp())
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def may_mount() -> bool:
    try:
        with small_disk():
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


# Where nothing may be mounted (a container without rights), the limit on files above stands for the full disk.
if ROOTLIKE and may_mount():

    @pytest.mark.parametrize("free", [0, 2])
    @pytest.mark.parametrize("name", list(FEEDS))
    def test_a_full_disk(name: str, free: int) -> None:
        with small_disk() as folder:
            place = Place(str(folder / "table"))
            fill(place, name)
            before = place.digests()
            with (folder / "others").open("wb", buffering=0) as others, contextlib.suppress(OSError):
                while True:
                    others.write(b"\0" * 4096)
            os.truncate(folder / "others", max(0, (folder / "others").stat().st_size - free * 4096))
            landed = not refused(place, name, before)
            assert free or not landed
            (folder / "others").unlink()
            if not landed:
                check_goes_on(place, name, FILLED)
            check_goes_on(place, name, FILLED + 1)


@pytest.fixture
def shared_place() -> Iterator[Place]:
    """A place that other users may read, too."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield Place(str(folder / "table"))
    finally:
        for path in [folder, *folder.rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(folder)


def forbid(place: Place, mode: int) -> None:
    for path in [Path(place.uri), *Path(place.uri).rglob("*")]:
        if path.is_dir():
            path.chmod(mode)


@pytest.mark.parametrize(("mode", "said"), [(0o555, "denied"), (0o000, "denied")], ids=["read-only", "unreadable"])
@pytest.mark.parametrize("name", list(FEEDS))
def test_a_folder_that_may_not_be_written(shared_place: Place, name: str, mode: int, said: str) -> None:
    fill(shared_place, name)
    before = shared_place.digests()
    forbid(shared_place, mode)
    outcome = apply_isolated(shared_place, name, FILLED, user=NOBODY if ROOTLIKE else 0)
    forbid(shared_place, 0o755)
    check_refused(outcome, shared_place, before)
    assert said in outcome.message.lower()
    check_goes_on(shared_place, name, FILLED)


@pytest.mark.parametrize("name", list(FEEDS))
def test_a_table_that_may_not_be_made(shared_place: Place, name: str) -> None:
    outcome = apply_isolated(shared_place, name, 0, user=NOBODY if ROOTLIKE else 0)
    if ROOTLIKE:
        check_refused(outcome, shared_place, {})
        assert not Path(shared_place.uri).exists()


@pytest.mark.parametrize("name", list(FEEDS))
def test_a_table_that_is_moved_away_while_it_is_written(disk_place: Place, name: str, tmp_path: Path) -> None:
    feed = FEEDS[name]
    with Worker() as worker:
        worker.order(disk_place, name, range(2000))
        worker.wait_for(6)
        away = Place(str(tmp_path / "away"))
        Path(disk_place.uri).rename(away.uri)
        time.sleep(0.3)
    done = away.version()
    assert feed.found(away.rows()) == feed.expected(range(done + 1))
    check_whole(away)
