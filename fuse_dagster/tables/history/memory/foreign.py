"""Changes by other writers: those that leave the rows as they were, and those that make the memory wrong."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from fuse_dagster.core.errors import TableStateError
from fuse_dagster.tables.history.memory.manifest import Manifest
from fuse_dagster.tables.view import TableView

# Operations of other writers that move rows between files, add columns of nulls or change settings: every version of
# every key stays as it was.
_HARMLESS = frozenset({
    "OPTIMIZE", "VACUUM START", "VACUUM END", "FSCK", "ADD FEATURE", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES",
    "SET TABLE PROPERTIES", "UPDATE TABLE METADATA", "UPDATE FIELD METADATA", "ADD COLUMN", "ADD COLUMNS",
    "UPGRADE PROTOCOL",
})  # fmt: skip
# Names of one figure in the log: delta-rs' first, then Spark's.
_ADDED = ("num_added_rows", "num_target_rows_inserted", "numTargetRowsInserted")
_UPDATED = ("num_updated_rows", "num_target_rows_updated", "numUpdatedRows", "numTargetRowsUpdated")
_REMOVED = ("num_deleted_rows", "num_target_rows_deleted", "numDeletedRows", "numTargetRowsDeleted")
_SHOWN = 5
_GONE = "gone from the log"

REMEDY = (
    "Nothing was written. Make the history anew from its batches in one commit with `rebuild`, or take its rows as "
    "they are for the truth with `adopt(..., again=True)`"
)
"""What to do about a memory that does not fit its rows."""


@dataclass(frozen=True, slots=True)
class ForeignChange:
    """One commit that another writer made to a history.

    Attributes:
        version: Table version that it made.
        committed_at: When, UTC; None where the log no longer says.
        operation: What the log calls it, such as `DELETE`.
        is_harmless: Whether every version of every key stayed as it was.
        rows_added: Rows that came; None where the log does not say.
        rows_updated: Rows that changed; None where the log does not say.
        rows_removed: Rows that went; None where the log does not say.
    """

    version: int
    committed_at: dt.datetime | None
    operation: str
    is_harmless: bool
    rows_added: int | None = None
    rows_updated: int | None = None
    rows_removed: int | None = None

    @property
    def did(self) -> str:
        """What it did, in words."""
        figures = {"added": self.rows_added, "changed": self.rows_updated, "removed": self.rows_removed}
        told = [f"{verb} {count} rows" for verb, count in figures.items() if count]
        if self.is_harmless:
            told.append("the rows stayed as they were")
        return f"version {self.version}: {self.operation}" + (f", {', '.join(told)}" if told else "")


def changes_since(view: TableView, version: int) -> list[ForeignChange]:
    """What was committed after a version, oldest first.

    Args:
        view: The opened table.
        version: The last version that is known.

    Returns:
        One change per version; one whose log entry is gone is not taken for harmless.
    """
    if view.version <= version:
        return []
    said = {int(entry["version"]): entry for entry in view.table.history(view.version - version)}
    return [_told(number, said.get(number, {})) for number in range(version + 1, view.version + 1)]


def refuse_foreign_changes(view: TableView, manifest: Manifest) -> None:
    """Rows that others changed make the memory wrong: compare what they did, and how many rows there are.

    Raises:
        TableStateError: Somebody else changed rows since the manifest was written, and did not bring them back.
    """
    if view.version == manifest.version:
        return
    harmful = [change for change in changes_since(view, manifest.version) if not change.is_harmless]
    rows = view.count_rows()
    undone = not harmful or _is_as_before(view, harmful[0].version - 1)
    if undone and rows == manifest.rows_total and view.version > manifest.version:
        return
    raise TableStateError(
        f"the history `{view.uri}` was changed by others since version {manifest.version} ({_words(harmful)}; {rows} "
        f"rows, {manifest.rows_total} remembered), so what it remembers no longer fits its rows. {REMEDY}"
        + (f"; or undo it: `DeltaTable.restore({harmful[0].version - 1})`" if harmful else "")
    )


def _is_as_before(view: TableView, version: int) -> bool:
    """Whether the table consists of the very files that it had at a version: then what came in between was undone."""
    try:
        before = DeltaTable(view.uri, version=version, storage_options=dict(view.storage_options))
    except DeltaError:
        return False  # that version has expired, so nothing can be proven
    return set(before.file_uris()) == set(view.table.file_uris())


def _words(changes: Sequence[ForeignChange]) -> str:
    shown = "; ".join(change.did for change in changes[:_SHOWN])
    left = len(changes) - _SHOWN
    return (shown + (f" and {left} more" if left > 0 else "")) if shown else "an older state"


def _told(version: int, entry: Mapping[str, Any]) -> ForeignChange:
    operation = str(entry.get("operation") or _GONE)
    metrics = entry.get("operationMetrics") or {}
    said = entry.get("operationParameters") or {}
    # Spark counts what a plain write adds as output; in a MERGE the same name counts rows that were copied, too.
    added = (*_ADDED, "numOutputRows") if operation == "WRITE" else _ADDED
    stamp = entry.get("timestamp")
    return ForeignChange(
        version,
        None if stamp is None else dt.datetime.fromtimestamp(int(stamp) / 1000, tz=dt.UTC),
        operation + _detail(operation, said),
        operation in _HARMLESS,
        _figure(metrics, added),
        _figure(metrics, _UPDATED),
        _figure(metrics, _REMOVED),
    )


def _detail(operation: str, said: Mapping[str, Any]) -> str:
    """Which kind of write, or what was restored. Predicates hold values of the data, and stay out."""
    if operation == "WRITE" and said.get("mode"):
        return f" ({said['mode']})"
    if operation == "RESTORE":
        target = next((said[name] for name in ("version", "datetime", "timestamp") if said.get(name)), None)
        return f" of {target}" if target is not None else ""
    return ""


def _figure(metrics: Mapping[str, Any], names: Sequence[str]) -> int | None:
    found = next((metrics[name] for name in names if metrics.get(name) is not None), None)
    return None if found is None else int(found)
