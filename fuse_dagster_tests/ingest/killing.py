"""Loads that go on until they are killed, at random moments, some of them two at a time; and what became of them."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from fuse_dagster.core.errors import LoadOvertakenError
from fuse_dagster.ingest import Source, load
from fuse_dagster.tables import WriteMode, read_memo
from fuse_dagster_tests.tables.faults.worker import Worker

STARTED, LANDED, NOTHING_NEW, OVERTAKEN = range(4)
RIVALS = 0.3
"""How often two loads of one source run at once."""
_FIRST = 0.3
"""Seconds that a load is thought to take before one was timed."""


def load_on(source: Callable[[], Source], table: Path, mode: WriteMode) -> Iterator[int]:
    """Load again and again; says when each load starts, and how it ended."""
    while True:
        yield STARTED
        try:
            result = load(source(), table, mode)
        except LoadOvertakenError:
            yield OVERTAKEN
        else:
            yield NOTHING_NEW if result.written.version is None else LANDED


@dataclass
class Tally:
    """What became of loads, by what they said and by what is in the table.

    Attributes:
        steps: How often each of the four was said.
        unsaid: Loads that were killed after their commit, and before they could say so.
        unfinished: Files that were written by loads that were killed before their commit, or overtaken.
    """

    steps: Counter[int] = field(default_factory=Counter)
    unsaid: int = 0
    unfinished: int = 0

    @property
    def landed(self) -> int:
        """Loads that made a commit."""
        return self.steps[LANDED] + self.unsaid

    @property
    def killed(self) -> int:
        """Loads that were killed on the way."""
        return self.steps[STARTED] - self.steps[LANDED] - self.steps[NOTHING_NEW] - self.steps[OVERTAKEN]

    def __str__(self) -> str:
        return (
            f"{self.steps[STARTED]} loads started, {self.landed} landed, {self.steps[NOTHING_NEW]} found nothing new, "
            f"{self.steps[OVERTAKEN]} overtaken, {self.killed} killed, {self.unsaid} of them after their commit; "
            f"{self.unfinished} files of no commit"
        )


def kill_loads(
    source: Callable[[], Source], table: Path, mode: WriteMode, *, rounds: int, chance: random.Random
) -> Tally:
    """Start loads and kill them, from the first moment of a first load to the end of a fourth; a round is one kill."""
    tally, a_load = Tally(), _FIRST
    following = Worker()
    for _ in range(rounds):
        with ExitStack() as running:
            worker, rival = running.enter_context(following), None
            worker.run(load_on, source, table, mode)
            if chance.random() < RIVALS:
                rival = running.enter_context(Worker())
                rival.run(load_on, source, table, mode)
            following = Worker()  # while the others load
            whole, begun = chance.randint(0, 2), time.monotonic()
            steps = worker.wait_for(1 + 2 * whole)
            if whole:
                a_load = (time.monotonic() - begun) / whole
            time.sleep(chance.uniform(0, 2 * a_load))
            steps += worker.kill()
            if rival is not None:
                steps += rival.kill()
            tally.steps.update(steps)
    following.kill()
    tally.unsaid = read_memo(table, source().identity).number - tally.steps[LANDED]
    tally.unfinished = _of_no_commit(table)
    return tally


def _of_no_commit(table: Path) -> int:
    logs = [log.read_text() for log in (table / "_delta_log").glob("*.json")]
    commits = [json.loads(line) for log in logs for line in log.splitlines()]
    added = {action["add"]["path"] for action in commits if "add" in action}
    return len({path.name for path in table.glob("*.parquet")} - added)
