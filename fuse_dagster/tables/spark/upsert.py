"""Upsert through Spark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.tables.commit import Ticket
from fuse_dagster.tables.modes import Upsert
from fuse_dagster.tables.schema import reconcile
from fuse_dagster.tables.spark.buckets import Planned, plan
from fuse_dagster.tables.spark.commit import SparkTable
from fuse_dagster.tables.spark.landing import Change, land
from fuse_dagster.tables.spark.staging import Staged, Written, held_rows, with_types
from fuse_dagster.tables.spark.worker import OP, REPORT, Bucket, Job, memory_rows
from fuse_dagster.tables.upsert import columns_after, plan_upsert
from fuse_dagster.tables.upserting.guard import Absence, guard_deletes, refuse_empty

if TYPE_CHECKING:
    from fuse_dagster.tables.rows import Rows


@dataclass(frozen=True, slots=True)
class UpsertPlanner:
    """Plans an upsert over one bucket of keys.

    Attributes:
        uri: The table, for messages.
        table: Its columns and types; empty for none.
        mode: The declaration.
    """

    uri: str
    table: Mapping[str, pl.DataType]
    mode: Upsert

    def __call__(self, held: pl.DataFrame, batch: pl.DataFrame) -> Bucket:
        """Plan."""

        def read(schema: Mapping[str, pl.DataType], _: pl.DataFrame | None) -> Rows:
            return memory_rows(self.uri, held, schema)

        planned = plan_upsert(self.table, batch, self.mode, read)
        absence = planned.absence
        shown = [{name: str(value) for name, value in row.items()} for row in absence.shown.to_dicts()]
        measure = {"known": absence.known, "absent": absence.absent, "shown": shown, "keys": planned.keys}
        return Bucket(planned.swap, planned.tally, [measure])


def upsert(table: SparkTable, staged: Staged, mode: Upsert) -> Written:
    """Insert, replace or delete by key.

    Args:
        table: The opened table, or its absence.
        staged: The batch.
        mode: The declaration.

    Raises:
        FuseError: As the local engine's upsert.
    """
    known = table.schema()
    typed, change = reconcile(staged.empty, known, policy=mode.schema, own=mode.own)
    columns = columns_after(known, typed.schema, change, mode)
    schema = columns.schema
    output: dict[str, pl.DataType] = {OP: pl.String(), REPORT: pl.String(), **schema}
    job = Job(UpsertPlanner(table.view.uri, known, mode), tuple(mode.keys), tuple(mode.keys), output, staged.masked)
    batch = with_types(table.session, staged, mode.keys, schema)
    planned = plan(table.session, held_rows(table, schema), batch, job)
    judge(planned, mode)
    what = Change(planned, tuple(mode.keys), schema, new_columns=bool(known) and columns.change)
    committed = None if known and what.is_empty else land(table, what, Ticket())
    return Written(committed, replace(planned.tally, schema_changes=columns.sentences), planned.batch_rows)


def judge(planned: Planned, mode: Upsert) -> None:
    """Refuse what only all buckets together show, before anything is committed.

    Args:
        planned: What the workers decided.
        mode: The declaration.

    Raises:
        DeleteGuardError: A whole truth leaves out too many keys of the table, or has no rows.
        InputError: Not every row of the batch is counted once.
    """
    refuse_empty(planned.batch_rows, mode)
    said = planned.measures
    shown = pl.DataFrame([row for one in said for row in one["shown"]][:3], schema=dict.fromkeys(mode.keys, pl.String))
    absence = Absence(sum(one["known"] for one in said), sum(one["absent"] for one in said), shown)
    guard_deletes(absence, sum(one["keys"] for one in said), mode)
    planned.tally.refuse_lost(planned.batch_rows)
