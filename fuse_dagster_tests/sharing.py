"""Which tests share a process where several run them (`pytest --dist loadfile`), and which of them begin first.

Tests of a file share one, with what the file starts. Those that need a JVM share few: each that starts compiles all of
its code anew, which costs as much as hundreds of tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from xdist.scheduler import LoadFileScheduling

OF_SPARK = ("spark", "contract/test_every_engine.py", "docs/pages/reading-history.md")
"""What the ids of tests have in them that need a Spark session."""
OF_KAFKA = frozenset(
    {
        "connectors/test_eventhubs.py",
        "connectors/test_kafka.py",
        "ingest/test_topics.py",
        "ingest/test_topics_killed.py",
        "orchestration/test_offset_partitions.py",
    }
)
FIRST = (
    "spark and tables",
    "spark",
    "tables/faults/test_crashes.py",
    "connectors/test_s3.py",
    "connectors/test_adls.py",
    "ui/test_ui.py",
    "connectors/test_gcs.py",
    "tables/faults/test_concurrency.py",
    "connectors/test_onelake.py",
    "kafka",
    "docs/test_code.py",
    "connectors/test_volumes.py",
    "connectors/test_dbfs.py",
    "secrets/test_canaries.py",
    "definitions/test_on_stores.py",
    "app/cli/test_project.py",
    "connectors/test_writing_one.py",
)
"""The longest first: one that begins last is waited for by itself. All others follow, the slow ones before."""


def group_of(test: str) -> str:
    """The name that tests have in common which run in one process, mostly their file.

    Args:
        test: Its id. One that needs a JVM says so: by its file, its class or its parameters.
    """
    file = test.partition("::")[0].removeprefix("fuse_dagster_tests/")
    if any(word in test.lower() for word in OF_SPARK):
        return "spark and tables" if file.startswith(("tables/", "contract/")) else "spark"
    return "kafka" if file in OF_KAFKA else file


def ranks(groups: Sequence[str], slow: Sequence[bool]) -> dict[str, tuple[int, int, int]]:
    """What each group is sorted by: those of `FIRST`, then by how many slow tests they have, and by how many at all.

    Args:
        groups: Of each test.
        slow: Whether it is slow.
    """
    tests = Counter(groups)
    slower = Counter(group for group, is_slow in zip(groups, slow, strict=True) if is_slow)
    place = {name: number for number, name in enumerate(FIRST)}
    return {name: (place.get(name, len(FIRST)), -slower[name], -count) for name, count in tests.items()}


class Scheduling(LoadFileScheduling):
    """Hands out groups rather than files, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
