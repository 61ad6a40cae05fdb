"""The delete guard of an upsert: a truncated extract must not empty a table."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fuse_dagster.core.errors import DeleteGuardError
from fuse_dagster.tables.modes import Upsert
from fuse_dagster.tables.rows import ROW, Rows
from fuse_dagster.tables.samples import samples
from fuse_dagster.tables.upserting.deciding import Decided


def refuse_empty(rows: int, mode: Upsert) -> None:
    """Refuse a whole truth without rows, unless it is declared to be believed.

    Raises:
        DeleteGuardError: `absent="delete"`, no rows, and not `allow_empty`.
    """
    if mode.absent == "delete" and not rows and not mode.allow_empty:
        raise DeleteGuardError(
            "the batch has no rows, which would delete every key: the usual sign of a broken extract; nothing was "
            "written. If the source is empty indeed, say `allow_empty=True`"
        )


@dataclass(frozen=True, slots=True)
class Absence:
    """Keys of a table that a batch leaves out.

    Attributes:
        known: Keys that hold.
        absent: Of these, those that the batch lacks.
        shown: Some of the absent ones.
    """

    known: int
    absent: int
    shown: pl.DataFrame


def measure(rows: Rows, decided: Decided, mode: Upsert) -> Absence:
    """Count what a batch leaves out.

    Args:
        rows: The rows of the table.
        decided: What would happen to them.
        mode: The declaration.
    """
    some = decided.absent.head(3)
    shown = rows.columns(mode.keys)[some].drop(ROW) if len(some) else rows.columns(mode.keys).drop(ROW).clear()
    return Absence(decided.known, len(decided.absent), shown)


def guard_deletes(absence: Absence, keys: int, mode: Upsert) -> None:
    """Refuse a whole truth that leaves out too many keys of the table.

    Args:
        absence: What it leaves out.
        keys: Keys of the batch.
        mode: The declaration.

    Raises:
        DeleteGuardError: More than `max_delete_fraction` of the keys that hold are absent from the batch.
    """
    absent, known, highest = absence.absent, absence.known, mode.max_delete_fraction
    if highest is None or absent <= highest * known:
        return
    raise DeleteGuardError(
        f"the batch has {keys} keys; of the table, {absent} of {known} keys are absent ({absent / known:.1%}; at the "
        f"most {highest:.1%}), as {samples(absence.shown, of=absent)}. That is the usual sign of a truncated extract; "
        "nothing was written. Deliver the batch again, or, if so many keys did end, raise `max_delete_fraction` in the "
        "declaration until it is loaded"
    )
