"""Changes: each row states what holds for its key from its time until the key's next statement.

A key's versions are unfolded into the statements behind them (starts, ends, and what memory knows), the batch's are put
among them, and the whole is folded into versions again. That makes late rows, restatements and deletes of nothing one
case: any order of arrival folds the same statements.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from fuse_dagster.core.errors import CorrectionError
from fuse_dagster.tables.equality import same
from fuse_dagster.tables.history.changes.saying_last import hidden_by_deletes, values_said_last
from fuse_dagster.tables.history.changes.statements import DELETED, SAID, SEQUENCE, Columns, fact_schema, statements_of
from fuse_dagster.tables.history.overwriting import outdated, spread
from fuse_dagster.tables.history.timeline import AT, Shape, current
from fuse_dagster.tables.history.times import from_instants
from fuse_dagster.tables.rows import ROW
from fuse_dagster.tables.samples import KNOWN, samples

__all__ = ["DELETED", "SEQUENCE", "Columns", "Folded", "apply_changes", "fact_schema", "known_statements"]

_BEGINS, _INSERTS, _ENDS = "__fuse_begins", "__fuse_inserts", "__fuse_ends"
_KNOWN = "__fuse_known"
_ORIGIN, _END = "__fuse_origin", "__fuse_end"
_TABLE, _MEMORY, _BATCH = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Folded:
    """What a batch of statements does to the versions read.

    Attributes:
        removed: Numbers of the version rows that go.
        added: Version rows that come.
        facts: Statements that no version row shows, and that memory does not hold yet.
        inserted: Statements of the batch that begin a version where nothing held.
        updated: Statements of the batch that begin a version in place of another.
        closed: Deletes of the batch that end a version.
        values: What the keys of the batch hold in overwritten columns from now on: a row per key.
    """

    removed: pl.Series
    added: pl.DataFrame
    facts: pl.DataFrame
    inserted: int
    updated: int
    closed: int
    values: pl.DataFrame | None = None


def apply_changes(
    rows: pl.DataFrame, facts: pl.DataFrame, batch: pl.DataFrame, columns: Columns, *, replaces: bool
) -> Folded:
    """Put a batch's statements among those behind the versions, and fold all into versions again.

    Args:
        rows: Version rows of the batch's keys with `ROW`, at least all that reach the key's first time in the batch.
        facts: Facts of these keys, later ones last.
        batch: Statements: business columns, `AT`, `SEQUENCE`, `DELETED`; one per key, time and sequence.
        columns: What is where.
        replaces: Whether a statement may correct one of the same time and sequence.

    Raises:
        CorrectionError: The batch contradicts a known statement, and may not correct it.
    """
    shape = columns.shape
    old = _relevant(rows, batch, shape)
    known = _known(old, facts, batch, columns)
    stated = _latest(
        batch.with_columns(pl.lit(None, dtype=pl.Int64).alias(ROW), _tag(_BATCH)).select(known.columns), shape
    )
    merged = _merge(known, stated, shape, replaces=replaces)
    marked = _mark(merged, shape)
    versions = _fold(marked, columns)
    done = _difference(old, versions, marked, statements_of(facts, shape), columns)
    if not shape.overwritten:
        return done
    values = values_said_last(rows, facts, batch, columns, replaces=replaces)
    hidden = hidden_by_deletes(values, rows, facts, batch, columns, merged=merged)
    return _overwrite(done, rows, values, pl.concat([facts.clear(), done.facts, hidden], how="diagonal"), shape)


def _overwrite(done: Folded, rows: pl.DataFrame, values: pl.DataFrame, facts: pl.DataFrame, shape: Shape) -> Folded:
    """Give each version the values of its key; facts are statements where they do not say otherwise."""
    old = outdated(rows.join(done.removed.to_frame(ROW), on=ROW, how="anti", maintain_order="left"), values, shape)
    return replace(
        done,
        removed=pl.concat([done.removed, old[ROW]]),
        added=pl.concat([spread(done.added, values, shape), old.select(done.added.columns)]),
        facts=facts.with_columns(pl.col(SAID).fill_null(False)),
        values=values,
    )


def known_statements(rows: pl.DataFrame, facts: pl.DataFrame, batch: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """The statements behind the versions, from each key's first time in the batch on; one per key and time.

    Args:
        rows: As `apply_changes` takes them.
        facts: As `apply_changes` takes them.
        batch: As `apply_changes` takes them.
        columns: What is where.
    """
    return _known(_relevant(rows, batch, columns.shape), facts, batch, columns)


def _known(old: pl.DataFrame, facts: pl.DataFrame, batch: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    return _latest(pl.concat([_unfold(old, columns), _recall(old, facts, batch, columns)]), columns.shape)


def _relevant(rows: pl.DataFrame, batch: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """Versions of the batch's keys that reach the first time it states for them."""
    first = batch.group_by(shape.keys).agg(pl.col(AT).min())
    end = pl.col(shape.valid_to)
    return (
        rows.join(first, on=list(shape.keys), how="inner")
        .filter(end.is_null() | (end >= pl.col(AT)))
        .drop(AT)
        .select(rows.columns)
    )


def _unfold(old: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Statements that version rows show: a value at each start, a delete at each end that no start follows."""
    shape = columns.shape
    sequence = pl.col(columns.sequence) if columns.sequence else pl.lit(None, dtype=pl.Int64)
    starts = old.with_columns(
        pl.col(shape.valid_from).alias(AT),
        sequence.alias(SEQUENCE),
        pl.lit(False).alias(DELETED),
        _tag(_TABLE),
    )
    closed = old.filter(pl.col(shape.valid_to).is_not_null())
    ends = closed.join(
        old.select(*shape.keys, pl.col(shape.valid_from).alias(shape.valid_to)),
        on=[*shape.keys, shape.valid_to],
        how="anti",
    ).with_columns(
        pl.col(shape.valid_to).alias(AT),
        pl.lit(None).cast(starts.schema[SEQUENCE]).alias(SEQUENCE),
        pl.lit(True).alias(DELETED),
        _tag(_TABLE),
        pl.lit(None, dtype=pl.Int64).alias(ROW),
    )
    return pl.concat([starts, ends.select(starts.columns)]).select(_statement(columns))


def _recall(old: pl.DataFrame, facts: pl.DataFrame, batch: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """What memory holds from each key's first time on; a restated value is that of the version it lies in."""
    shape = columns.shape
    keys = list(shape.keys)
    first = batch.group_by(keys).agg(pl.col(AT).min().alias("__fuse_first"))
    wanted = (
        statements_of(facts, shape)
        .with_row_index("__fuse_order")
        .join(first, on=keys)
        .filter(pl.col(AT) >= pl.col("__fuse_first"))
    )
    newest = wanted.sort("__fuse_order").unique([*keys, AT, SEQUENCE], keep="last")
    values = old.select(*shape.columns, shape.valid_from, shape.valid_to)
    start, end = pl.col(shape.valid_from), pl.col(shape.valid_to)
    holds = (start <= pl.col(AT)) & (end.is_null() | (end > pl.col(AT)))
    inside = newest.filter(~pl.col(DELETED)).join(values, on=keys).filter(holds)
    nothing = [pl.lit(None, dtype=old.schema[name]).alias(name) for name in shape.columns if name not in keys]
    ends = newest.filter(pl.col(DELETED)).with_columns(nothing)
    parts = [
        part.with_columns(pl.lit(None, dtype=pl.Int64).alias(ROW), _tag(_MEMORY)).select(_statement(columns))
        for part in (inside, ends)
    ]
    return pl.concat(parts)


def _latest(statements: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """One statement per key and time: the highest sequence; what rows show before what memory says."""
    return statements.sort(
        *shape.keys,
        AT,
        SEQUENCE,
        _ORIGIN,
        descending=[False] * (len(shape.keys) + 1) + [True, False],
        nulls_last=True,
    ).unique([*shape.keys, AT], keep="first", maintain_order=True)


def _merge(known: pl.DataFrame, stated: pl.DataFrame, shape: Shape, *, replaces: bool) -> pl.DataFrame:
    """Known and stated together, one per key and time."""
    on = [*shape.keys, AT]
    pairs = stated.join(known, on=on, how="inner", suffix=_KNOWN)
    agree = same(
        [pl.col(c) for c in (DELETED, *shape.tracked)],
        [pl.col(c + _KNOWN) for c in (DELETED, *shape.tracked)],
    ) | (pl.col(DELETED) & pl.col(DELETED + _KNOWN))
    sequence, before = pl.col(SEQUENCE), pl.col(SEQUENCE + _KNOWN)
    newer = (sequence > before).fill_null(sequence.is_not_null())
    equal = sequence.eq_missing(before)
    clash = pairs.filter(equal & ~agree)
    if clash.height and not replaces:
        known_values = [pl.col(name + _KNOWN).alias(KNOWN + name) for name in shape.tracked]
        raise CorrectionError(
            f"{clash.height} rows say something else than what is known for the same key and time: "
            f"{samples(clash.select(*shape.columns, *known_values))}; nothing was written. Order such rows by "
            '`sequence_by`, or take them as corrections with `on_correction="replace"`'
        )
    wins = pairs.filter(newer | (equal & ~agree)).select(on)
    loses = pairs.select(on).join(wins, on=on, how="anti")
    return pl.concat([known.join(wins, on=on, how="anti"), stated.join(loses, on=on, how="anti")])


def _mark(statements: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """Say of each statement whether it begins a version, ends one, or shows in no row."""
    keys = list(shape.keys)
    rows = statements.sort(*keys, AT)
    first = pl.struct(keys).ne_missing(pl.struct(keys).shift(1)) | (pl.int_range(pl.len()) == 0)
    absent = first | pl.col(DELETED).shift(1).fill_null(True)
    agrees = same([pl.col(c) for c in shape.tracked], [pl.col(c).shift(1) for c in shape.tracked])
    value = ~pl.col(DELETED)
    return rows.with_columns(
        (value & (absent | ~agrees)).alias(_BEGINS),
        (value & absent).alias(_INSERTS),
        (pl.col(DELETED) & ~absent).alias(_ENDS),
    )


def _fold(marked: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Versions from marked statements: each begins at its statement and ends at the next that begins or ends one."""
    shape = columns.shape
    keys = list(shape.keys)
    points = marked.filter(pl.col(_BEGINS) | pl.col(_ENDS))
    same_key = pl.struct(keys).eq_missing(pl.struct(keys).shift(-1))
    until = pl.when(same_key).then(pl.col(AT).shift(-1))
    rows = points.with_columns(
        pl.col(AT).alias(shape.valid_from), until.dt.cast_time_unit("us").alias(shape.valid_to)
    ).filter(_BEGINS)
    stored: dict[str, pl.Expr] = {}
    if columns.effective is not None:
        name, zone = columns.effective
        stored[name] = from_instants(pl.col(AT), rows.schema[name], zone)
    if columns.sequence is not None:
        stored[columns.sequence] = pl.col(SEQUENCE)
    return rows.with_columns(**stored).with_columns(current(shape))


def _difference(
    old: pl.DataFrame, versions: pl.DataFrame, marked: pl.DataFrame, facts: pl.DataFrame, columns: Columns
) -> Folded:
    shape = columns.shape
    ends = old.select(ROW, pl.col(shape.valid_to).alias(_END))
    kept = (
        versions.filter(pl.col(ROW).is_not_null())
        .join(ends, on=ROW, how="inner")
        .filter(pl.col(shape.valid_to).eq_missing(pl.col(_END)))[ROW]
    )
    is_kept = pl.col(ROW).is_in(kept.implode()).fill_null(False)
    mine = pl.col(_ORIGIN) == _BATCH
    counts = marked.select(
        inserted=(mine & pl.col(_INSERTS)).sum(),
        updated=(mine & pl.col(_BEGINS) & ~pl.col(_INSERTS)).sum(),
        closed=(mine & pl.col(_ENDS)).sum(),
    ).row(0, named=True)
    return Folded(
        removed=old.filter(~is_kept)[ROW],
        added=versions.filter(~is_kept).select(*shape.columns, *shape.own),
        facts=_hidden(marked, facts, columns),
        **counts,
    )


def _hidden(marked: pl.DataFrame, facts: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Statements that no row shows: restated values, deletes that end nothing, and every delete's sequence."""
    restated = ~pl.col(DELETED) & ~pl.col(_BEGINS) & pl.lit(columns.remember)
    unseen = pl.col(DELETED) if columns.sequence is not None else pl.col(DELETED) & ~pl.col(_ENDS)
    found = marked.filter(restated | unseen).select(facts.columns)
    # What memory believes is the newest of several facts at one time: an older one like it does not count as known.
    newest = facts.unique([*columns.shape.keys, AT, SEQUENCE], keep="last", maintain_order=True)
    return found.join(newest, on=facts.columns, how="anti", nulls_equal=True)


def _statement(columns: Columns) -> list[str]:
    return [*columns.shape.columns, AT, SEQUENCE, DELETED, ROW, _ORIGIN]


def _tag(origin: int) -> pl.Expr:
    return pl.lit(origin, dtype=pl.Int8).alias(_ORIGIN)
