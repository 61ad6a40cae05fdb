"""What a history must remember beyond its rows, so that any order of arrival gives the same table.

A table's rows show what held when; they do not show that the same was said again, that a delete ended nothing, or which
snapshots were applied. These facts lie beside the table in `_fuse/`: a manifest per commit, written *before* the commit
and named by the version of the commit's transaction, and segments of facts that manifests refer to. Both are immutable;
files of commits that never landed are garbage that no later manifest names.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from fuse_dagster.core.errors import ConfigError, TableStateError
from fuse_dagster.tables.commit import APP_ID
from fuse_dagster.tables.modes import History
from fuse_dagster.tables.view import TableView, is_local

FOLDER = "_fuse"
_CONTENT = "manifest"
_FORMAT = 1
_MOST_SEGMENTS = 16
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# Operations of other writers that move rows between files or change settings, and leave the rows as they were.
_HARMLESS = frozenset({
    "OPTIMIZE", "VACUUM START", "VACUUM END", "FSCK", "ADD FEATURE", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES",
    "SET TABLE PROPERTIES", "UPDATE TABLE METADATA", "UPDATE FIELD METADATA",
})  # fmt: skip


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
    format: int = field(default=_FORMAT)

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
        "own": list(mode.reserved),
    }


def load(view: TableView, mode: History) -> Manifest:
    """Read the memory of a table, and make sure that it belongs to the rows.

    Args:
        view: The opened table, or its absence.
        mode: The declaration to write with.

    Raises:
        TableStateError: The table is no history of ours, its memory is gone, or rows were changed by someone else.
        ConfigError: The table was made with another declaration.
    """
    declared = declaration(mode, tracked=mode.track)
    if not view.exists:
        return Manifest(declared)
    transaction = view.table.transaction_version(APP_ID)
    if transaction is None:
        raise TableStateError(
            f"`{view.uri}` is a table that no history was written to; write the history to another place, or move this "
            "table away"
        )
    manifest = _read(view, transaction)
    _refuse_other_declaration(view, dict(manifest.declared), declared)
    _refuse_foreign_changes(view, manifest)
    return manifest


def save(view: TableView, manifest: Manifest, transaction: int) -> None:
    """Write the manifest of a commit that is about to be made."""
    _make_folder(view)
    text = json.dumps(asdict(manifest), separators=(",", ":"))
    _write(view, pl.DataFrame({_CONTENT: [text]}), _manifest_name(transaction))


def add_facts(view: TableView, manifest: Manifest, facts: pl.DataFrame, transaction: int) -> Manifest:
    """Write facts about single keys as a segment; many small segments become one.

    Args:
        view: The opened table, or its absence.
        manifest: The memory so far.
        facts: Keys, `AT`, `SEQUENCE`, `DELETED`; facts that the memory does not hold yet.
        transaction: Names the file.
    """
    if facts.is_empty():
        return manifest
    merged = len(manifest.segments) >= _MOST_SEGMENTS
    rows = pl.concat([read_facts(view, manifest, facts.clear()), facts]) if merged else facts
    name = f"{transaction:020d}.facts.parquet"
    _make_folder(view)
    _write(view, rows, name)
    return replace(manifest, segments=(name,) if merged else (*manifest.segments, name))


def read_facts(view: TableView, manifest: Manifest, keys: pl.DataFrame, on: Sequence[str] = ()) -> pl.DataFrame:
    """Facts about some keys, later ones last.

    Args:
        view: The opened table.
        manifest: The memory.
        keys: Frame with the facts' schema; its rows name the keys wanted, where `on` is given.
        on: The key columns; empty for all facts.
    """
    parts = [keys.clear()]
    for name in manifest.segments:
        found = _scan(view, name)
        wanted = found.join(keys.lazy().select(on).unique(), on=list(on), how="semi") if on else found
        try:
            parts.append(wanted.select(keys.columns).cast(dict(keys.schema)).collect())  # type: ignore[arg-type]
        except (OSError, PolarsError) as error:
            raise _gone(view, name) from error
    return pl.concat(parts)


def _read(view: TableView, transaction: int) -> Manifest:
    try:
        raw = json.loads(_scan(view, _manifest_name(transaction)).collect()[_CONTENT].item())
    except (OSError, ValueError, PolarsError) as error:
        raise _gone(view, _manifest_name(transaction)) from error
    if raw.get("format") != _FORMAT:
        raise TableStateError(
            f"the memory of `{view.uri}` has format {raw.get('format')}, this version knows {_FORMAT}; "
            "upgrade fuse-dagster"
        )
    snapshots = tuple(Snapshot(s["at"], tuple(s["columns"])) for s in raw["snapshots"])
    return Manifest(**{**raw, "snapshots": snapshots, "segments": tuple(raw["segments"])})


def _gone(view: TableView, name: str) -> TableStateError:
    return TableStateError(
        f"the memory of the history `{view.uri}` (`{FOLDER}/{name}`) is gone or damaged, so a late batch could not be "
        "placed rightly. Nothing was written; copy the table's folder, `_fuse` included, back from a backup, or load "
        "the history anew into an empty place"
    )


def _refuse_other_declaration(view: TableView, was: dict[str, Any], now: dict[str, Any]) -> None:
    changed = [f"`{name}` was `{was.get(name)}`, is `{now[name]}`" for name in now if was.get(name) != now[name]]
    if changed:
        raise ConfigError(
            f"the history `{view.uri}` was made with another declaration: {'; '.join(changed)}. What was applied "
            "under the old one would mean something else; keep it, or load the history anew into an empty place"
        )


def _refuse_foreign_changes(view: TableView, manifest: Manifest) -> None:
    """Rows that others changed make the memory wrong: compare what they did, and how many rows there are."""
    if view.version == manifest.version:
        return
    foreign = [
        entry
        for entry in view.table.history(max(view.version - manifest.version, 1))
        if int(entry["version"]) > manifest.version and entry.get("operation") not in _HARMLESS
    ]
    rows = view.count_rows()
    if foreign or rows != manifest.rows_total or view.version < manifest.version:
        did = "; ".join(f"version {e['version']}: {e.get('operation')}" for e in foreign[:5]) or "an older state"
        raise TableStateError(
            f"the history `{view.uri}` was changed by others since version {manifest.version} ({did}; {rows} rows, "
            f"{manifest.rows_total} remembered), so what it remembers no longer fits its rows. Nothing was written; "
            f"restore version {manifest.version} by overwriting from a backup, or load the history anew "
            "into an empty place"
        )


def _manifest_name(transaction: int) -> str:
    return f"{transaction:020d}.parquet"


def _write(view: TableView, frame: pl.DataFrame, name: str) -> None:
    frame.write_parquet(f"{view.uri}/{FOLDER}/{name}", storage_options=dict(view.storage_options) or None)


def _scan(view: TableView, name: str) -> pl.LazyFrame:
    return pl.scan_parquet(f"{view.uri}/{FOLDER}/{name}", storage_options=dict(view.storage_options) or None)


def _make_folder(view: TableView) -> None:
    if is_local(view.uri):
        Path(view.uri, FOLDER).mkdir(parents=True, exist_ok=True)
