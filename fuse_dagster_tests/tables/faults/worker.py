"""Processes that write until they are killed, and say each step that they were told has landed.

They are forked from one process that has imported all they need, so that hundreds of them can be killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from fuse_dagster_tests.tables.faults.deeds import DEEDS
from fuse_dagster_tests.tables.faults.feeds import FEEDS
from fuse_dagster_tests.tables.faults.places import Place

READY = -1
Task = Callable[..., Iterator[int]]
"""A function of a module that does one step after the other, and gives the number of each that is done."""

_PRELOADED = (
    __name__,
    "fuse_dagster.connectors.local",
    "fuse_dagster.connectors.postgres",
    "fuse_dagster.connectors.kafka",
    "fuse_dagster.ingest.landing",
    "fuse_dagster.ingest.topics",
    "adbc_driver_postgresql.dbapi",
    "confluent_kafka",
    "pytest",  # what ran it is run again
    "pandas",  # pyarrow looks for it when it takes Python's values, for seconds
    "pyarrow.dataset",
)
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(_PRELOADED)


class Worker:
    """The process, seen from outside; it starts at once and waits for its task."""

    def __init__(self) -> None:
        self._line, theirs = _forks.Pipe()
        self._process = _forks.Process(target=_serve, args=(theirs,))
        self._process.start()
        theirs.close()
        assert self._next() == READY

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.is_alive():
            self.kill()
        self._line.close()

    def run(self, task: Task, *arguments: Any) -> None:
        """Let it do a task; returns when it starts."""
        self._line.send((task, arguments))

    def order(self, place: Place, feed: str, numbers: Iterable[int]) -> None:
        """Let it apply batches of a feed, one after the other; returns when it starts."""
        self.run(apply_each, place, feed, numbers)

    def wait_for(self, count: int) -> list[int]:
        """Numbers of the next steps that landed, at most `count`; fewer where the process ends before."""
        steps = (self._next() for _ in range(count))
        return [step for step in steps if step is not None]

    def kill(self) -> list[int]:
        """End it and all that it started by SIGKILL; the steps that it still reported."""
        with suppress(ProcessLookupError):
            assert self._process.pid is not None
            os.killpg(self._process.pid, signal.SIGKILL)
        return self.finish(killed=True)

    def finish(self, *, killed: bool = False) -> list[int]:
        """Wait for its end; the steps that it still reported."""
        reported = list(iter(self._next, None))
        self._process.join(300)
        ends = {0, -signal.SIGKILL} if killed else {0}
        assert self._process.exitcode in ends, "it failed by itself; see what it wrote"
        return reported

    def _next(self) -> int | None:
        try:
            return int(self._line.recv())
        except (EOFError, OSError):  # it may end in the middle of a word
            return None


def _serve(line: Connection) -> None:
    os.setsid()  # what the task starts, such as a JVM, is killed with it
    line.send(READY)
    try:
        task, arguments = line.recv()
    except EOFError:
        return
    for step in task(*arguments):
        line.send(step)


def apply_each(place: Place, feed: str, numbers: Iterable[int]) -> Iterator[int]:
    """Apply batches of a feed."""
    for number in numbers:
        place.apply(FEEDS[feed], number)
        yield number


def do_once(name: str, place: Place, scratch: Path) -> Iterator[int]:
    """Do a deed: 0 before it, 1 when it is done."""
    tempfile.tempdir = str(scratch)
    yield 0
    DEEDS[name].do(place)
    yield 1
