"""History through Spark."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.core.errors import TimeValueError
from fuse_dagster.engines.spark.frames import from_spark, to_spark
from fuse_dagster.engines.spark.names import quoted
from fuse_dagster.tables.history.changes.applying import Columns, fact_schema
from fuse_dagster.tables.history.memory import store
from fuse_dagster.tables.history.memory.manifest import Manifest, micros, moment
from fuse_dagster.tables.history.plan import Prepared, fit
from fuse_dagster.tables.history.snapshots.guard import Look, judge
from fuse_dagster.tables.history.snapshots.write import interval, refuse_empty, refuse_lost_columns, stamp_of
from fuse_dagster.tables.history.times import to_instant, to_instants
from fuse_dagster.tables.modes import History
from fuse_dagster.tables.schema import refuse_missing, require
from fuse_dagster.tables.spark.buckets import Planned, plan
from fuse_dagster.tables.spark.commit import SparkTable
from fuse_dagster.tables.spark.history_planners import ChangesPlanner, SnapshotPlanner, look_of
from fuse_dagster.tables.spark.landing import Change, land
from fuse_dagster.tables.spark.staging import Staged, Written, held_rows, with_types
from fuse_dagster.tables.spark.worker import OP, ORDER, REPORT, Job, Planner
from fuse_dagster.tables.swapping import mark
from fuse_dagster.tables.tally import Tally

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_DAY = dt.timedelta(days=1)


def write_history(table: SparkTable, staged: Staged, mode: History) -> Written:
    """Apply one batch, by whichever rule its source has.

    Args:
        table: The opened table, or its absence.
        staged: The batch.
        mode: The declaration.

    Raises:
        FuseError: As the local engine's history.
    """
    known = table.schema()
    prepared = fit(table.view, known, store.load(table.view, mode), staged.empty, mode)
    run = _changes if mode.states_changes else _snapshots
    return run(_Context(table, staged, prepared, known))


@dataclass(frozen=True, slots=True)
class _Context:
    """What both sources need.

    Attributes:
        table: The opened table, or its absence.
        staged: The batch.
        prepared: Its columns as they fit the table, without rows.
        known: Columns and types of the table.
    """

    table: SparkTable
    staged: Staged
    prepared: Prepared
    known: dict[str, pl.DataType]

    @property
    def parts(self) -> tuple[str, dict[str, pl.DataType], Manifest, History]:
        """What a planner is made of."""
        return self.table.view.uri, self.known, self.prepared.manifest, self.prepared.mode

    def reaching(self, since: dt.datetime | None, of: str = "") -> str | None:
        """SQL that holds for versions of interest; None where all are, as where columns are overwritten in each."""
        if since is None or self.prepared.change or not self.known or self.prepared.shape.overwritten:
            return None
        end = of + quoted(self.prepared.shape.valid_to)
        return f"{end} IS NULL OR {end} >= timestamp_micros({micros(since)})"

    def held(self, since: dt.datetime | None) -> DataFrame:
        """The version rows of interest."""
        rows = held_rows(self.table, self.prepared.schema)
        reaching = self.reaching(since)
        return rows if reaching is None else rows.filter(reaching)

    def plan(self, held: DataFrame, planner: Planner, facts: dict[str, pl.DataType]) -> Planned:
        """Run a planner on each bucket of keys."""
        keys, shape = tuple(self.prepared.mode.keys), self.prepared.shape
        output = {OP: pl.String(), REPORT: pl.String(), **self.prepared.schema, **facts}
        job = Job(planner, keys, (*keys, shape.valid_from), output, self.staged.masked)
        batch = with_types(self.table.session, self.staged, keys, self.prepared.schema)
        return plan(self.table.session, held, batch, job)


def _snapshots(context: _Context) -> Written:
    prepared, mode = context.prepared, context.prepared.mode
    times = _times(context)
    planned = _plan_snapshots(context, times)
    refuse_empty(planned.batch_rows, mode)
    looks = _looks(context, planned, times)
    timely = tuple(at for at, seen in looks.items() if not _is_late(seen, prepared.manifest, mode))
    left_out = sum(looks[at].keys for at in times if at not in timely)
    if not timely:
        tally = Tally(rejected=left_out, duplicates=planned.batch_rows - left_out)
        return Written(None, tally, planned.batch_rows)
    if left_out:
        planned = _plan_snapshots(context, timely)
        looks = _looks(context, planned, timely)
    manifest = prepared.manifest
    for at, seen in looks.items():
        judge(seen, mode)
        manifest = manifest.with_snapshot(stamp_of(prepared, at))
    if mode.restatements == "forget" and not any(planned.operations.values()) and context.known:
        manifest = prepared.manifest
    applied = planned.tally.applied + planned.tally.duplicates
    others = Tally(rejected=left_out, duplicates=planned.batch_rows - applied - left_out if left_out else 0)
    return _commit(context, planned, manifest, min(timely), tally=planned.tally + others)


def _plan_snapshots(context: _Context, times: tuple[dt.datetime, ...]) -> Planned:
    return context.plan(context.held(min(times, default=None)), SnapshotPlanner(*context.parts, times=times), {})


def _looks(context: _Context, planned: Planned, times: Sequence[dt.datetime]) -> dict[dt.datetime, Look]:
    """What the workers saw of each snapshot together, by time."""
    prepared, found = context.prepared, dict[dt.datetime, Look]()
    shown = pl.DataFrame(schema=dict.fromkeys(prepared.mode.keys, pl.String()))
    manifest = prepared.manifest
    for at in times:
        refuse_lost_columns(prepared, manifest, at)
        seen = Look(interval(manifest, at), 0, "", (), 0, 0, 0, 0, shown)
        for said in planned.measures:
            if said["at"] == at.isoformat():
                seen = seen + look_of(said, seen)
        found[at] = seen
        manifest = manifest.with_snapshot(stamp_of(prepared, at))
    return found


def _is_late(seen: Look, manifest: Manifest, mode: History) -> bool:
    """Whether a snapshot is to be left out: before the last known one, and not known with this very content.

    Raises:
        TimeValueError: It is, and `late="error"`.
    """
    known, at = manifest.snapshots, seen.where.at
    is_late = bool(known) and micros(at) < known[-1].at
    if mode.late == "splice" or not is_late or (manifest.knows(micros(at)) and not seen.changes):
        return False
    if mode.late == "error":
        raise TimeValueError(
            f"the snapshot of {at.isoformat()} is late: the one of {moment(known[-1].at).isoformat()} is known "
            'already, and `late="error"`; nothing was written. Fix the order of delivery, or declare `late="splice"`, '
            "which puts it in its place"
        )
    return True


def _times(context: _Context) -> tuple[dt.datetime, ...]:
    """Times of the batch's snapshots, ascending."""
    mode = context.prepared.mode
    if mode.effective_column is None:
        if mode.effective_at is None:
            raise TimeValueError(
                "a snapshot needs the time from which it holds: give `effective_at` or `effective_column`"
            )
        return (to_instant(mode.effective_at, mode.timezone),)
    require([mode.effective_column], context.prepared.batch, "effective_column")
    distinct = from_spark(context.staged.frame.select(quoted(mode.effective_column)).distinct())
    return tuple(to_instants(distinct, mode.effective_column, mode.timezone).unique().sort())


def _changes(context: _Context) -> Written:
    prepared, mode, session = context.prepared, context.prepared.mode, context.table.session
    if mode.missing_column == "error":
        refuse_missing(prepared.change.missing, "the batch")
    columns = Columns(prepared.shape, None, mode.sequence_by)
    schema = fact_schema(prepared.batch.schema, columns)
    since = _earliest(context)
    keys = with_types(session, context.staged, mode.keys, prepared.schema).select(*map(quoted, mode.keys)).distinct()
    held = context.held(since).join(keys, on=list(mode.keys), how="left_semi")
    planned = context.plan(_with_facts(context, held, schema), ChangesPlanner(*context.parts), schema)
    return _commit(context, planned, prepared.manifest, since, facts=planned.facts(schema))


def _earliest(context: _Context) -> dt.datetime | None:
    """A time that no statement of the batch comes before; None where there is none."""
    from pyspark.sql import functions as f

    mode = context.prepared.mode
    if mode.effective_column is None:
        return None if mode.effective_at is None else to_instant(mode.effective_at, mode.timezone)
    require([mode.effective_column], context.prepared.batch, "effective_column")
    least = from_spark(context.staged.frame.agg(f.min(quoted(mode.effective_column)).alias(mode.effective_column)))
    if least.item() is None:
        return None
    # The earliest time on the wall need not be the earliest instant, but no clock is changed by a day.
    return to_instants(least, mode.effective_column, mode.timezone).item() - _DAY  # type: ignore[no-any-return]


def _with_facts(context: _Context, held: DataFrame, schema: dict[str, pl.DataType]) -> DataFrame:
    """The version rows and, beside them, what is remembered of single keys, in order."""
    from pyspark.sql import functions as f

    table, manifest = context.table, context.prepared.manifest
    wanted = to_spark(table.session, pl.DataFrame(schema={**schema, ORDER: pl.Int64})).schema
    for field in wanted.fields:
        if field.name not in context.prepared.mode.keys:
            held = held.withColumn(field.name, f.lit(None).cast(field.dataType))
    for number, name in enumerate(manifest.segments):
        rows = table.session.read.parquet(f"{table.view.uri}/{store.FOLDER}/{name}")
        order = (f.lit(number).cast("bigint") * f.lit(2**40) + f.col("_metadata.row_index")).alias(ORDER)
        facts = rows.select(*map(quoted, schema), order)
        typed = facts.select(*(f.col(quoted(c.name)).cast(c.dataType).alias(c.name) for c in wanted.fields))
        held = held.unionByName(typed, allowMissingColumns=True)
    return held


def _commit(
    context: _Context,
    planned: Planned,
    manifest: Manifest,
    since: dt.datetime | None,
    *,
    tally: Tally | None = None,
    facts: pl.DataFrame | None = None,
) -> Written:
    prepared, table = context.prepared, context.table
    mode, made = prepared.mode, planned.operations
    change = Change(
        planned,
        (*mode.keys, mode.valid_from),
        prepared.schema,
        new_columns=bool(prepared.change),
        reaching=context.reaching(since, of="t."),
    )
    counted = replace(
        tally or planned.tally,
        deleted=max(0, made["delete"] - made["insert"]),
        schema_changes=prepared.change.sentences,
    )
    counted.refuse_lost(planned.batch_rows)
    has_facts = facts is not None and not facts.is_empty()
    if table.view.exists and change.is_empty and not has_facts and manifest == prepared.manifest:
        return Written(None, counted, planned.batch_rows)
    total = prepared.manifest.rows_total + made["insert"] - made["delete"]
    with store.remembered(table.view, manifest, facts=facts, rows_total=total) as ticket:
        # A commit without rows is delta-rs': it lands directly after the view, whatever features the table has.
        marks = table.view.exists and change.is_empty
        committed = mark(table.view, ticket=ticket) if marks else land(table, change, ticket)
    return Written(committed, counted, planned.batch_rows)
