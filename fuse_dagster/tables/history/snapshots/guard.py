"""The guards: a truncated extract must not end a dimension, nor a shifted one rewrite it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import polars as pl

from fuse_dagster.core.errors import CorrectionError, DeleteGuardError, UpdateGuardError
from fuse_dagster.tables.history.snapshots.applying import Change, Interval
from fuse_dagster.tables.history.snapshots.comparing import Comparison
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

    def __add__(self, other: Absence) -> Absence:
        """The absence among the keys of both."""
        shown = pl.concat([self.shown, other.shown]).head(_SHOWN)
        return Absence(self.neighbour, self.full + other.full, self.absent + other.absent, shown)


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


@dataclass(frozen=True, slots=True)
class Look:
    """What the guards want to know of one snapshot; of parts of its keys, looks add up.

    Attributes:
        where: Where the snapshot speaks.
        keys: Its keys.
        delivered: Where it came from, as a message says it.
        absences: What is absent, per neighbour.
        held: Keys that held before.
        inserted: Keys that did not.
        updated: Keys whose tracked values differ.
        closed: Keys that are absent.
        shown: Some of the keys that change.
        overwritten: Versions whose overwritten columns change.
    """

    where: Interval
    keys: int
    delivered: str
    absences: tuple[Absence, ...]
    held: int
    inserted: int
    updated: int
    closed: int
    shown: pl.DataFrame
    overwritten: int = 0

    @property
    def changes(self) -> bool:
        """Whether the snapshot changes anything."""
        return bool(self.inserted or self.updated or self.closed or self.overwritten)

    def __add__(self, other: Look) -> Look:
        """The look at the keys of both."""
        together: dict[str, Absence] = {one.neighbour: one for one in self.absences}
        for one in other.absences:
            known = together.get(one.neighbour)
            together[one.neighbour] = one if known is None else known + one
        return Look(
            self.where,
            self.keys + other.keys,
            self.delivered or other.delivered,
            tuple(together.values()),
            self.held + other.held,
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.closed + other.closed,
            pl.concat([self.shown, other.shown]).head(_SHOWN),
            self.overwritten + other.overwritten,
        )


def look_in_order(compared: Comparison, batch: pl.DataFrame, where: Interval, shape: Shape) -> Look:
    """Look at a snapshot that comes after all known ones.

    Args:
        compared: The snapshot beside what held.
        batch: One row per key.
        where: Where it speaks.
        shape: Parts of the columns.
    """
    found = absences_in_order(compared, where, shape)
    changed = batch.filter(~compared.same)
    return _look(
        compared, held=compared.held.height, batch=batch, where=where, shape=shape, absent=found, changed=changed
    )


def look(
    rows: pl.DataFrame, batch: pl.DataFrame, where: Interval, shape: Shape, change: Change, *, mode: History
) -> Look:
    """Look at a snapshot of any time.

    Args:
        rows: Version rows, at least all that reach `where.at`.
        batch: One row per key.
        where: Where it speaks.
        shape: Parts of the columns.
        change: What it does.
        mode: The declaration: what no guard asks for is not counted.
    """
    found = absences(rows, batch, where, shape) if mode.max_delete_fraction is not None else ()
    seen = _look(change, held=change.held, batch=batch, where=where, shape=shape, absent=found, changed=change.added)
    return replace(seen, overwritten=change.overwritten)


def judge(seen: Look, mode: History) -> None:
    """Refuse a snapshot that leaves out or changes too much, or that corrects what must not be corrected.

    Raises:
        DeleteGuardError: More than `max_delete_fraction` of the keys of the snapshot before (or of the one corrected)
            are absent from this one, or of this one's keys from the snapshot after.
        UpdateGuardError: More than `max_update_fraction` of the keys differ.
        CorrectionError: A snapshot of this time is known with other content, and `on_correction="error"`.
    """
    _judge_deletes(seen, mode)
    _judge_updates(seen, mode)
    if seen.where.corrects and not mode.replaces and seen.changes:
        raise CorrectionError(
            f'the snapshot of {seen.where.at.isoformat()} is known with other content, and `on_correction="error"`: '
            f"{seen.inserted} keys more, {seen.updated} changed, {seen.closed} fewer, as "
            f"{samples(seen.shown)}; nothing was written"
        )


def _look(
    found: Comparison | Change,
    *,
    held: int,
    batch: pl.DataFrame,
    where: Interval,
    shape: Shape,
    absent: Iterable[Absence],
    changed: pl.DataFrame,
) -> Look:
    shown = changed.select(shape.keys).head(_SHOWN)
    counts = (found.inserted, found.updated, found.closed)
    return Look(where, batch.height, _delivered(batch, shape), tuple(absent), held, *counts, shown)


def _judge_deletes(seen: Look, mode: History) -> None:
    highest = mode.max_delete_fraction
    if highest is None:
        return
    for one in seen.absences:
        if one.absent > highest * one.full:
            raise DeleteGuardError(
                f"the snapshot of {seen.where.at.isoformat()} has {seen.keys} keys; {one.neighbour}, {one.absent} of "
                f"{one.full} keys are absent ({one.absent / one.full:.1%}; at the most {highest:.1%}), as "
                f"{samples(one.shown, of=one.absent)}{seen.delivered}. {_usual_sign(mode.effective_column)}; "
                "nothing was written. Deliver the snapshot again, or, if so many keys did end, raise "
                "`max_delete_fraction` in the declaration until it is loaded"
            )


def _judge_updates(seen: Look, mode: History) -> None:
    highest = mode.max_update_fraction
    if highest is None or seen.updated <= highest * seen.held:
        return
    raise UpdateGuardError(
        f"the snapshot of {seen.where.at.isoformat()} changes {seen.updated} of {seen.held} keys "
        f"({seen.updated / seen.held:.1%}; at the most {highest:.1%}): the usual sign of shifted columns or of another "
        "format; nothing was written. Look at the extract, or, if so much did change, raise `max_update_fraction` in "
        "the declaration until it is loaded"
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
