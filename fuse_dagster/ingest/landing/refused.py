"""What a load of a landing folder can't take, for the quarantine: whole files, and rows out of others."""

from __future__ import annotations

from typing import Any

import polars as pl

from fuse_dagster.connectors.base import Entry
from fuse_dagster.engines.local.files.parts import BadRow

_COLUMNS: dict[str, Any] = {
    "_file_path": pl.String,
    "_file_hash": pl.String,
    "_file_row": pl.Int64,
    "_text": pl.String,
    "_rejection_reasons": pl.List(pl.String),
}


class Refused:
    """Files that can't be read, a row each, and rows that were taken out of others."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, int | None, str | None, list[str]]] = []

    def add_file(self, entry: Entry, digest: str, why: str) -> None:
        """Note a file, of which nothing is loaded."""
        self._rows.append((entry.path, digest, None, None, [why]))

    def add_row(self, entry: Entry, digest: str, row: BadRow) -> None:
        """Note a row, whose file is loaded without it."""
        self._rows.append((entry.path, digest, row.number, row.text, [row.why]))

    def frame(self) -> pl.DataFrame:
        """All of them, in the order in which they were found."""
        return pl.DataFrame(self._rows, schema=_COLUMNS, orient="row")
