"""Rows of a file in parts: what was read, its numbers in the file, and what can't be a row."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that can't be read.

    Attributes:
        number: Its number in the file; 1 is the first after a header.
        text: What stands there.
        why: What is wrong with it.
    """

    number: int
    text: str
    why: str


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a file.

    Attributes:
        rows: The rows.
        numbers: Their numbers in the file, 1 for the first.
        bad: The rows among them that can't be read.
    """

    rows: pl.DataFrame
    numbers: pl.Series
    bad: tuple[BadRow, ...] = ()

    @classmethod
    def numbered(cls, rows: pl.DataFrame, before: int) -> Part:
        """Rows without a bad one among them, after as many others."""
        return cls(rows, pl.int_range(before + 1, before + rows.height + 1, dtype=pl.Int64, eager=True))
