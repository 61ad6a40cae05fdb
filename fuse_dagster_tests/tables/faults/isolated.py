"""One batch applied by a process that may do less than the test: it writes no large files, or is another user.

Run as `python -m fuse_dagster_tests.tables.faults.isolated`, with the order as JSON on its input.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from fuse_dagster.core.errors import FuseError
from fuse_dagster_tests.house.source import ROOT
from fuse_dagster_tests.tables.faults.feeds import FEEDS
from fuse_dagster_tests.tables.faults.places import Place

NOBODY = 65534


@dataclass(frozen=True)
class Outcome:
    """What became of the batch: the error's class and text, both empty where there was none."""

    error: str = ""
    message: str = ""
    on_purpose: bool = False


def apply_isolated(place: Place, feed: str, number: int, *, largest: int | None = None, user: int = 0) -> Outcome:
    """Apply one batch in a process of its own.

    Args:
        place: The table.
        feed: Name of the feed.
        number: Which batch of it.
        largest: Most bytes that a file may have, where limited.
        user: Number of the user to become; 0 stays the one who runs the test.
    """
    order = json.dumps({"uri": place.uri, "feed": feed, "number": number, "largest": largest, "user": user})
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        cwd=ROOT,
        input=order,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Outcome(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    order = json.loads(sys.stdin.read())
    feed = FEEDS[order["feed"]]
    with tempfile.TemporaryDirectory() as folder:  # loads all that is loaded on use, while it still may be read
        for number in range(2):
            Place(folder + "/t").apply(feed, number)
    if order["largest"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["largest"], resource.RLIM_INFINITY))
    if order["user"]:
        os.setgroups([])
        os.setuid(order["user"])
    outcome = Outcome()
    try:
        Place(order["uri"]).apply(feed, order["number"])
    except Exception as error:  # noqa: BLE001 - the class is what the test asks for
        outcome = Outcome(type(error).__name__, str(error), isinstance(error, FuseError))
    sys.stdout.write("\n" + json.dumps({name: getattr(outcome, name) for name in ("error", "message", "on_purpose")}))


if __name__ == "__main__":
    main()
