"""Loads of a landing folder that go on until they are killed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from fuse_dagster import Local
from fuse_dagster.core.errors import LoadOvertakenError
from fuse_dagster.ingest import load
from fuse_dagster.ingest.landing import LandingFiles
from fuse_dagster.tables import Append


def source_of(folder: Path, after: Any) -> LandingFiles:
    """The files of the folder, a few at a time."""
    return LandingFiles(
        connector=Local(root=str(folder)),
        include=("*.csv",),
        types={"id": "int64"},
        settle=0,
        after=after,
        most_files=50,
    )


def load_on(folder: Path, table: Path, after: str) -> Iterator[int]:
    """Load again and again; the number of each load that landed."""
    for number in count():
        try:
            load(source_of(folder, after), table, Append())
        except LoadOvertakenError:
            continue  # another one of these was faster
        yield number
