"""A database file that keeps changing while loads of it are killed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from fuse_dagster.ingest import TableSource
from fuse_dagster.tables import Append, Upsert, WriteMode
from fuse_dagster_tests.ingest.shop import Quoted

LAG = 20
MODES: Mapping[str, WriteMode] = {"append": Append(), "upsert": Upsert(keys=["id"])}
SCHEMA = pa.schema({"id": pa.int64(), "stamp": pa.int64(), "name": pa.string()})


@dataclass(frozen=True)
class File:
    """A SQLite file as readings ask it."""

    path: Path

    @property
    def place(self) -> str:
        return self.path.name

    @property
    def dialect(self) -> Quoted:
        return Quoted()

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=30, isolation_level=None)

    def make(self) -> None:
        with closing(self.connect()) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE orders (id INTEGER, stamp INTEGER, name TEXT)")

    def table(self, name: str) -> str:
        return Quoted().quoted(name)

    @contextmanager
    def query(self, text: str, parameters: Mapping[str, Any] | None = None) -> Iterator[pa.RecordBatchReader]:
        with closing(self.connect()) as connection:
            cursor = connection.execute(text, dict(parameters or {}))
            names = [said[0] for said in cursor.description]
            types = {field.name: field.type for field in SCHEMA}
            schema = pa.schema([(name, types.get(name, pa.int64())) for name in names])
            yield pa.RecordBatchReader.from_batches(schema, _batches(cursor, schema))


def _batches(cursor: sqlite3.Cursor, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    while rows := cursor.fetchmany(50):
        yield pa.RecordBatch.from_pylist([dict(zip(schema.names, row, strict=True)) for row in rows], schema=schema)


def source_of(path: Path) -> TableSource:
    """The table in the file."""
    return TableSource(database=File(path), table="orders", cursor="stamp", lag=LAG)
