"""Statements of a feed of changes, and facts: what memory holds of those that no version row shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from fuse_dagster.tables.history.timeline import AT, Shape

SEQUENCE, DELETED = "__fuse_sequence", "__fuse_deleted"
SAID = "__fuse_said_last"
"""Marks a fact that is no statement, but what was said last of a key whose versions may all be gone."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns that statements are built from.

    Attributes:
        shape: Parts of the history's columns.
        effective: Stored column with the statement's time, and the zone it is read in.
        sequence: Stored column that orders statements at one time.
        remember: Whether restatements are kept in memory.
    """

    shape: Shape
    effective: tuple[str, str | None] | None
    sequence: str | None
    remember: bool = True


def fact_schema(business: Mapping[str, pl.DataType], columns: Columns) -> dict[str, pl.DataType]:
    """Columns of a fact: the key, its time and sequence, and whether it is a delete; and overwritten columns."""
    overwritten = columns.shape.overwritten
    return {
        **{key: business[key] for key in columns.shape.keys},
        AT: pl.Datetime("us", "UTC"),
        SEQUENCE: business[columns.sequence] if columns.sequence else pl.Int64(),
        DELETED: pl.Boolean(),
        **({SAID: pl.Boolean()} if overwritten else {}),
        **{said(name): business[name] for name in overwritten},
    }


def said(name: str) -> str:
    """The column of a fact that holds what was said last of an overwritten column; facts may lie beside versions."""
    return f"{SAID}_{name}"


def statements_of(facts: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """The facts that are statements: keys, `AT`, `SEQUENCE`, `DELETED`."""
    return facts.filter(~pl.col(SAID)).drop(SAID, *map(said, shape.overwritten)) if shape.overwritten else facts
