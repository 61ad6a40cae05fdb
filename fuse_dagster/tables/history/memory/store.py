"""The memory of a history: which facts its rows cannot show, so that any order of arrival gives the same table.

A table's rows show what held when; they do not show that the same was said again, that a delete ended nothing, or which
snapshots were applied. These facts lie beside the table in `_fuse/`: a manifest per commit, written *before* the commit
and named by the version of the commit's transaction and its write id, and segments of facts that manifests refer to.
All are immutable. Racing writers choose one transaction version, of which Delta lets one land; what the others wrote is
garbage that no later manifest names.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl
from deltalake.fs import DeltaStorageHandler
from polars.exceptions import PolarsError
from pyarrow.fs import FileSelector

from fuse_dagster.core.errors import ConfigError, TableStateError, first_line
from fuse_dagster.core.store_failures import store_error
from fuse_dagster.engines.local.addresses import is_local
from fuse_dagster.tables.commit import APP_ID, WRITE_ID, LostRaceError, Ticket, next_ticket
from fuse_dagster.tables.history.memory.foreign import REMEDY, refuse_foreign_changes
from fuse_dagster.tables.history.memory.manifest import FORMAT, Manifest, Snapshot, declaration
from fuse_dagster.tables.modes import History
from fuse_dagster.tables.view import TableView, writing

FOLDER = "_fuse"
_CONTENT = "manifest"
_MOST_SEGMENTS = 16
_RETRACKED = {"track", "ignore"}

logger = logging.getLogger(__name__)


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
        _refuse_lost_log(view)
        return Manifest(declared)
    transaction = view.table.transaction_version(APP_ID)
    if transaction is None:
        raise TableStateError(
            f"`{view.uri}` is a table that no history was written to; where it holds versions made by others, take it "
            "over with `adopt`. Else write the history to another place, or move this table away"
        )
    manifest = read_manifest(view, transaction)
    _refuse_other_declaration(view, dict(manifest.declared), declared, mode)
    refuse_foreign_changes(view, manifest)
    return replace(manifest, declared=declared) if mode.retrack == "from_now" else manifest


@contextmanager
def remembered(view: TableView, manifest: Manifest, *, facts: pl.DataFrame | None, rows_total: int) -> Iterator[Ticket]:
    """Write the memory before the one commit that makes it hold; the block inside makes that commit.

    Args:
        view: The opened table, or its absence.
        manifest: What is remembered from now on, without the facts.
        facts: Statements about single keys to remember.
        rows_total: Rows of the table after the commit.

    Yields:
        What the commit has to be known by.
    """
    ticket = next_ticket(view)
    if facts is not None:
        manifest = add_facts(view, manifest, facts, ticket)
    save(view, replace(manifest, rows_total=rows_total, version=view.version + 1), ticket)
    try:
        yield ticket
    except LostRaceError:
        discard(view, ticket)
        raise
    tidy(view, ticket)


def save(view: TableView, manifest: Manifest, ticket: Ticket) -> None:
    """Write the manifest of a commit that is about to be made."""
    _make_folder(view)
    text = json.dumps(asdict(manifest), separators=(",", ":"))
    _write(view, pl.DataFrame({_CONTENT: [text]}), _name(ticket))


def discard(view: TableView, ticket: Ticket) -> None:
    """Remove the manifest of a commit that is known not to have landed."""
    _remove(view, [_name(ticket)])


def tidy(view: TableView, ticket: Ticket) -> None:
    """Remove what others wrote for the transaction version that has landed: no commit of theirs can follow on it."""
    try:
        names = _names(view, ticket.transactions[APP_ID])
    except OSError as error:
        logger.warning("left-over manifests of %s cannot be listed: %s", view.uri, first_line(error))
        return
    _remove(view, [name for name in names if name != _name(ticket)])


def _remove(view: TableView, names: Sequence[str]) -> None:
    """Failing to is harmless: the log tells which manifest is the one that landed."""
    try:
        _delete(view, names)
    except OSError as error:
        logger.warning("left-over manifests of %s cannot be removed: %s", view.uri, first_line(error))


def add_facts(view: TableView, manifest: Manifest, facts: pl.DataFrame, ticket: Ticket) -> Manifest:
    """Write facts about single keys as a segment; many small segments become one.

    Args:
        view: The opened table, or its absence.
        manifest: The memory so far.
        facts: Keys, `AT`, `SEQUENCE`, `DELETED`; facts that the memory does not hold yet.
        ticket: Names the file.
    """
    if facts.is_empty():
        return manifest
    merged = len(manifest.segments) >= _MOST_SEGMENTS
    rows = pl.concat([read_facts(view, manifest, facts.clear()), facts]) if merged else facts
    name = f"facts-{_name(ticket)}"
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
            raise store_error(error, view.uri) or _gone(view, name) from error
    return pl.concat(parts)


def read_manifest(view: TableView, transaction: int) -> Manifest:
    """Read the manifest of the commit that carries a transaction version.

    Raises:
        TableStateError: It is gone, damaged, or of a format that this version does not know.
    """
    try:
        name = _landed(view, transaction)
        raw = json.loads(_scan(view, name).collect()[_CONTENT].item())
    except (OSError, ValueError, PolarsError) as error:
        raise store_error(error, view.uri) or _gone(view, _pattern(transaction)) from error
    if raw.get("format") != FORMAT:
        raise TableStateError(
            f"the memory of `{view.uri}` has format {raw.get('format')}, this version knows {FORMAT}; "
            "upgrade fuse-dagster"
        )
    snapshots = tuple(Snapshot(s["at"], tuple(s["columns"])) for s in raw["snapshots"])
    return Manifest(**{**raw, "snapshots": snapshots, "segments": tuple(raw["segments"])})


def _landed(view: TableView, transaction: int) -> str:
    """The manifest whose commit landed. Where several writers, or one that was killed, left theirs, the log says which.

    None of the others is read: a killed writer may have left half of one.
    """
    names = _names(view, transaction)
    if len(names) > 1:
        written = {str(entry.get(WRITE_ID) or entry.get("userMetadata")) for entry in view.table.history()}
        names = [name for name in names if name.rpartition("-")[2].removesuffix(".parquet") in written]
    if len(names) != 1:
        raise _gone(view, _pattern(transaction))
    return names[0]


def _pattern(transaction: int) -> str:
    return f"{transaction:020d}-*.parquet"


def _gone(view: TableView, name: str) -> TableStateError:
    return TableStateError(
        f"the memory of the history `{view.uri}` (`{FOLDER}/{name}`) is gone or damaged, so a late batch could not be "
        f"placed rightly. {REMEDY}; or copy the table's folder, `_fuse` included, back from a backup"
    )


def _refuse_lost_log(view: TableView) -> None:
    """A first write that never landed leaves the memory of one transaction; that of later ones had a table once."""
    later = [name for name in _all_names(view) if name[:20].isdigit() and int(name[:20]) > 1]
    if later:
        raise TableStateError(
            f"`{view.uri}` has no `_delta_log`, but the memory of a history (`{FOLDER}/{max(later)}`): its log was "
            "removed. Nothing was written; restore `_delta_log` from a backup, or move what is there away to begin anew"
        )


def _refuse_other_declaration(view: TableView, was: dict[str, Any], now: dict[str, Any], mode: History) -> None:
    changed = {name for name in now if was.get(name) != now[name]}
    if mode.retrack == "from_now":
        changed -= _RETRACKED
    if changed:
        said = "; ".join(f"`{name}` was `{was.get(name)}`, is `{now[name]}`" for name in now if name in changed)
        remedy = ', or declare `retrack="from_now"` to track these from now on' if changed <= _RETRACKED else ""
        raise ConfigError(
            f"the history `{view.uri}` was made with another declaration: {said}. What was applied under the old one "
            "would mean something else. Nothing was written; keep it, or make the history anew under the other one "
            f"with `rebuild`{remedy}"
        )


def _name(ticket: Ticket) -> str:
    return f"{ticket.transactions[APP_ID]:020d}-{ticket.write_id}.parquet"


def _names(view: TableView, transaction: int) -> list[str]:
    """Manifests written for a transaction version."""
    return [name for name in _all_names(view) if name.startswith(f"{transaction:020d}-")]


def _all_names(view: TableView) -> list[str]:
    if is_local(view.uri):
        return [path.name for path in Path(view.uri, FOLDER).glob("*.parquet")]
    found = _handler(view).get_file_info_selector(FileSelector(FOLDER, allow_not_found=True))
    return [entry.base_name for entry in found]


def _delete(view: TableView, names: Sequence[str]) -> None:
    for name in names:
        if is_local(view.uri):
            Path(view.uri, FOLDER, name).unlink(missing_ok=True)
        else:
            _handler(view).delete_file(f"{FOLDER}/{name}")


def _handler(view: TableView) -> DeltaStorageHandler:
    return DeltaStorageHandler(view.uri, dict(view.storage_options))


def _write(view: TableView, frame: pl.DataFrame, name: str) -> None:
    with writing(view.uri):
        frame.write_parquet(f"{view.uri}/{FOLDER}/{name}", storage_options=view.polars_options)


def _scan(view: TableView, name: str) -> pl.LazyFrame:
    return pl.scan_parquet(f"{view.uri}/{FOLDER}/{name}", glob=False, storage_options=view.polars_options)


def _make_folder(view: TableView) -> None:
    if is_local(view.uri):
        with writing(view.uri):
            Path(view.uri, FOLDER).mkdir(parents=True, exist_ok=True)
