"""The files whose rows a load brings, by their numbers, and the columns that their names and the listing give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from fuse_dagster.connectors.base import Entry
from fuse_dagster.ingest.landing.arriving import below, landed_path
from fuse_dagster.ingest.landing.fetching import Fetched
from fuse_dagster.ingest.landing.spool import FILE, ROW, Spool

if TYPE_CHECKING:
    from fuse_dagster.ingest.landing.source import LandingFiles

METADATA: Mapping[str, tuple[str, pl.DataType]] = {
    "path": ("_file_path", pl.String()),
    "member": ("_file_member", pl.String()),
    "size": ("_file_size", pl.Int64()),
    "modified": ("_file_modified", pl.Datetime("us", "UTC")),
    "hash": ("_file_hash", pl.String()),
    "row": ("_file_row", pl.Int64()),
}
"""What can be asked of files -> its column and type."""


class LoadedFiles:
    """The files of one load. The number of each is its place in the order in which they were read.

    Args:
        source: How they are read.

    Attributes:
        bytes: Of all files that were not taken out again.
        names: By which those files are known.
    """

    def __init__(self, source: LandingFiles) -> None:
        self._source = source
        self._files: list[Entry] = []
        self._digests: list[str] = []
        self._said: list[dict[str, Any]] = []
        self._lost: set[int] = set()
        self.bytes = 0
        self.names: set[str] = set()

    def __iter__(self) -> Iterator[Entry]:
        return (entry for number, entry in enumerate(self._files) if number not in self._lost)

    def __len__(self) -> int:
        return len(self._files) - len(self._lost)

    @property
    def next_number(self) -> int:
        """Of the file that is added next."""
        return len(self._files)

    @property
    def columns(self) -> dict[str, pl.DataType]:
        """Column -> type, of what names and the listing say."""
        named = self._source.pattern.types if self._source.pattern else {}
        return {**named, **dict(METADATA[one] for one in self._source.metadata)}

    def said_by_name(self, entry: Entry) -> dict[str, Any]:
        """Column -> value, of what the name of a file says.

        Raises:
            InputError: It is not as the pattern.
        """
        pattern = self._source.pattern
        return pattern.read(below(self._source, entry.path)) if pattern is not None else {}

    def add(self, one: Fetched, name: str, said: dict[str, Any]) -> None:
        """Give a file its number.

        Args:
            one: The file.
            name: By which it is known.
            said: What its name says.
        """
        self._files.append(one.entry)
        self._digests.append(one.digest)
        self._said.append(said)
        self.names.add(name)
        self.bytes += one.entry.size

    def at(self, number: int) -> tuple[Entry, str]:
        """The file of a number, and the hash of its content."""
        return self._files[number], self._digests[number]

    def take_out(self, number: int, name: str) -> None:
        """Leave out a file that turned out to be broken; the others keep their numbers."""
        self._lost.add(number)
        self.names.discard(name)
        self.bytes -= self._files[number].size

    def with_rows(self, spool: Spool) -> pa.RecordBatchReader:
        """The rows of all files, with the columns that the files give."""
        frame = pl.DataFrame(schema={**spool.schema(), **self.columns})
        schema = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).schema
        return pa.RecordBatchReader.from_batches(schema, self._batches(spool, schema))

    def _batches(self, spool: Spool, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        columns = list(self.columns)
        facts = self._facts(columns)
        for frame in spool.frames():
            numbers = frame[FILE]
            said = {
                name: frame[name] if name in frame.columns else facts[name].gather(numbers)
                for name in columns
                if name != "_file_row"
            }
            rows = frame.drop(FILE, ROW)
            if "_file_row" in columns:
                said["_file_row"] = frame[ROW]
            whole = rows.with_columns(said[name].alias(name) for name in columns).select(schema.names)
            yield from whole.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema).to_batches()

    def _facts(self, columns: Sequence[str]) -> dict[str, pl.Series]:
        """Column -> a value for each file, by its number."""
        ways: dict[str, Callable[[], list[Any]]] = {
            "_file_path": lambda: [landed_path(self._source, entry.path) for entry in self._files],
            "_file_size": lambda: [entry.size for entry in self._files],
            "_file_modified": lambda: [entry.modified for entry in self._files],
            "_file_hash": lambda: self._digests,
        }
        types, found = self.columns, {}
        for name in columns:
            if name in ways or (self._source.pattern and name in self._source.pattern.types):
                values = ways[name]() if name in ways else [said[name] for said in self._said]
                found[name] = pl.Series(values, dtype=types[name])
        return found
