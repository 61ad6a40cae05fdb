"""What there is to say about a table without reading its rows, and which tables lie below a folder."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deltalake.exceptions import DeltaError
from deltalake.exceptions import TableNotFoundError as NoSuchFolder
from deltalake.fs import DeltaStorageHandler
from deltalake.schema import ArrayType, MapType, StructType
from pyarrow.fs import FileSelector, FileType

from fuse_dagster.core.errors import NotThereError, TableNotFoundError, TableStateError, first_line
from fuse_dagster.core.store_failures import store_error
from fuse_dagster.engines.local.addresses import is_local, normal_uri
from fuse_dagster.tables.commit import WRITE_ID
from fuse_dagster.tables.maintaining.history import is_history
from fuse_dagster.tables.view import TableView, open_view

_LOG = "_delta_log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A table at its newest version.

    Attributes:
        uri: Where it lies.
        version: Delta version.
        rows: Rows, by the log's statistics; None where a file has none.
        files: Data files.
        bytes: Bytes of these files.
        is_history: Whether a history was written to it.
        partition_columns: Columns that it is physically partitioned by.
        changed_at: When the newest version was committed, UTC.
        columns: Name, type, whether null is allowed, and comment of each column.
        properties: Table properties.
    """

    uri: str
    version: int
    rows: int | None
    files: int
    bytes: int
    is_history: bool
    partition_columns: tuple[str, ...]
    changed_at: dt.datetime | None
    columns: tuple[dict[str, Any], ...]
    properties: Mapping[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One version in the log of a table.

    Attributes:
        version: Delta version.
        committed_at: UTC; None where the log does not say.
        operation: What the log calls it.
        is_ours: Whether fuse_dagster committed it.
        by: The program that did.
        figures: What the committing program counted.
    """

    version: int
    committed_at: dt.datetime | None
    operation: str
    is_ours: bool
    by: str
    figures: Mapping[str, Any]


def look(table: str, storage_options: Mapping[str, str]) -> Seen:
    """Say what a table is.

    Args:
        table: URI or path.
        storage_options: As delta-rs takes them.

    Raises:
        TableNotFoundError: There is no table.
        TableStateError: It is there, but can't be opened.
    """
    view = _open(table, storage_options)
    files, delta = view.files(), view.table
    known = files["num_records"].null_count() == 0
    metadata = delta.metadata()
    return Seen(
        uri=view.uri,
        version=view.version,
        rows=int(files["num_records"].sum()) if known else None,
        files=files.height,
        bytes=int(files["size_bytes"].sum()),
        is_history=is_history(view),
        partition_columns=tuple(metadata.partition_columns),
        changed_at=next((commit.committed_at for commit in _commits(view, 1)), None),
        columns=tuple(
            {
                "name": column.name,
                "type": _type(column.type),
                "nullable": column.nullable,
                "comment": column.metadata.get("comment"),
            }
            for column in delta.schema().fields
        ),
        properties=dict(sorted(metadata.configuration.items())),
    )


def commits(table: str, storage_options: Mapping[str, str], *, limit: int | None = None) -> list[Commit]:
    """The versions that the log of a table knows, newest first.

    What an operation was asked for is left out, because predicates hold values of the data.

    Args:
        table: URI or path.
        storage_options: As delta-rs takes them.
        limit: How many at the most.

    Raises:
        TableNotFoundError: There is no table.
        TableStateError: It is there, but can't be opened.
    """
    return list(_commits(_open(table, storage_options), limit))


def tables_below(folder: str, storage_options: Mapping[str, str]) -> Iterator[str]:
    """Paths or URIs of the Delta tables below a folder, sorted; nothing inside a table is looked at.

    Args:
        folder: URI or path.
        storage_options: As delta-rs takes them.

    Raises:
        NotThereError: There is no such folder.
        StoreError: The store refuses; or `StoreUnavailableError`, where it can't be reached.
        TableStateError: It can't be listed.
    """
    root = normal_uri(folder)
    try:
        handler = DeltaStorageHandler(root, dict(storage_options))
        for path in _walk(handler, ""):
            yield f"{root}/{path}" if path else root
    except NoSuchFolder as error:
        msg = f"There is no folder `{root}`, or this process may not read it. Correct the path."
        raise NotThereError(msg) from error
    except (DeltaError, OSError, ValueError) as error:
        refused = None if is_local(root) else store_error(error, root)
        if refused is not None:
            raise refused from error
        msg = f"`{root}` can't be listed: {first_line(error)}. Correct the path, or let this process read there."
        raise TableStateError(msg) from error


def _walk(handler: DeltaStorageHandler, folder: str) -> Iterator[str]:
    found = handler.get_file_info_selector(FileSelector(folder, allow_not_found=True))
    folders = sorted(one.path.strip("/") for one in found if one.type == FileType.Directory)
    names = {path.rpartition("/")[2] for path in folders}
    if _LOG in names:
        yield folder
        return
    for path in folders:
        if not path.rpartition("/")[2].startswith((".", "_")):
            yield from _walk(handler, path)


def _open(table: str, storage_options: Mapping[str, str]) -> TableView:
    view = open_view(table, storage_options)
    if not view.exists:
        msg = (
            f"There is no Delta table at `{view.uri}`. Correct the path; `fuse tables list` shows those below a folder."
        )
        raise TableNotFoundError(msg)
    return view


def _commits(view: TableView, limit: int | None) -> Iterator[Commit]:
    for entry in view.table.history(limit):
        mode = (entry.get("operationParameters") or {}).get("mode")
        operation = str(entry.get("operation") or "unknown")
        stamp = entry.get("timestamp")
        yield Commit(
            version=int(entry["version"]),
            committed_at=None if stamp is None else dt.datetime.fromtimestamp(int(stamp) / 1000, tz=dt.UTC),
            operation=f"{operation} ({mode})" if mode and operation == "WRITE" else operation,
            is_ours=bool(entry.get(WRITE_ID)),
            by=str(entry.get("engineInfo") or entry.get("clientVersion") or ""),
            figures=entry.get("operationMetrics") or {},
        )


def _type(dtype: Any) -> str:
    if isinstance(dtype, ArrayType):
        return f"array<{_type(dtype.element_type)}>"
    if isinstance(dtype, MapType):
        return f"map<{_type(dtype.key_type)}, {_type(dtype.value_type)}>"
    if isinstance(dtype, StructType):
        return f"struct<{', '.join(f'{field.name}: {_type(field.type)}' for field in dtype.fields)}>"
    return str(dtype.type)
