"""Vacuum: files that no version within the retention needs, those of a history's memory among them."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from deltalake.fs import DeltaStorageHandler
from polars.exceptions import PolarsError
from pyarrow.fs import FileSelector

from fuse_dagster.core.errors import ConfigError, TableNotFoundError, TableStateError, first_line
from fuse_dagster.core.store_failures import store_error
from fuse_dagster.tables.commit import APP_ID, WRITE_ID
from fuse_dagster.tables.history.memory.store import FOLDER, read_manifest
from fuse_dagster.tables.maintaining.history import catch_up, is_history
from fuse_dagster.tables.maintaining.reports import Vacuumed
from fuse_dagster.tables.view import TableView, open_view

DEFAULT_RETENTION = dt.timedelta(days=7)
"""How long Delta keeps a removed file where the table does not say."""

_PROPERTY = "delta.deletedFileRetentionDuration"
_INTERVAL = re.compile(r"(?:interval\s+)?(\d+)\s+(millisecond|second|minute|hour|day|week)s?", re.IGNORECASE)
_MANIFEST = re.compile(r"(\d{20})-([0-9a-f]{32})\.parquet")
_SEGMENT = re.compile(r"facts-(\d{20})-([0-9a-f]{32})\.parquet")


def vacuum(
    table: str | Path,
    *,
    retention_hours: int | None = None,
    dry_run: bool = True,
    storage_options: Mapping[str, str] | None = None,
) -> Vacuumed:
    """Remove files that the table gave up longer ago than the retention, and files that no commit ever named.

    A shorter retention than the table's is refused, always: whoever reads an older version, and whoever is writing at
    that moment, would lose files. To keep less, say so for the table: `delta.deletedFileRetentionDuration`.

    Of a history's memory (`_fuse/`) go the files that are older than the retention, belong to no commit of the log, and
    that no manifest left names. What the newest version remembers is never touched.

    Args:
        table: URI or path of the table.
        retention_hours: How long files stay; by default as long as the table says, which is 7 days unless it does.
        dry_run: Only list them. The default, because what is removed is gone.
        storage_options: As delta-rs takes them.

    Raises:
        TableNotFoundError: There is no table.
        ConfigError: The retention is shorter than the table's.
        TableStateError: The table or its memory cannot be read, or files cannot be removed.

    Example:
        >>> import polars as pl, tempfile
        >>> from fuse_dagster.tables import Overwrite, vacuum, write
        >>> planes = tempfile.mkdtemp() + "/planes"
        >>> for seats in (55, 182):
        ...     written = write(planes, pl.DataFrame({"seats": [seats]}), Overwrite())
        >>> vacuum(planes).files  # the file of the first write is still young
        ()
    """
    started = time.perf_counter()
    view = open_view(table, storage_options)
    if not view.exists:
        raise TableNotFoundError(f"there is no Delta table at `{view.uri}`; correct the path")
    keep = _retention(view, retention_hours)
    since = dt.datetime.now(tz=dt.UTC) - keep
    # What is left of the memory is decided before the log grows by what vacuum itself commits.
    forgotten = _forgotten(view, since) if is_history(view) else []
    files = _vacuum(view, retention_hours, dry_run=True)
    size = sum(one.size for one in forgotten) + _size(view, files)
    if not dry_run:
        files = _vacuum(view, retention_hours, dry_run=False)
        _delete(view, forgotten)
        catch_up(open_view(view.uri, view.storage_options))
    return Vacuumed(
        dry_run=dry_run,
        retention_hours=keep / dt.timedelta(hours=1),
        files=tuple(sorted(files)),
        memory_files=tuple(sorted(f"{FOLDER}/{one.name}" for one in forgotten)),
        bytes=size,
        seconds=time.perf_counter() - started,
    )


def duration(view: TableView, name: str, default: dt.timedelta) -> dt.timedelta:
    """A property of a table that is an interval.

    Raises:
        TableStateError: It is none that delta-rs knows.
    """
    said = (view.table.metadata().configuration or {}).get(name)
    if said is None:
        return default
    match = _INTERVAL.fullmatch(said.strip())
    if match is None:
        raise TableStateError(
            f"`{name}` of `{view.uri}` is `{said}`, which is no interval; set it to one such as `interval 7 days`"
        )
    return dt.timedelta(**{f"{match[2].lower()}s": int(match[1])})


def _retention(view: TableView, hours: int | None) -> dt.timedelta:
    least = duration(view, _PROPERTY, DEFAULT_RETENTION)
    if hours is None:
        return least
    if dt.timedelta(hours=hours) < least:
        raise ConfigError(
            f"`retention_hours` is `{hours}`, but `{view.uri}` keeps removed files for "
            f"{least / dt.timedelta(hours=1):g} hours: readers of older versions, and writers that are at work, would "
            f"lose files. Nothing was removed; give at least that, or set the table's `{_PROPERTY}`"
        )
    return dt.timedelta(hours=hours)


def _vacuum(view: TableView, hours: int | None, *, dry_run: bool) -> list[str]:
    try:
        # Only a full one finds what a crash left behind; it keeps what the log says was removed lately.
        found = view.table.vacuum(retention_hours=hours, dry_run=True, full=True)
        _refuse_nested(view, found)
        return found if dry_run else view.table.vacuum(retention_hours=hours, dry_run=False, full=True)
    except (DeltaError, OSError) as error:
        raise TableStateError(f"`{view.uri}` cannot be vacuumed: {first_line(error)}") from error


def _refuse_nested(view: TableView, found: list[str]) -> None:
    """A table inside the folder of another looks like left-over files to a vacuum, which would delete it."""
    folders = {str(parent) for path in found for parent in PurePosixPath(unquote(path)).parents} - {"."}
    options = dict(view.storage_options) or None
    inner = sorted(f for f in folders if DeltaTable.is_deltatable(f"{view.uri}/{f}", storage_options=options))
    if inner:
        raise TableStateError(
            f"inside of the folder of `{view.uri}` lie other tables: {inner}; a vacuum would delete their files. "
            "Nothing was removed; move them out first"
        )


@dataclass(frozen=True, slots=True)
class _Remembered:
    """A file of a memory.

    Attributes:
        name: Below `_fuse/`.
        transaction: Version of the transaction that it was written for.
        write_id: Of the write.
        is_manifest: Whether it is a manifest, or else a segment of facts.
        size: Bytes.
        modified: When it was written, UTC.
    """

    name: str
    transaction: int
    write_id: str
    is_manifest: bool
    size: int
    modified: dt.datetime


def _forgotten(view: TableView, since: dt.datetime) -> list[_Remembered]:
    """Files of the memory that nothing within reach needs.

    Args:
        view: The opened history.
        since: What was written later stays: its commit may be on its way.
    """
    files = list(_listed(view))
    newest = view.table.transaction_version(APP_ID) or 0
    written = {str(entry.get(WRITE_ID) or entry.get("userMetadata")) for entry in view.table.history()}
    reachable = [one.name for one in files if one.is_manifest and one.write_id in written]
    old = [one for one in files if one.modified < since and one.transaction <= newest]
    manifests = [one for one in old if one.is_manifest and one.write_id not in written and one.transaction != newest]
    segments = [one for one in old if not one.is_manifest]
    if segments:
        # A commit on its way was planned on the newest memory, so it names what that names, and what is young.
        named = {*read_manifest(view, newest).segments, *_named(view, reachable)}
        segments = [one for one in segments if one.name not in named]
    return [*manifests, *segments]


def _named(view: TableView, manifests: Iterable[str]) -> Iterable[str]:
    """Segments that manifests name, each read by its own name: a crash may have left half a file beside one."""
    for name in manifests:
        try:
            found = pl.read_parquet(f"{view.uri}/{FOLDER}/{name}", storage_options=view.polars_options)
            yield from json.loads(found["manifest"][0])["segments"]
        except (OSError, ValueError, KeyError, PolarsError) as error:
            raise store_error(error, view.uri) or TableStateError(
                f"`{FOLDER}/{name}` of `{view.uri}` cannot be read: {first_line(error)}. Nothing was removed, because "
                "it may name files that a restored version needs; restore it from a backup"
            ) from error


def _listed(view: TableView) -> Iterable[_Remembered]:
    """The files of a memory; others that lie beside them are nobody's business here."""
    for entry in _handler(view).get_file_info_selector(FileSelector(FOLDER, allow_not_found=True)):
        for pattern in (_MANIFEST, _SEGMENT):
            match = pattern.fullmatch(entry.base_name)
            if match is not None:
                is_manifest = pattern is _MANIFEST
                yield _Remembered(
                    entry.base_name, int(match[1]), match[2], is_manifest, int(entry.size), _utc(entry.mtime)
                )


def _utc(moment: dt.datetime) -> dt.datetime:
    return moment.astimezone(dt.UTC) if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


def _delete(view: TableView, files: Iterable[_Remembered]) -> None:
    handler = _handler(view)
    for one in files:
        try:
            handler.delete_file(f"{FOLDER}/{one.name}")
        except FileNotFoundError:
            continue  # another vacuum was faster
        except OSError as error:
            raise TableStateError(
                f"`{FOLDER}/{one.name}` of `{view.uri}` cannot be removed: {first_line(error)}; what is left is "
                "removed by the next vacuum"
            ) from error


def _size(view: TableView, paths: Iterable[str]) -> int:
    found = _handler(view).get_file_info(list(paths))
    return sum(int(info.size or 0) for info in found)


def _handler(view: TableView) -> DeltaStorageHandler:
    return DeltaStorageHandler(view.uri, dict(view.storage_options))
