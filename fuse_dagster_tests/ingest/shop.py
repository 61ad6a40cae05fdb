"""A database in memory that readings ask by SQL: DuckDB, in the shape of a connector."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa


class Quoted:
    """How DuckDB writes names."""

    def quoted(self, name: str) -> str:
        doubled = name.replace('"', '""')
        return f'"{doubled}"'


class Shop:
    """One connection, and the statements that it was asked."""

    place = "duckdb://memory"
    dialect = Quoted()

    def __init__(self, *statements: str) -> None:
        self.connection = duckdb.connect(config={"autoload_known_extensions": "false"})  # it would ask the network
        self.asked: list[str] = []
        self.do(*statements)

    def do(self, *statements: str) -> None:
        for statement in statements:
            self.connection.execute(statement)

    def table(self, name: str) -> str:
        return ".".join(map(self.dialect.quoted, name.split(".")))

    @contextmanager
    def query(self, text: str, parameters: Mapping[str, Any] | None = None) -> Iterator[pa.RecordBatchReader]:
        self.asked.append(text)
        said = re.sub(r"(?<!:):(\w+)", r"$\1", text)
        cursor = self.connection.cursor()
        yield cursor.sql(said, params=dict(parameters or {})).to_arrow_reader(2)
