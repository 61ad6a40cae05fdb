"""Rows of a table that a plan looks at, wherever they lie: in files that are read as needed, or in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl

ROW = "__fuse_row"
"""The number of a row among those that a plan looks at."""


class Rows(Protocol):
    """Numbered rows of a table. A plan speaks of them by number, so it never asks where they lie."""

    @property
    def uri(self) -> str:
        """The table, for messages."""

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """The table's columns and types."""

    @property
    def height(self) -> int:
        """How many rows there are."""

    @property
    def frame(self) -> pl.DataFrame:
        """All columns of all rows, and `ROW`."""

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Some columns of all rows, and `ROW`."""

    def column(self, name: str) -> pl.Series:
        """One column of all rows, by number."""


@dataclass(frozen=True, slots=True)
class MemoryRows:
    """Rows that lie in memory.

    Attributes:
        uri: The table that they are of.
        held: All columns of the table.
    """

    uri: str
    held: pl.DataFrame

    @property
    def schema(self) -> Mapping[str, pl.DataType]:
        """The table's columns and types."""
        return self.held.schema

    @property
    def height(self) -> int:
        """How many rows there are."""
        return self.held.height

    @property
    def frame(self) -> pl.DataFrame:
        """All columns of all rows, and `ROW`."""
        return self.columns(self.held.columns)

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Some columns of all rows, and `ROW`."""
        return self.held.select(names).with_columns(pl.int_range(self.height, dtype=pl.Int64, eager=True).alias(ROW))

    def column(self, name: str) -> pl.Series:
        """One column of all rows, by number."""
        return self.held[name]
