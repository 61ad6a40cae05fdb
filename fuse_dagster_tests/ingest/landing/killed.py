"""What is read of a landing folder, while loads of it are killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fuse_dagster import Local
from fuse_dagster.ingest.landing import LandingFiles


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
