"""Plans of a history over one bucket of keys, in Spark's workers: the local engine's, on rows that lie in memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from fuse_dagster.tables.history.changes.applying import DELETED, fact_schema
from fuse_dagster.tables.history.changes.write import plan_changes, state
from fuse_dagster.tables.history.memory.manifest import Manifest
from fuse_dagster.tables.history.plan import Outcome, Prepared, fit, to_swap
from fuse_dagster.tables.history.snapshots.guard import Absence, Look
from fuse_dagster.tables.history.snapshots.write import by_time, plan_snapshots
from fuse_dagster.tables.modes import History
from fuse_dagster.tables.rows import ROW, MemoryRows
from fuse_dagster.tables.spark.worker import ORDER, Bucket, memory_rows
from fuse_dagster.tables.swapping import Swap
from fuse_dagster.tables.tally import Tally
from fuse_dagster.tables.view import TableView

_COUNTS = ("keys", "held", "inserted", "updated", "closed", "overwritten", "delivered")


@dataclass(frozen=True, slots=True)
class HistoryPlanner:
    """What the plans of both sources need.

    Attributes:
        uri: The table, for messages.
        table: Its columns and types; empty for none.
        manifest: What it remembers.
        mode: The declaration.
    """

    uri: str
    table: Mapping[str, pl.DataType]
    manifest: Manifest
    mode: History

    def fit(self, batch: pl.DataFrame) -> Prepared:
        """The batch's rows of this bucket as they fit the table."""
        return fit(TableView(self.uri, {}, None), self.table, self.manifest, batch, self.mode)


@dataclass(frozen=True, slots=True)
class SnapshotPlanner(HistoryPlanner):
    """Plans snapshots.

    Attributes:
        times: Of all snapshots of the batch: a bucket without rows of one must still end its keys then.
    """

    times: tuple[dt.datetime, ...]

    def __call__(self, held: pl.DataFrame, batch: pl.DataFrame) -> Bucket:
        """Plan."""
        prepared = self.fit(batch)
        rows = memory_rows(self.uri, held, prepared.schema)
        said = dict(by_time(prepared)) if batch.height or self.mode.effective_column is None else {}
        nothing = prepared.batch.clear()
        looks: list[Look] = []
        outcome, tally = plan_snapshots(
            prepared, rows, [(at, said.get(at, nothing)) for at in self.times], see=lambda seen, _: looks.append(seen)
        )
        return Bucket(to_swap(prepared, rows, outcome), tally, [_measured(seen) for seen in looks])


@dataclass(frozen=True, slots=True)
class ChangesPlanner(HistoryPlanner):
    """Plans changes; the facts of the bucket's keys come among the held rows."""

    def __call__(self, held: pl.DataFrame, batch: pl.DataFrame) -> Bucket:
        """Plan."""
        prepared = self.fit(batch)
        stated = state(prepared, batch)
        is_fact = pl.col(DELETED).is_not_null()
        facts = held.filter(is_fact).sort(ORDER).select(*fact_schema(prepared.batch.schema, stated.columns))
        rows = memory_rows(self.uri, held.filter(~is_fact), prepared.schema)
        if stated.rows.is_empty():
            return Bucket(_nothing(prepared, rows), Tally(duplicates=stated.duplicates))
        outcome, tally = plan_changes(prepared, stated, rows, facts)
        if outcome is None:
            return Bucket(_nothing(prepared, rows), tally)
        return Bucket(to_swap(prepared, rows, outcome), tally, facts=outcome.facts)


def look_of(said: Mapping[str, Any], like: Look) -> Look:
    """Read what a worker measured of one snapshot.

    Args:
        said: From `Report.measures`.
        like: Where the snapshot speaks, without any counts.
    """
    absences = tuple(
        Absence(one["neighbour"], one["full"], one["absent"], pl.DataFrame(one["shown"], schema=like.shown.schema))
        for one in said["absences"]
    )
    counts = {name: said[name] for name in _COUNTS}
    return Look(
        where=like.where, absences=absences, shown=pl.DataFrame(said["shown"], schema=like.shown.schema), **counts
    )


def _measured(seen: Look) -> dict[str, Any]:
    return {
        "at": seen.where.at.isoformat(),
        **{name: getattr(seen, name) for name in _COUNTS},
        "absences": [{**asdict(one), "shown": _texts(one.shown)} for one in seen.absences],
        "shown": _texts(seen.shown),
    }


def _texts(shown: pl.DataFrame) -> list[dict[str, str]]:
    return [{name: str(value) for name, value in row.items()} for row in shown.to_dicts()]


def _nothing(prepared: Prepared, rows: MemoryRows) -> Swap:
    none = pl.Series(ROW, [], dtype=pl.Int64)
    added = pl.DataFrame(schema={name: prepared.schema[name] for name in prepared.schema})
    return to_swap(prepared, rows, Outcome(none, added, prepared.manifest))
