"""One version of one table, opened: its columns, its data files with their statistics, and what it demands of a writer.

A write plans against a view and commits against the same view, so nothing can change in between unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import polars as pl
from deltalake import DeltaTable
from polars.exceptions import PolarsError

from fuse_dagster.core.errors import ConfigError, FuseError, TableNotFoundError, TableStateError, first_line
from fuse_dagster.core.store_failures import store_error
from fuse_dagster.engines.local.addresses import is_local, normal_uri, polars_options
from fuse_dagster.engines.local.reading import open_table, scan_opened

if TYPE_CHECKING:
    from fuse_dagster.tables.commit import Ticket

# A writer that swaps files by hand must keep these promises itself, so it only meets tables that ask for no others.
_KEPT = frozenset({"timestampNtz", "appendOnly", "invariants", "checkConstraints"})
_LEGACY_WRITER = 2
_UNSAFE = frozenset("%[]^|\\")


@dataclass(frozen=True, slots=True)
class TableView:
    """A table at one version, or the absence of one.

    Attributes:
        uri: Where the table lies.
        storage_options: Credentials and settings of the store, as delta-rs takes them.
        delta: The opened table; None where there is none yet.
        before_commit: Called before a commit is tried, where given.
        remember: Takes the ticket of a commit that is about to be tried, where given, writes what the table remembers
            with it, and gives the ticket with the transactions of that.
    """

    uri: str
    storage_options: Mapping[str, str] = field(repr=False)
    delta: DeltaTable | None
    before_commit: Callable[[], None] | None = None
    remember: Callable[[Ticket], Ticket] | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a table."""
        return self.delta is not None

    @property
    def version(self) -> int:
        """Version of the view; -1 where there is no table yet."""
        return -1 if self.delta is None else self.delta.version()

    @property
    def table(self) -> DeltaTable:
        """The opened table.

        Raises:
            TableStateError: There is none; callers ask `exists` first.
        """
        if self.delta is None:
            raise TableStateError(f"no table at `{self.uri}`")
        return self.delta

    def schema(self) -> dict[str, pl.DataType]:
        """Column names and polars types, in the table's order; empty where there is no table."""
        return {} if self.delta is None else dict(scan_opened(self.delta, self.storage_options).collect_schema())

    def files(self) -> pl.DataFrame:
        """Data files: `path`, `num_records`, `size_bytes`, and per column `min.`, `max.`, `null_count.` where known."""
        if self.delta is None:
            return pl.DataFrame(schema={"path": pl.String, "num_records": pl.Int64, "size_bytes": pl.Int64})
        return pl.DataFrame(self.delta.get_add_actions(flatten=True))

    def count_rows(self) -> int:
        """Rows of the table, from statistics where every file has them."""
        files = self.files()
        if files["num_records"].null_count() == 0:
            return int(files["num_records"].sum())
        return int(scan_opened(self.table, self.storage_options).select(pl.len()).collect().item())

    @property
    def polars_options(self) -> dict[str, Any] | None:
        """The storage options as polars takes them."""
        return polars_options(self.storage_options)

    def locate(self, path: str) -> str:
        """Full address of a data file, from its path in the log."""
        return f"{self.uri}/{unquote(path)}"


def open_view(table: str | Path, storage_options: Mapping[str, str] | None = None) -> TableView:
    """Open the newest version of a table; an absent one is an empty view.

    Args:
        table: URI or path of the table.
        storage_options: As delta-rs takes them.

    Raises:
        TableStateError: Something is there, but it cannot be opened as a Delta table.
        ConfigError: The path holds a character that delta-rs takes for another.
    """
    uri, options = normal_uri(table), dict(storage_options or {})
    if is_local(uri) and _UNSAFE & set(uri):
        raise ConfigError(
            f"`{uri}` holds {sorted(_UNSAFE & set(uri))}, which delta-rs reads as something else; choose a path without"
        )
    try:
        view = TableView(uri, options, open_table(uri, storage_options=options))
    except TableNotFoundError:
        return TableView(uri, options, None)
    _refuse_empty_entry(view)
    return view


def _refuse_empty_entry(view: TableView) -> None:
    """A machine that lost its power may leave a log entry without content, which delta-rs takes for a commit."""
    entry = Path(view.uri, "_delta_log", f"{view.version:020d}.json")
    if is_local(view.uri) and entry.exists() and not entry.stat().st_size:
        raise TableStateError(
            f"the newest log entry of `{view.uri}` (`_delta_log/{entry.name}`) is empty, which is what a crash of the "
            "machine leaves: its commit is lost. Nothing was written; restore the entry from a backup, or remove it "
            "and write its batch again"
        )


@contextmanager
def writing(uri: str) -> Iterator[None]:
    """Files beside a table, before the commit that names them: what goes wrong here leaves the table as it was.

    Raises:
        TableStateError: The disk takes no more, is gone, or does not let this process write.
        StoreError, StoreUnavailableError: The object store refuses, or does not answer.
    """
    try:
        yield
    except (OSError, PolarsError) as error:
        if isinstance(error, FuseError):
            raise
        raise store_error(error, uri) or TableStateError(
            f"`{uri}` cannot be written: {first_line(error)}. Nothing was committed, and the table is as it was; make "
            "room for it, or let this process write there, then run again"
        ) from error


def refuse_unsupported(view: TableView) -> None:
    """Refuse tables whose promises a file swap cannot keep, before anything is read or written.

    Raises:
        TableStateError: The table is partitioned physically, append-only, has constraints, generated or identity
            columns, deletion vectors, column mapping, or a writer feature unknown here.
    """
    reasons = unkept_promises(view)
    if reasons:
        raise TableStateError(
            f"`{view.uri}` has {'; '.join(reasons)}: upsert, history and overwriting by keys or predicate do "
            "not write such tables, because rows written past these promises would break them silently. Write to a "
            "table without them"
        )


def unkept_promises(view: TableView) -> list[str]:
    """What a table asks of its writers that files written by ourselves would not keep; nothing for most tables."""
    if not view.exists:
        return []
    protocol, metadata = view.table.protocol(), view.table.metadata()
    features = {*(protocol.writer_features or ()), *(protocol.reader_features or ())}
    reasons = [f"the table feature `{name}`" for name in sorted(features - _KEPT)]
    if protocol.min_writer_version > _LEGACY_WRITER and not features:
        reasons.append(f"writer version {protocol.min_writer_version}")
    if metadata.partition_columns:
        reasons.append(f"physical partitions by {metadata.partition_columns}")
    reasons.extend(_demanding_properties(metadata.configuration))
    reasons.extend(
        f"column `{field.name}` with `{key}`"
        for field in view.table.schema().fields
        for key in field.metadata
        if key.startswith(("delta.generation", "delta.identity", "delta.invariants", "delta.columnMapping"))
    )
    return reasons


def _demanding_properties(configuration: Mapping[str, str | None]) -> list[str]:
    found = [f"the constraint `{key}`" for key in configuration if key.startswith("delta.constraints.")]
    switches = ("delta.appendOnly", "delta.enableChangeDataFeed")
    return found + [f"`{key}`" for key in switches if str(configuration.get(key)).lower() == "true"]
