"""The guards: a truncated extract must not end a dimension, nor a shifted one rewrite it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from fuse_dagster.core.errors import DeleteGuardError, UpdateGuardError
from fuse_dagster.tables.history.comparing import Comparison
from fuse_dagster.tables.history.snapshots import Interval
from fuse_dagster.tables.history.timeline import Shape
from fuse_dagster.tables.modes import History
from fuse_dagster.tables.samples import samples

_BEFORE = "of the snapshot before it"
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Absence:
    """Keys of one snapshot that are absent from its neighbour in time.

    Attributes:
        neighbour: Which neighbour, as a message says it.
        full: Keys of the one.
        absent: Those that are not in the other.
        shown: Some of them.
    """

    neighbour: str
    full: int
    absent: int
    shown: pl.DataFrame


def absences_in_order(compared: Comparison, where: Interval, shape: Shape) -> Iterator[Absence]:
    """What is absent from a snapshot that comes after all known ones.

    Args:
        compared: The snapshot beside what held.
        where: Where it speaks.
        shape: Parts of the columns.
    """
    if where.follows:
        shown = compared.gone.select(shape.keys).head(_SHOWN)
        yield Absence(_BEFORE, compared.held.height, compared.closed, shown)


def absences(rows: pl.DataFrame, batch: pl.DataFrame, where: Interval, shape: Shape) -> Iterator[Absence]:
    """What is absent from a snapshot of any time, or from the one after it.

    Args:
        rows: Version rows, at least all that reach `where.at`.
        batch: The snapshot, one row per key.
        where: Where it speaks.
        shape: Parts of the columns.
    """
    for neighbour, full, present in _neighbours(rows, batch.select(shape.keys), where, shape):
        absent = full.join(present, on=list(shape.keys), how="anti")
        yield Absence(neighbour, full.height, absent.height, absent.head(_SHOWN))


def guard_deletes(
    found: Iterable[Absence], batch: pl.DataFrame, where: Interval, shape: Shape, *, mode: History
) -> None:
    """Refuse a snapshot that leaves out too many keys of its neighbours.

    Args:
        found: What is absent, per neighbour.
        batch: The snapshot.
        where: Where it speaks.
        shape: Parts of the columns.
        mode: The declaration, with the highest share.

    Raises:
        DeleteGuardError: More than `max_delete_fraction` of the keys of the snapshot before (or of the one corrected)
            are absent from this one, or of this one's keys from the snapshot after.
    """
    highest = mode.max_delete_fraction
    if highest is None:
        return
    for one in found:
        if one.absent > highest * one.full:
            raise DeleteGuardError(
                f"the snapshot of {where.at.isoformat()} has {batch.height} keys; {one.neighbour}, {one.absent} of "
                f"{one.full} keys are absent ({one.absent / one.full:.1%}; at the most {highest:.1%}), as "
                f"{samples(one.shown, of=one.absent)}{_delivered(batch, shape)}. {_usual_sign(mode.effective_column)}; "
                "nothing was written. Deliver the snapshot again, or, if so many keys did end, raise "
                "`max_delete_fraction` in the declaration until it is loaded"
            )


def guard_updates(updated: int, full: int, where: Interval, *, mode: History) -> None:
    """Refuse a snapshot that changes too many keys of the one before.

    Args:
        updated: Keys whose tracked values differ.
        full: Keys that held before.
        where: Where the snapshot speaks.
        mode: The declaration, with the highest share.

    Raises:
        UpdateGuardError: More than `max_update_fraction` of the keys differ.
    """
    highest = mode.max_update_fraction
    if highest is None or updated <= highest * full:
        return
    raise UpdateGuardError(
        f"the snapshot of {where.at.isoformat()} changes {updated} of {full} keys ({updated / full:.1%}; at the most "
        f"{highest:.1%}): the usual sign of shifted columns or of another format; nothing was written. Look at the "
        "extract, or, if so much did change, raise `max_update_fraction` in the declaration until it is loaded"
    )


def _neighbours(
    rows: pl.DataFrame, keys: pl.DataFrame, where: Interval, shape: Shape
) -> Iterator[tuple[str, pl.DataFrame, pl.DataFrame]]:
    """Pairs of key sets, of which the second should hold most of the first."""
    if where.follows:
        before = (pl.col(shape.valid_from) < where.at) & shape.reaching(where.at)
        yield _BEFORE, rows.filter(before).select(shape.keys), keys
    if where.corrects:
        yield "of the one it corrects", rows.filter(shape.covering(where.at)).select(shape.keys), keys
    if where.until is not None:
        after = rows.filter(shape.covering(where.until)).select(shape.keys)
        yield f"from the next one, of {where.until.isoformat()}", keys, after


def _delivered(batch: pl.DataFrame, shape: Shape) -> str:
    """Where the snapshot came from, as far as columns say so that are stored but not tracked, as a file's name."""
    beside = [name for name in batch.columns if name not in {*shape.keys, *shape.tracked}]
    return f"; the snapshot's first row says {samples(batch.select(beside), rows=1)}" if beside else ""


def _usual_sign(by: str | None) -> str:
    if by is None:
        return "That is the usual sign of a truncated extract"
    return (
        f"Each distinct `{by}` is taken for one complete snapshot; if it says when a single row changed, "
        'declare `source="changes"`'
    )
