"""Applying a batch of changes to a history in one commit."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fuse_dagster.core.errors import TimeValueError
from fuse_dagster.tables.commit import Committed
from fuse_dagster.tables.history.changes.applying import DELETED, SEQUENCE, Columns, Folded, apply_changes, fact_schema
from fuse_dagster.tables.history.late import without_late
from fuse_dagster.tables.history.memory import store
from fuse_dagster.tables.history.memory.manifest import moment
from fuse_dagster.tables.history.overwriting import unsettled
from fuse_dagster.tables.history.plan import Outcome, Prepared, candidates, commit, prepare, versions
from fuse_dagster.tables.history.timeline import AT
from fuse_dagster.tables.history.times import to_instant, to_instants
from fuse_dagster.tables.keys import collapse, refuse_bad_sequence
from fuse_dagster.tables.modes import History
from fuse_dagster.tables.rows import ROW, Rows
from fuse_dagster.tables.schema import refuse_missing, require
from fuse_dagster.tables.tally import Tally
from fuse_dagster.tables.view import TableView


def write_changes(view: TableView, batch: pl.DataFrame, mode: History) -> tuple[Committed | None, Tally]:
    """Put the statements of a batch among those the history holds.

    Args:
        view: The opened table, or its absence.
        batch: Rows x business columns, Delta types. One statement per row.
        mode: The declaration.

    Raises:
        FuseError: See `History`; nothing was written then.
    """
    prepared = prepare(view, batch, mode)
    stated = state(prepared, batch)
    if stated.rows.is_empty():
        rows = candidates(prepared, moment(0), stated.keys)
        nothing = Outcome(pl.Series(ROW, [], dtype=pl.Int64), versions(prepared, rows).clear(), prepared.manifest)
        return commit(prepared, rows, nothing), Tally(schema_changes=prepared.change.sentences)
    rows = candidates(prepared, stated.rows[AT].min(), stated.keys)  # type: ignore[arg-type]
    facts = store.read_facts(view, prepared.manifest, _wanted(prepared, stated), mode.keys)
    outcome, tally = plan_changes(prepared, stated, rows, facts)
    tally.refuse_lost(batch.height)
    return (None if outcome is None else commit(prepared, rows, outcome)), tally


@dataclass(frozen=True, slots=True)
class Stated:
    """The statements of a batch.

    Attributes:
        rows: One per key, time and sequence: business columns, `AT`, `SEQUENCE`, `DELETED`.
        columns: What they are built from.
        duplicates: Copies that were dropped.
    """

    rows: pl.DataFrame
    columns: Columns
    duplicates: int

    @property
    def keys(self) -> pl.DataFrame:
        """The key of each statement."""
        return self.rows.select(self.columns.shape.keys)


def state(prepared: Prepared, batch: pl.DataFrame) -> Stated:
    """Make statements of a batch's rows.

    Args:
        prepared: The batch as it fits the table.
        batch: The same rows as delivered; a condition may read a column of nulls that the table does not take.

    Raises:
        SchemaError: The batch lacks a column of the table.
        InputError: A row cannot be put in its place.
        ConfigError: `delete_when` cannot be evaluated.
    """
    mode = prepared.mode
    if mode.missing_column == "error":
        refuse_missing(prepared.change.missing, "the batch")
    columns = Columns(
        prepared.shape,
        None if mode.effective_column is None else (mode.effective_column, mode.timezone),
        mode.sequence_by,
        remember=mode.restatements == "remember",
    )
    rows, duplicates = _unique(_statements(prepared, _deletes(batch, mode)), mode, prepared)
    return Stated(rows, columns, duplicates)


def plan_changes(prepared: Prepared, stated: Stated, rows: Rows, facts: pl.DataFrame) -> tuple[Outcome | None, Tally]:
    """Decide what becomes of each version, whatever engine reads and commits.

    Args:
        prepared: The batch and its table.
        stated: What the batch says.
        rows: Version rows, at least all of these keys that reach the first of the times.
        facts: What is remembered of these keys, later ones last.

    Returns:
        What is to be committed, None where all rows are late and left out; and how they came out.
    """
    mode, statements = prepared.mode, stated.rows
    held = versions(prepared, rows).join(stated.keys.unique(), on=list(mode.keys), how="semi", maintain_order="left")
    timely = without_late(held, facts, statements, stated.columns, mode)
    rejected = statements.height - timely.height
    if timely.is_empty():
        return None, Tally(rejected=rejected, duplicates=stated.duplicates)
    done = apply_changes(held, facts, timely, stated.columns, replaces=mode.replaces)
    values = None if done.values is None else unsettled(held, done.values, prepared.shape)
    tally = Tally(
        inserted=done.inserted,
        updated=done.updated,
        closed=done.closed,
        closing_rows=done.closed,
        applied=timely.height,
        rejected=rejected,
        duplicates=stated.duplicates,
        deleted=max(0, len(done.removed) - done.added.height),
        schema_changes=prepared.change.sentences,
    )
    beside = _beside(held, done, mode)
    return Outcome(done.removed, done.added, prepared.manifest, facts=done.facts, values=values, beside=beside), tally


def _beside(held: pl.DataFrame, done: Folded, mode: History) -> pl.Series:
    """Per version that comes, the number of one of its key that goes, so that files stay clustered by key."""
    gone = held.select(*mode.keys, ROW).filter(pl.col(ROW).is_in(done.removed.implode()))
    last = gone.group_by(mode.keys).agg(pl.col(ROW).max())
    return done.added.select(mode.keys).join(last, on=list(mode.keys), how="left", maintain_order="left")[ROW]


def _wanted(prepared: Prepared, stated: Stated) -> pl.DataFrame:
    """The keys whose facts are asked for, as a frame with the columns of facts."""
    return stated.keys.with_columns(
        pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in fact_schema(prepared.batch.schema, stated.columns).items()
        if name not in prepared.mode.keys
    )


def _deletes(batch: pl.DataFrame, mode: History) -> pl.Series:
    """Which rows are deletes."""
    condition = mode.delete_condition
    if condition is None:
        return pl.Series(DELETED, [False]).new_from_index(0, batch.height)
    require(condition.columns, batch, "delete_when")
    return condition.met(batch).alias(DELETED)


def _statements(prepared: Prepared, deleted: pl.Series) -> pl.DataFrame:
    mode, batch = prepared.mode, prepared.batch
    if mode.effective_column is not None:
        require([mode.effective_column], batch, "effective_column")
        at = to_instants(batch, mode.effective_column, mode.timezone)
    elif mode.effective_at is not None:
        at = pl.Series([to_instant(mode.effective_at, mode.timezone)], dtype=pl.Datetime("us", "UTC")).new_from_index(
            0, batch.height
        )
    else:
        raise TimeValueError("a snapshot needs the time from which it holds: give `effective_at` or `effective_column`")
    return batch.with_columns(at.alias(AT), _sequence(prepared), deleted.alias(DELETED))


def _sequence(prepared: Prepared) -> pl.Series:
    name, batch = prepared.mode.sequence_by, prepared.batch
    if name is None:
        return pl.Series(SEQUENCE, [None], dtype=pl.Int64).new_from_index(0, batch.height)
    refuse_bad_sequence(batch, name)
    return batch[name].alias(SEQUENCE)


def _unique(statements: pl.DataFrame, mode: History, prepared: Prepared) -> tuple[pl.DataFrame, int]:
    """One row per key, time and sequence; the values of a delete do not matter."""
    tracked = (*prepared.shape.tracked, *prepared.shape.overwritten)
    compared = statements.with_columns(pl.when(~pl.col(DELETED)).then(pl.col(name)).alias(name) for name in tracked)
    remedy = (
        "Such rows say two things of one key at one time: order them by `sequence_by`"
        if mode.sequence_by is None
        else f"Such rows say two things of one key at one time and `{mode.sequence_by}`: fix the source"
    )
    return collapse(compared, [*mode.keys, AT, SEQUENCE], [DELETED, *tracked], remedy=remedy)
