"""Reading a Delta table with Spark, at a version or a time, with the errors of the local engine."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from fuse_dagster.core.errors import ConfigError, FuseError, TableNotFoundError, TableStateError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.engines.local.reading import to_moment
from fuse_dagster.engines.spark.failures import condition, failures, refusal, why
from fuse_dagster.engines.spark.names import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column, DataFrame, SparkSession

# Delta's names of what means that a version was there, and is no more.
_EXPIRED = {
    "DELTA_LOG_FILE_NOT_FOUND",
    "DELTA_NO_RECREATABLE_HISTORY_FOUND",
    "DELTA_TRUNCATED_TRANSACTION_LOG",
    "DELTA_UNSUPPORTED_TIME_TRAVEL_BEYOND_DELETED_FILE_RETENTION_DURATION",
    "DELTA_VERSION_NOT_FOUND",
}
# And of what means that there is no table.
_ABSENT = {
    "DELTA_MISSING_DELTA_TABLE",
    "DELTA_PATH_DOES_NOT_EXIST",
    "DELTA_TABLE_NOT_FOUND",
    "DELTA_TABLE_ONLY_OPERATION",
    "PATH_NOT_FOUND",
    "TABLE_OR_VIEW_NOT_FOUND",
}


def scan(
    session: SparkSession,
    table: str | Path,
    *,
    columns: Sequence[str] | None = None,
    version: int | None = None,
    timestamp: datetime | date | str | None = None,
    where: Column | str | None = None,
) -> DataFrame:
    """Read a Delta table as a Spark DataFrame, pinned to one version of it.

    Args:
        session: The session that reads. It must reach the storage: credentials are among its settings.
        table: URI or path of the table.
        columns: The columns to read, in this order; all by default.
        version: Delta version to read; the newest by default.
        timestamp: Read the version that was current then: an aware datetime, a date (midnight UTC) or either
            as ISO text. Not together with `version`.
        where: Predicate on the table's columns, as a Column or Spark SQL.

    Returns:
        A DataFrame; nothing but the log has been read yet.

    Raises:
        TableNotFoundError: There is no Delta table at `table`.
        TableStateError: It is there, but can't be opened, or the version asked for has expired.
        StoreError, StoreUnavailableError: The store refuses, or can't be reached.
        ConfigError: An unknown column, a version that does not exist yet, or a naive timestamp.
    """
    if version is not None and timestamp is not None:
        msg = f"Give `version` or `timestamp`, not both (got `{version}` and `{timestamp}`)."
        raise ConfigError(msg)
    # The whole log is read only where a time has to be looked up in it.
    commits = _commits(session, table, newest_only=timestamp is None)
    newest = max(commits)
    wanted = newest
    if timestamp is not None:
        wanted = _at(table, commits, to_moment(timestamp))
    elif version is not None:
        wanted = version
        if not 0 <= version <= newest:
            msg = f"The Delta table at `{table}` has no version `{version}`. Its newest is `{newest}`."
            raise ConfigError(msg)
    frame = _readable(session, table, wanted)
    if frame is None:
        if wanted == newest:
            msg = f"The Delta table at `{table}` is there, but files of it are gone. Restore them, or an older version."
            raise TableStateError(msg)
        oldest = _oldest(session, table, sorted(_commits(session, table)))
        msg = (
            f"Version `{wanted}` of the Delta table at `{table}` has expired: its log or files were cleaned up, or may "
            f"be by now. The oldest version left is `{oldest}`."
        )
        raise TableStateError(msg)
    narrowed = frame if where is None else frame.filter(where)
    return _choose(narrowed, columns, table)


def _choose(frame: DataFrame, columns: Sequence[str] | None, table: str | Path) -> DataFrame:
    if columns is None:
        return frame
    for name in columns:
        if name not in frame.columns:  # Spark itself would take another case, and dots for fields
            msg = f"The Delta table at `{table}` has no column `{name}`. {did_you_mean(name, frame.columns)}"
            raise ConfigError(msg)
    return frame.select(*(quoted(name) for name in columns))


def _commits(session: SparkSession, table: str | Path, *, newest_only: bool = False) -> dict[int, datetime]:
    """Version -> when it was committed, for all that the log still has."""
    try:
        limit = " LIMIT 1" if newest_only else ""
        history = session.sql(f"DESCRIBE HISTORY delta.{quoted(_absolute(table))}{limit}")
        rows = history.selectExpr("version", "unix_micros(timestamp) AS micros").collect()
    except failures() as error:
        raise _unopened(table, error) from error
    # As numbers: Python would get the timestamps in the zone of this machine.
    return {row["version"]: datetime.fromtimestamp(row["micros"] / 1_000_000, tz=UTC) for row in rows}


def _at(table: str | Path, commits: dict[int, datetime], moment: datetime) -> int:
    known = [version for version, stamp in commits.items() if stamp <= moment]
    if known:
        return max(known)
    oldest = min(commits)
    msg = (
        f"The Delta table at `{table}` holds nothing as early as `{moment.isoformat()}`. "
        f"The oldest version left is `{oldest}`, committed at `{commits[oldest].isoformat()}`."
    )
    raise TableStateError(msg)


def _readable(session: SparkSession, table: str | Path, version: int) -> DataFrame | None:
    """The table at a version that was there, or None where it has expired: its log or files are gone.

    Raises:
        TableStateError: It can't be opened for another reason.
    """
    try:
        frame = session.read.format("delta").option("versionAsOf", version).load(_absolute(table))
        frame.schema  # noqa: B018 - over Spark Connect, this is what opens the table
        files = frame.inputFiles() if _is_local(table) else []
    except failures() as error:
        if condition(error) in _EXPIRED:
            return None  # the caller says so, with the oldest version left
        raise _unopened(table, error) from error
    # The log may outlive the files that vacuum removed. Looking is cheap only on a local disk.
    return frame if all(Path(unquote(urlsplit(file).path)).exists() for file in files) else None


def _oldest(session: SparkSession, table: str | Path, versions: list[int]) -> int:
    """Bisect: once a version has lost a file, every version before it has lost one too."""
    low, high = 0, len(versions) - 1
    while low < high:
        middle = (low + high) // 2
        if _readable(session, table, versions[middle]) is None:
            low = middle + 1
        else:
            high = middle
    return versions[low]


def _absolute(table: str | Path) -> str:
    # Spark's own current folder is the one in which its JVM started, which may have been another.
    return str(table) if urlsplit(str(table)).scheme else os.path.abspath(table)  # noqa: PTH100 - takes a text too


def _is_local(table: str | Path) -> bool:
    return urlsplit(str(table)).scheme in {"", "file"}


def _unopened(table: str | Path, error: Exception) -> FuseError:
    refused = refusal(error, table)
    if refused is not None:
        return refused
    log = Path(urlsplit(str(table)).path) / "_delta_log"
    if condition(error) in _ABSENT and not (_is_local(table) and log.is_dir()):
        msg = f"There is no Delta table at `{table}`. Materialize the asset that writes it, or correct the path."
        return TableNotFoundError(msg)
    reason = why(error).rstrip(".")
    msg = f"The Delta table at `{table}` is there, but can't be opened: {reason}. Repair or restore its `_delta_log`."
    return TableStateError(msg)
