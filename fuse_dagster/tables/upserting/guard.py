"""The delete guard of an upsert: a truncated extract must not empty a table."""

from __future__ import annotations

import polars as pl

from fuse_dagster.core.errors import DeleteGuardError
from fuse_dagster.tables.files import ROW, FileRows
from fuse_dagster.tables.modes import Upsert
from fuse_dagster.tables.samples import samples
from fuse_dagster.tables.upserting.deciding import Decided


def refuse_empty(batch: pl.DataFrame, mode: Upsert) -> None:
    """Refuse a whole truth without rows, unless it is declared to be believed.

    Raises:
        DeleteGuardError: `absent="delete"`, no rows, and not `allow_empty`.
    """
    if mode.absent == "delete" and batch.is_empty() and not mode.allow_empty:
        raise DeleteGuardError(
            "the batch has no rows, which would delete every key: the usual sign of a broken extract; nothing was "
            "written. If the source is empty indeed, say `allow_empty=True`"
        )


def guard_deletes(rows: FileRows, decided: Decided, mode: Upsert, *, keys: int) -> None:
    """Refuse a whole truth that leaves out too many keys of the table.

    Args:
        rows: The rows of the table.
        decided: What would happen to them.
        mode: The declaration.
        keys: Keys of the batch.

    Raises:
        DeleteGuardError: More than `max_delete_fraction` of the keys that hold are absent from the batch.
    """
    absent, known, highest = len(decided.absent), decided.known, mode.max_delete_fraction
    if highest is None or absent <= highest * known:
        return
    shown = rows.columns(mode.keys).filter(pl.col(ROW).is_in(decided.absent.implode())).drop(ROW)
    raise DeleteGuardError(
        f"the batch has {keys} keys; of the table, {absent} of {known} keys are absent ({absent / known:.1%}; at the "
        f"most {highest:.1%}), as {samples(shown)}. That is the usual sign of a truncated extract; nothing was "
        "written. Deliver the batch again, or, if so many keys did end, raise `max_delete_fraction` in the declaration "
        "until it is loaded"
    )
