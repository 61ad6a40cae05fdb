"""A landing folder on this disk, and a table that takes loads in memory: rows, position and ledger in one step."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from fuse_dagster import Local
from fuse_dagster.ingest.landing import LandingFiles
from fuse_dagster.ingest.landing.reading import LandingReading
from fuse_dagster.ingest.source import Position


@dataclass
class Folder:
    """A landing folder."""

    root: Path

    def put(self, name: str, content: bytes | str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    def age(self, name: str, seconds: float) -> None:
        modified = (self.root / name).stat().st_mtime - seconds
        os.utime(self.root / name, (modified, modified))

    def names(self) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())

    def source(self, **options: Any) -> LandingFiles:
        return LandingFiles(connector=Local(root=str(self.root)), **{"settle": 0.0, **options})


@dataclass
class Taken:
    """What one load brought."""

    rows: pl.DataFrame
    rejected: pl.DataFrame
    position: Position | None
    reading: LandingReading


@dataclass
class Table:
    """What takes loads: a stand-in that commits rows, position and ledger at once, and asks a set for what was seen."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    position: Position | None = None

    def seen(self, ids: Collection[str]) -> set[str]:
        return self.ids & set(ids)

    def load(self, source: LandingFiles, *, crash: str = "") -> Taken:
        """Load, and stop `before` the commit or `after` it where a crash is asked for."""
        with source.read(self.position, self) as reading:
            table = reading.batches().read_all()
            rows = pl.DataFrame(pl.from_arrow(table)) if table.num_columns else pl.DataFrame()
            taken = Taken(rows, reading.rejected(), reading.position(), reading)
            if crash != "before":
                self.rows += rows.to_dicts()
                self.position = taken.position or self.position
                self.ids |= set(reading.entries()["id"])
                if crash != "after":
                    reading.landed()
        return taken
