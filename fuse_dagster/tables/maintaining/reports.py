"""What maintenance did to a table, or would do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Compaction:
    """Small and overlapping files, merged.

    Attributes:
        version: Table version that it committed; None for a dry run, and where nothing was worth it.
        files_before: Data files of the table before.
        files_after: Data files after; of a dry run, an estimate.
        files_removed: Files that were merged, or would be.
        files_added: Files that came for them; of a dry run, an estimate.
        bytes_removed: Bytes of the files that were merged.
        bytes_added: Bytes of those that came; 0 for a dry run.
        rows: Rows that were written anew, or would be.
        seconds: Wall time.
    """

    version: int | None
    files_before: int
    files_after: int
    files_removed: int = 0
    files_added: int = 0
    bytes_removed: int = 0
    bytes_added: int = 0
    rows: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacuumed:
    """Files that no version within the retention needs.

    Attributes:
        dry_run: Whether they are still there.
        retention_hours: How long a file stays after it was removed from the table.
        files: Data files, as the table names them.
        memory_files: Files of a history's memory, in `_fuse/`.
        bytes: Bytes of all of them.
        seconds: Wall time.
    """

    dry_run: bool
    retention_hours: float
    files: tuple[str, ...] = ()
    memory_files: tuple[str, ...] = ()
    bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpointed:
    """A checkpoint of the log, and old log entries removed.

    Attributes:
        version: Version of the checkpoint.
        log_files_removed: Log files that were older than the table keeps its log.
        log_bytes_removed: Bytes of these.
        seconds: Wall time.
    """

    version: int
    log_files_removed: int = 0
    log_bytes_removed: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceReport:
    """What `maintain` did to one table; a part that was left out is None.

    Attributes:
        uri: The table.
        compaction: What became of its files.
        vacuumed: What was removed, or would be.
        checkpointed: What became of its log.
        seconds: Wall time of all parts.
    """

    uri: str
    compaction: Compaction | None
    vacuumed: Vacuumed | None
    checkpointed: Checkpointed | None
    seconds: float
