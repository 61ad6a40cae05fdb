"""Where a table under test lies, and what can be said of it file by file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSelector, FileType, PyFileSystem

from fuse_dagster.core.results import WriteResult
from fuse_dagster.tables import write
from fuse_dagster_tests.tables.faults.feeds import Feed

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class Place:
    """A table's address and what it takes to reach it.

    Attributes:
        uri: Of the table; what lies there was written by nobody else.
        options: As delta-rs takes them.
    """

    uri: str
    options: dict[str, str] = field(default_factory=dict)

    def opened(self) -> DeltaTable:
        return DeltaTable(self.uri, storage_options=self.options)

    def exists(self) -> bool:
        return DeltaTable.is_deltatable(self.uri, storage_options=self.options)

    def version(self) -> int:
        """The newest version; -1 where there is no table."""
        return self.opened().version() if self.exists() else -1

    def rows(self, version: int | None = None) -> pl.DataFrame:
        return pl.read_delta(self.uri, version=version, storage_options=self.options or None)

    def apply(self, feed: Feed, number: int, *, spark: SparkSession | None = None) -> WriteResult:
        frame, mode = feed.batch(number)
        return write(self.uri, frame, mode, storage_options=self.options, spark=spark)

    def digests(self) -> dict[str, str]:
        """Every object under the table's address, by path, with a digest of its bytes."""
        paths = sorted(self.paths())
        return {path: hashlib.sha256(self._store().open_input_stream(path).read()).hexdigest() for path in paths}

    def paths(self) -> set[str]:
        """Paths of everything under the table's address."""
        if "://" not in self.uri and not Path(self.uri).exists():
            return set()
        found = self._store().get_file_info(FileSelector("", recursive=True, allow_not_found=True))
        return {info.path for info in found if info.type == FileType.File}

    def _store(self) -> PyFileSystem:
        return PyFileSystem(DeltaStorageHandler(self.uri, self.options))

    def live(self) -> set[str]:
        """Paths of the data files that the newest version is made of."""
        return {unquote(path) for path in pl.DataFrame(self.opened().get_add_actions())["path"]}

    def log(self) -> list[list[dict[str, Any]]]:
        """The actions of every commit, oldest first."""
        store = self._store()
        found = store.get_file_info(FileSelector("_delta_log"))
        commits = sorted(info.path for info in found if info.path.endswith(".json") and info.base_name[:20].isdigit())
        return [
            [json.loads(line) for line in store.open_input_stream(path).read().splitlines() if line] for path in commits
        ]


def check_whole(place: Place, rows: pl.DataFrame | None = None) -> None:
    """Every file that the log names is there, with the size and rows that the log says.

    Args:
        place: Where the table lies.
        rows: Its rows, where they were read already.
    """
    actions = pl.DataFrame(place.opened().get_add_actions())
    store = PyFileSystem(DeltaStorageHandler(place.uri, place.options))
    sizes = {info.path: info.size for info in store.get_file_info([unquote(p) for p in actions["path"]])}
    assert sizes == {unquote(p): size for p, size in actions.select("path", "size_bytes").iter_rows()}
    assert (place.rows() if rows is None else rows).height == actions["num_records"].sum()


def check_garbage(place: Place) -> int:
    """Vacuum would take the data files that no version needs, all of them and nothing else; how many they are."""
    gone = place.opened().vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False, full=True)
    named = {unquote(path) for path in gone}
    outside = {path for path in place.paths() if not path.startswith(("_delta_log/", "_fuse/"))}
    assert named == outside - place.live()
    assert not [path for path in named if path.startswith("_fuse")]
    return len(named)
