"""Reading a Delta table lazily, at a version or a time, with errors that say what is there instead."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from deltalake.exceptions import TableNotFoundError as NoSuchTable

from fuse_dagster.core.asking_again import ask_again
from fuse_dagster.core.errors import ConfigError, FuseError, TableNotFoundError, TableStateError, first_line
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.core.store_failures import store_error
from fuse_dagster.engines.local.addresses import polars_options, refuse_addresses_of_spark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PATIENCE = 10.0
"""Seconds within which a log is read again whose reading broke off; what delta-rs tries again itself is its matter."""


def scan(
    table: str | Path,
    *,
    columns: Sequence[str] | None = None,
    version: int | None = None,
    timestamp: datetime | date | str | None = None,
    where: pl.Expr | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> pl.LazyFrame:
    """Read a Delta table as a lazy frame, pinned to one version of it.

    Files written before a column was added read as null in it, and rows under a deletion vector are left out.

    Args:
        table: URI or path of the table.
        columns: The columns to read, in this order; all by default.
        version: Delta version to read; the newest by default.
        timestamp: Read the version that was current then: an aware datetime, a date (midnight UTC) or either
            as ISO text. Not together with `version`.
        where: Predicate on the table's columns, pushed down to the files.
        storage_options: What delta-rs needs to reach the storage.

    Returns:
        A lazy frame; nothing but the log has been read yet.

    Raises:
        TableNotFoundError: There is no Delta table at `table`.
        TableStateError: It is there, but can't be opened, or the version asked for has expired.
        StoreError, StoreUnavailableError: The store refuses, or can't be reached.
        ConfigError: An unknown column, a version that does not exist yet, or a naive timestamp.
    """
    opened = open_table(table, version=version, timestamp=timestamp, storage_options=storage_options)
    try:
        frame = scan_opened(opened, storage_options)
        frame.collect_schema()
    except Exception as error:  # reader features surface as many types; all mean that the table can't be read
        msg = f"The Delta table at `{table}` can't be read: {error}"
        raise store_error(error, str(table)) or TableStateError(msg) from error
    return choose(frame if where is None else frame.filter(where), columns, of=f"The Delta table at `{table}`")


def choose(frame: pl.LazyFrame, columns: Sequence[str] | None, *, of: str) -> pl.LazyFrame:
    """Narrow a frame to some columns, in this order; None keeps all.

    Args:
        frame: The rows.
        columns: Names of its columns.
        of: What the frame is, to begin a message with.

    Raises:
        ConfigError: An unknown column.
    """
    if columns is None:
        return frame
    names = frame.collect_schema().names()
    for name in columns:
        if name not in names:
            msg = f"{of} has no column `{name}`. {did_you_mean(name, names)}"
            raise ConfigError(msg)
    return frame.select(columns)


def scan_opened(table: DeltaTable, storage_options: Mapping[str, str] | None) -> pl.LazyFrame:
    """Read an opened table lazily, at the version it was opened at.

    Args:
        table: The opened table.
        storage_options: What it was opened with.
    """
    # polars takes the quoted paths that delta-rs gives for folders with spaces or accents literally, and a folder
    # named `a=b` as a partition. Arrow's reader does neither, but it knows no deletion vectors.
    quoted = bool(set(table.table_uri) & {"%", "="}) or _has_quoted_files(table)
    return pl.scan_delta(table, use_pyarrow=quoted, storage_options=polars_options(storage_options or {}))


def _has_quoted_files(table: DeltaTable) -> bool:
    """Whether an object lies elsewhere than delta-rs says: Spark names those of partitions `day=a b/...`, unquoted."""
    if table.table_uri.startswith("file:") or "://" not in table.table_uri or not table.metadata().partition_columns:
        return False
    root = f"{table.table_uri.rstrip('/')}/"
    given = {uri.removeprefix(root) for uri in table.file_uris() if "%" in uri}
    if not given:
        return False
    paths = pl.DataFrame(table.get_add_actions(flatten=True))["path"]
    return not given <= {unquote(path) for path in paths}


def open_table(
    table: str | Path,
    *,
    version: int | None = None,
    timestamp: datetime | date | str | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> DeltaTable:
    """Open a Delta table, telling absence from every other failure.

    Args:
        table: URI or path of the table.
        version: Delta version; the newest by default.
        timestamp: As in `scan`.
        storage_options: What delta-rs needs to reach the storage.

    Returns:
        The table, loaded at that version.

    Raises:
        TableNotFoundError: There is no Delta table at `table`.
        TableStateError: It is there, but can't be opened, or the version asked for has expired.
        StoreError: The store refuses: credentials, a bucket that is not there.
        StoreUnavailableError: The store can't be reached.
        ConfigError: A version that does not exist yet, a naive timestamp, or both given.
    """
    if version is not None and timestamp is not None:
        msg = f"Give `version` or `timestamp`, not both (got `{version}` and `{timestamp}`)."
        raise ConfigError(msg)
    refuse_addresses_of_spark(table)
    options = dict(storage_options) if storage_options else None
    try:
        newest = ask_again(lambda: DeltaTable(str(table), storage_options=options), seconds=_PATIENCE)
    except NoSuchTable as error:
        raise _absent(table, error) from error
    except (DeltaError, OSError, ValueError) as error:
        raise _damaged(table, error) from error
    if timestamp is not None:
        return _at_time(newest, table, to_moment(timestamp), options)
    if version is not None and version != newest.version():
        return _at_version(newest, table, version, options)
    return newest


def to_moment(value: datetime | date | str) -> datetime:
    """Read a point in time: an aware datetime, a date (midnight UTC), or either as ISO text.

    Raises:
        ConfigError: A naive datetime, or text that is no ISO date or time.
    """
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError as error:
            msg = f"`{value}` is no ISO date or time. Valid: `2026-01-31`, `2026-01-31T12:00:00Z`."
            raise ConfigError(msg) from error
        value = parsed.date() if len(value) <= len("2026-01-31") else parsed
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if value.tzinfo is None:
        msg = f"`{value.isoformat()}` has no time zone. Add one, as in `{value.isoformat()}Z`, or give a date."
        raise ConfigError(msg)
    return value.astimezone(UTC)


def _at_version(newest: DeltaTable, table: str | Path, version: int, options: dict[str, str] | None) -> DeltaTable:
    if not 0 <= version < newest.version():
        msg = f"The Delta table at `{table}` has no version `{version}`. Its newest is `{newest.version()}`."
        raise ConfigError(msg)
    opened = _readable(table, version, options)
    if opened is None:
        oldest = _oldest_readable(newest, table, options)
        msg = (
            f"Version `{version}` of the Delta table at `{table}` has expired: its log or files were "
            f"cleaned up. The oldest version left is `{oldest}`."
        )
        raise TableStateError(msg)
    return opened


def _at_time(newest: DeltaTable, table: str | Path, moment: datetime, options: dict[str, str] | None) -> DeltaTable:
    commits = sorted((int(entry["timestamp"]), int(entry["version"])) for entry in newest.history())
    wanted = int(moment.timestamp() * 1000)
    known = [version for stamp, version in commits if stamp <= wanted]
    # delta-rs answers a time before the first commit with version 0, which did not exist then.
    if not known:
        stamp, version = commits[0]
        first = datetime.fromtimestamp(stamp / 1000, tz=UTC).isoformat()
        msg = (
            f"The Delta table at `{table}` holds nothing as early as `{moment.isoformat()}`. "
            f"The oldest version left is `{version}`, committed at `{first}`."
        )
        raise TableStateError(msg)
    if max(known) == newest.version():
        return newest
    return _at_version(newest, table, max(known), options)


def _readable(table: str | Path, version: int, options: dict[str, str] | None) -> DeltaTable | None:
    try:
        opened = DeltaTable(str(table), version=version, storage_options=options)
    except DeltaError:
        return None  # the caller says so, with the oldest version left
    # The log may outlive the files that vacuum removed. Looking is cheap only on a local disk.
    if not opened.table_uri.startswith("file://"):
        return opened
    folder = Path(unquote(opened.table_uri.removeprefix("file://")))
    paths = pl.DataFrame(opened.get_add_actions())["path"]
    return opened if all((folder / unquote(path)).exists() for path in paths) else None


def _oldest_readable(newest: DeltaTable, table: str | Path, options: dict[str, str] | None) -> int:
    """Bisect: once a version has lost a file, every version before it has lost one too."""
    versions = sorted(int(entry["version"]) for entry in newest.history())
    low, high = 0, len(versions) - 1
    while low < high:
        middle = (low + high) // 2
        if _readable(table, versions[middle], options) is None:
            low = middle + 1
        else:
            high = middle
    return versions[low]


def _absent(table: str | Path, error: Exception) -> FuseError:
    # A log folder whose commits are gone reads as "no table"; writing there would orphan the data beside it.
    log = Path(str(table).removeprefix("file://")) / "_delta_log"
    if log.is_dir():
        return _damaged(table, error)
    msg = f"There is no Delta table at `{table}`. Materialize the asset that writes it, or correct the path."
    return TableNotFoundError(msg)


def _damaged(table: str | Path, error: Exception) -> FuseError:
    refused = store_error(error, str(table))
    if refused is not None:
        return refused
    reason = first_line(error)
    msg = f"The Delta table at `{table}` is there, but can't be opened: {reason}. Repair or restore its `_delta_log`."
    return TableStateError(msg)
