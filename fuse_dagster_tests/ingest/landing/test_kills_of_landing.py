"""SIGKILL at random moments, while files keep arriving: nothing lost, nothing doubled.

By default the files are deleted, which has most moments to be killed in; `FUSE_SOAK` tries all ways, and multiplies the
rounds.
"""

from __future__ import annotations

import random
from collections import Counter
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest

from fuse_dagster.engines.local.reading import scan
from fuse_dagster.ingest import load
from fuse_dagster.tables import Append
from fuse_dagster_tests.ingest.killing import kill_loads
from fuse_dagster_tests.ingest.landing.killed import source_of
from fuse_dagster_tests.soak import SOAK

ROUNDS = 2 * SOAK
WAYS = ["delete", "move", "keep"][: None if SOAK > 1 else 1]


def _deliver(folder: Path, stop: Event, expected: list[int], broken: list[int]) -> None:
    """Files appear whole, under names that come again; some are broken, some delivered twice."""
    chance, number = random.Random(0), 0
    while not stop.wait(0.1):
        number += 1
        is_broken = chance.random() < 0.1
        text = f"id\n{number},2\n" if is_broken else f"id\n{number}\n"
        name = f"{number}.csv" if chance.random() < 0.7 else f"again-{number}.csv"
        part = folder / f"{name}.part"
        part.write_text(text)
        part.rename(folder / name)
        if chance.random() < 0.2:
            (folder / f"copy-{number}.csv.part").write_text(text)
            (folder / f"copy-{number}.csv.part").rename(folder / f"copy-{number}.csv")
        (broken if is_broken else expected).append(number)


@pytest.mark.parametrize("after", WAYS)
def test_loads_that_are_killed_lose_and_double_no_file(tmp_path: Path, after: str) -> None:
    folder, table, stop = tmp_path / "landing", tmp_path / "table", Event()
    folder.mkdir()
    expected: list[int] = []
    broken: list[int] = []
    delivering = Thread(target=_deliver, args=(folder, stop, expected, broken))
    delivering.start()
    source = partial(source_of, folder, after)
    try:
        tally = kill_loads(source, table, Append(), rounds=ROUNDS, chance=random.Random(after))
    finally:
        stop.set()
        delivering.join()
    while load(source(), table, Append()).written.version is not None:
        pass
    held = scan(table).select("id").collect()["id"].to_list()
    aside = scan(f"{table}__rejected").select("_file_path").collect()["_file_path"].to_list() if broken else []
    print(
        f"files, {after}: {tally}; {len(expected)} rows expected, {len(held)} found; "
        f"{len(broken)} broken files expected, {len({_number(path) for path in aside})} found"
    )
    assert Counter(held) == Counter(expected)
    assert {_number(path) for path in aside} == set(broken)
    left = {path.name for path in folder.glob("*.csv")}
    assert after == "keep" or {_number(name) for name in left} <= set(broken)
    assert tally.killed >= ROUNDS / 2


def _number(path: str) -> int:
    return int(path.rpartition("/")[2].rpartition("-")[2].removesuffix(".csv"))
