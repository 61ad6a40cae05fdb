"""What a history remembers beyond its rows, as of one commit, and the declaration that must not change."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fuse_dagster.tables.modes import History

FORMAT = 2
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One applied snapshot.

    Attributes:
        at: Its effective time, microseconds since 1970 in UTC.
        columns: The business columns it brought, sorted.
    """

    at: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything remembered, as of one commit.

    Attributes:
        declared: The declaration that the table was made with: keys, source, timezone, tracked and own columns.
        snapshots: Applied snapshots, by time.
        segments: Files with facts about single keys, oldest first.
        rows_total: Rows of the table.
        version: Table version that the commit makes.
    """

    declared: Mapping[str, Any]
    snapshots: tuple[Snapshot, ...] = ()
    segments: tuple[str, ...] = ()
    rows_total: int = 0
    version: int = 0
    format: int = field(default=FORMAT)

    def neighbours(self, at: int) -> tuple[Snapshot | None, Snapshot | None]:
        """The applied snapshots directly before and after a time."""
        before = [s for s in self.snapshots if s.at < at]
        after = [s for s in self.snapshots if s.at > at]
        return (before[-1] if before else None), (after[0] if after else None)

    def knows(self, at: int) -> bool:
        """Whether a snapshot of exactly this time was applied."""
        return any(s.at == at for s in self.snapshots)

    def with_snapshot(self, snapshot: Snapshot) -> Manifest:
        """The manifest with one snapshot more, or corrected."""
        others = [s for s in self.snapshots if s.at != snapshot.at]
        return replace(self, snapshots=tuple(sorted([*others, snapshot], key=lambda s: s.at)))


def micros(moment: dt.datetime) -> int:
    """Microseconds since 1970 in UTC, exactly."""
    return (moment - _EPOCH) // dt.timedelta(microseconds=1)


def moment(at: int) -> dt.datetime:
    """The inverse of `micros`."""
    return _EPOCH + dt.timedelta(microseconds=at)


def declaration(mode: History, *, tracked: Sequence[str] | None) -> dict[str, Any]:
    """What of a declaration must stay the same over the life of a table."""
    return {
        "keys": list(mode.keys),
        "source": mode.source,
        "deletes": mode.deletes,
        "effective_column": mode.effective_column if mode.source == "changes" else None,
        "sequence_by": mode.sequence_by,
        "timezone": mode.timezone,
        "track": None if tracked is None else sorted(tracked),
        "ignore": sorted(mode.ignore),
        "overwrite_columns": sorted(mode.overwrite_columns) or None,
        "own": [mode.valid_from, mode.valid_to, mode.is_current],
        "durable_key": mode.durable_key,
        "surrogate_key": mode.surrogate_key,
    }
