"""What is late: a snapshot before the last known one, a row of a feed before the last known statement of its key."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import polars as pl

from fuse_dagster.core.errors import TimeValueError
from fuse_dagster.tables.equality import same
from fuse_dagster.tables.history.changes.applying import DELETED, SEQUENCE, Columns, known_statements
from fuse_dagster.tables.history.memory.manifest import micros, moment
from fuse_dagster.tables.history.plan import Prepared
from fuse_dagster.tables.history.snapshots.carrying import carried
from fuse_dagster.tables.history.snapshots.comparing import compare
from fuse_dagster.tables.history.timeline import AT
from fuse_dagster.tables.keys import collapse
from fuse_dagster.tables.modes import History
from fuse_dagster.tables.rows import Rows
from fuse_dagster.tables.samples import samples
from fuse_dagster.tables.tally import Tally

Timed = tuple[dt.datetime, pl.DataFrame]
_LAST, _KNOWN, _NUMBER = "__fuse_last", "__fuse_known", "__fuse_number"


def timely(prepared: Prepared, rows: Rows, snapshots: Iterable[Timed]) -> tuple[list[Timed], Tally]:
    """Take late snapshots out of a batch, or refuse it, as `late` says.

    Args:
        prepared: The batch and its table.
        rows: Version rows, at least all that reach the first of the times.
        snapshots: The batch's snapshots and their times.

    Returns:
        The snapshots that may be applied, and the count of the rows of the others. A late one that is known with this
        very content is among the first.

    Raises:
        TimeValueError: There is a late one, and `late="error"`.
    """
    mode, known = prepared.mode, prepared.manifest.snapshots
    kept, left_out = [], Tally()
    for at, frame in snapshots:
        is_late = bool(known) and micros(at) < known[-1].at
        if mode.late == "splice" or not is_late or _is_known(prepared, rows, at, frame):
            kept.append((at, frame))
            continue
        if mode.late == "error":
            raise TimeValueError(
                f"the snapshot of {at.isoformat()} is late: the one of {moment(known[-1].at).isoformat()} is known "
                'already, and `late="error"`; nothing was written. Fix the order of delivery, or declare '
                '`late="splice"`, which puts it in its place'
            )
        unique, duplicates = collapse(frame, prepared.shape.keys, prepared.shape.tracked)
        left_out += Tally(rejected=unique.height, duplicates=duplicates)
    return kept, left_out


def _is_known(prepared: Prepared, rows: Rows, at: dt.datetime, frame: pl.DataFrame) -> bool:
    if not prepared.manifest.knows(micros(at)):
        return False
    shape = prepared.shape
    unique, _ = collapse(frame, shape.keys, shape.tracked)
    return compare(rows, carried(prepared, rows, unique, at), at, shape).is_empty


def without_late(
    rows: pl.DataFrame, facts: pl.DataFrame, batch: pl.DataFrame, columns: Columns, mode: History
) -> pl.DataFrame:
    """Take late rows out of a batch, or refuse it, as `late` says. Decided per key.

    Args:
        rows: Version rows of the batch's keys with `ROW`, at least all that reach the key's first time in the batch.
        facts: Facts of these keys, later ones last.
        batch: Statements, as `apply_changes` takes them.
        columns: What is where.
        mode: The declaration.

    Returns:
        The statements that may be applied, in their order.

    Raises:
        TimeValueError: There are late rows, and `late="error"`.
    """
    if mode.late == "splice" or batch.is_empty():
        return batch
    late = is_late(rows, facts, batch, columns)
    if mode.late == "error" and late.any():
        shown = batch.filter(late).select(columns.shape.columns)
        raise TimeValueError(
            f'{shown.height} rows are late: their keys are known at later times, and `late="error"`: {samples(shown)}; '
            'nothing was written. Fix the order of delivery, or declare `late="splice"`, which puts them in their place'
        )
    return batch.filter(~late)


def is_late(rows: pl.DataFrame, facts: pl.DataFrame, batch: pl.DataFrame, columns: Columns) -> pl.Series:
    """Which statements speak of a time before the last known of their key, and say something that is not known.

    Rows of one batch are not late against each other, and what is said again is not late, so that a batch can be
    repeated.

    Args:
        rows: As `without_late` takes them.
        facts: As `without_late` takes them.
        batch: As `without_late` takes them.
        columns: What is where.

    Returns:
        One boolean per row of the batch, never null.
    """
    shape = columns.shape
    keys = list(shape.keys)
    known = known_statements(rows, facts, batch, columns)
    last = known.group_by(keys).agg(pl.col(AT).max().alias(_LAST))
    numbered = batch.with_row_index(_NUMBER)
    behind = numbered.join(last, on=keys).filter(pl.col(AT) < pl.col(_LAST))
    again = [_repeated(behind, known, columns)]
    if not columns.remember:
        again.append(_held(behind, rows, columns))
    late = behind.join(pl.concat(again), on=_NUMBER, how="anti")[_NUMBER]
    return pl.repeat(False, batch.height, eager=True).scatter(late, True)


def _repeated(behind: pl.DataFrame, known: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Numbers of the statements that are known at their very time, or are passed there by a higher sequence."""
    shape = columns.shape
    pairs = behind.join(known, on=[*shape.keys, AT], how="inner", suffix=_KNOWN)
    sequence, before = pl.col(SEQUENCE), pl.col(SEQUENCE + _KNOWN)
    passed = (sequence < before).fill_null(sequence.is_null() & before.is_not_null())
    return pairs.filter(passed | (sequence.eq_missing(before) & _agree(columns))).select(_NUMBER)


def _held(behind: pl.DataFrame, rows: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Numbers of the statements that restate what held then: where restatements are forgotten, they are no news."""
    shape = columns.shape
    versions = rows.select(*shape.columns, shape.valid_from, shape.valid_to).with_columns(pl.lit(False).alias(DELETED))
    pairs = behind.join(versions, on=list(shape.keys), how="inner", suffix=_KNOWN)
    until = pl.col(shape.valid_to)
    holds = (pl.col(shape.valid_from) <= pl.col(AT)) & (until.is_null() | (until > pl.col(AT)))
    return pairs.filter(holds & _agree(columns)).select(_NUMBER)


def _agree(columns: Columns) -> pl.Expr:
    """Whether a statement and its pair say the same; the values of a delete do not matter."""
    names = [DELETED, *columns.shape.tracked]
    equal = same([pl.col(name) for name in names], [pl.col(name + _KNOWN) for name in names])
    return equal | (pl.col(DELETED) & pl.col(DELETED + _KNOWN))
