"""A process that applies batches until it is killed, and says each that it was told has landed.

Run as `python -m fuse_dagster_tests.tables.faults.worker`; the first line of its input is the order, as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Self

from fuse_dagster_tests.house.source import ROOT
from fuse_dagster_tests.tables.faults.feeds import FEEDS
from fuse_dagster_tests.tables.faults.places import Place

READY = "ready"


class Worker:
    """The process, seen from outside; it starts at once and waits for its order."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()

    def order(self, place: Place, feed: str, numbers: Iterable[int]) -> None:
        """Let it apply batches, one after the other; returns when it starts."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stdout.readline().strip() == READY
        order = {"uri": place.uri, "options": place.options, "feed": feed, "numbers": list(numbers)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def wait_for(self, count: int) -> list[int]:
        """Numbers of the next batches that landed, at most `count`; fewer where the process ends before."""
        assert self._process.stdout is not None
        lines = (self._process.stdout.readline() for _ in range(count))
        return [int(line) for line in lines if line.endswith("\n")]

    def kill(self) -> list[int]:
        """End it by SIGKILL; the batches that it still reported."""
        self._process.kill()
        return self.finish(killed=True)

    def finish(self, *, killed: bool = False) -> list[int]:
        """Wait for its end; the batches that it still reported."""
        rest, _ = self._process.communicate(timeout=300)
        assert killed or self._process.returncode == 0
        return [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n") and line.strip() != READY]


def main() -> None:
    print(READY, flush=True)
    order = json.loads(sys.stdin.readline() or "null")
    if order is None:
        return
    place, feed = Place(order["uri"], order["options"]), FEEDS[order["feed"]]
    for number in order["numbers"]:
        place.apply(feed, number)
        print(number, flush=True)


if __name__ == "__main__":
    main()
