"""Which statement of a key was said last, by time and sequence: its values are what overwritten columns hold.

Deletes say nothing of values. A value that a delete of the same time and a higher sequence passes over was said all the
same; no row may show it then, so memory keeps it.
"""

from __future__ import annotations

import polars as pl

from fuse_dagster.core.errors import CorrectionError
from fuse_dagster.tables.history.changes.statements import DELETED, SAID, SEQUENCE, Columns, said, statements_of
from fuse_dagster.tables.history.overwriting import outdated, unsettled, values_of
from fuse_dagster.tables.history.timeline import AT
from fuse_dagster.tables.samples import samples

_KNOWN = "__fuse_known"


def values_said_last(
    rows: pl.DataFrame, facts: pl.DataFrame, batch: pl.DataFrame, columns: Columns, *, replaces: bool
) -> pl.DataFrame:
    """What the keys of a batch hold in overwritten columns from now on.

    Args:
        rows: Version rows of the batch's keys, at least all that reach the key's first time in the batch.
        facts: Facts of these keys, later ones last.
        batch: Statements, as `apply_changes` takes them.
        columns: What is where.
        replaces: Whether a statement may correct one of the same time and sequence.

    Returns:
        Keys and overwritten columns, a row per key of which a value is known.

    Raises:
        CorrectionError: The statement that was said last is known with other values, and may not be corrected.
    """
    shape = columns.shape
    keys, names = list(shape.keys), [*shape.keys, *shape.overwritten]
    known = _known_last(rows, facts, columns)
    stated = _last(batch.filter(~pl.col(DELETED)), columns)
    pairs = stated.join(known, on=keys, how="left", suffix=_KNOWN)
    at, before = pl.col(AT), pl.col(AT + _KNOWN)
    sequence, passed = pl.col(SEQUENCE), pl.col(SEQUENCE + _KNOWN)
    again = before.eq_missing(at) & sequence.eq_missing(passed)
    later = before.is_null() | (at > before) | ((at == before) & _higher(sequence, passed))
    held = pl.concat([_remembered(facts, known, columns), values_of(rows, shape)])
    held = held.unique(keys, keep="first", maintain_order=True)
    if not replaces:
        _refuse_corrections(held, pairs.filter(again).select(names), columns)
    return pl.concat([pairs.filter(later | again).select(names), held]).unique(keys, keep="first", maintain_order=True)


def hidden_by_deletes(
    values: pl.DataFrame,
    rows: pl.DataFrame,
    facts: pl.DataFrame,
    batch: pl.DataFrame,
    columns: Columns,
    *,
    merged: pl.DataFrame,
) -> pl.DataFrame:
    """What was said last, where a delete of the same time passes over it and memory does not hold it yet.

    Args:
        values: From `values_said_last`.
        rows: As there.
        facts: As there.
        batch: As there.
        columns: What is where.
        merged: Known statements and the batch's together, one per key and time.

    Returns:
        Facts, with the columns of `facts`.
    """
    keys = list(columns.shape.keys)
    order = [*keys, AT, SEQUENCE]
    known = _known_last(rows, facts, columns)
    last = _last(pl.concat([known, batch.filter(~pl.col(DELETED)).select(order)]), columns)
    deletes = merged.filter(DELETED).select(order)
    passed = last.join(deletes, on=[*keys, AT], how="inner", suffix=_KNOWN)
    hidden = passed.filter(_higher(pl.col(SEQUENCE + _KNOWN), pl.col(SEQUENCE))).select(order)
    new = unsettled(_remembered(facts, known, columns), values, columns.shape)
    found = hidden.join(new, on=keys, how="inner")
    told = found.rename({name: said(name) for name in columns.shape.overwritten})
    return told.with_columns(pl.lit(False).alias(DELETED), pl.lit(True).alias(SAID)).select(facts.columns)


def _known_last(rows: pl.DataFrame, facts: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Time and sequence of the last value known per key: of a version's start, or of a fact."""
    shape = columns.shape
    order = [*shape.keys, AT, SEQUENCE]
    sequence = pl.col(columns.sequence) if columns.sequence else pl.lit(None, dtype=pl.Int64)
    starts = rows.select(*shape.keys, pl.col(shape.valid_from).alias(AT), sequence.alias(SEQUENCE))
    # What memory believes is the newest of several facts at one time.
    restated = statements_of(facts, shape).unique(order, keep="last", maintain_order=True).filter(~pl.col(DELETED))
    return _last(pl.concat([starts, restated.select(order), facts.filter(SAID).select(order)]), columns)


def _remembered(facts: pl.DataFrame, known: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Values in memory of what was said last."""
    shape = columns.shape
    order = [*shape.keys, AT, SEQUENCE]
    newest = facts.filter(SAID).unique(order, keep="last", maintain_order=True)
    return newest.join(known, on=order, how="semi", nulls_equal=True).select(
        *shape.keys, *(pl.col(said(name)).alias(name) for name in shape.overwritten)
    )


def _last(statements: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Per key the statement with the highest time, and there the highest sequence."""
    keys = list(columns.shape.keys)
    return statements.sort(AT, SEQUENCE, descending=True, nulls_last=True, maintain_order=True).unique(
        keys, keep="first", maintain_order=True
    )


def _higher(sequence: pl.Expr, other: pl.Expr) -> pl.Expr:
    return (sequence > other).fill_null(sequence.is_not_null())


def _refuse_corrections(held: pl.DataFrame, again: pl.DataFrame, columns: Columns) -> None:
    clash = outdated(held, again, columns.shape)
    if clash.height:
        raise CorrectionError(
            f"{clash.height} rows say something else than what is known for the same key and time, in columns that are "
            f"overwritten: {samples(clash)}; nothing was written. Order such rows by `sequence_by`, or take them as "
            'corrections with `on_correction="replace"`'
        )
