"""The memory of a load: what it saves in the one commit of its rows, and how it is found again.

It is a file beside the table, written *before* the commit and named by the version of the commit's own transaction and
by its write id. The commit carries the transaction, so that both hold or neither; of two loads that start from one
memory Delta lets one land.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from fuse_dagster.core.errors import TableStateError
from fuse_dagster.core.store_failures import store_error, store_errors
from fuse_dagster.engines.local.addresses import normal_uri
from fuse_dagster.tables.commit import WRITE_ID
from fuse_dagster.tables.loads.files import folder, list_files, scan_file, write_file
from fuse_dagster.tables.view import TableView, open_view

FORMAT = 1
_APP_ID = "fuse_dagster.load:"
_CONTENT = "memo"


@dataclass(frozen=True, slots=True)
class Segment:
    """A file with ids that a load has brought.

    Attributes:
        file: Its name.
        rows: How many ids.
    """

    file: str
    rows: int


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a load remembers, as of its last commit.

    Attributes:
        name: Of the load.
        data: What it saved; None where it never landed.
        number: How many of its commits landed; 0 for none.
        version: Table version of the last one; -1 for none.
        saved: When that was, UTC.
        segments: Files with the ids that it has brought.
        retired: Files that the load of a number put others in place of.
    """

    name: str
    data: bytes | None = field(default=None, repr=False)
    number: int = 0
    version: int = -1
    saved: dt.datetime | None = None
    segments: tuple[Segment, ...] = ()
    retired: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memo:
    """What a load saves with its rows.

    Attributes:
        name: Of the load, as the identity of its source; loads of several names may share a table.
        data: What to remember in place of what was.
        after: What the load started from, as `read_memo` gave it; None for a load that never landed.
        entries: Ids that it brings, in a column `id`, and what else to tell of them. They come to those of earlier
            loads.
        afresh: Whether the ids of earlier loads are forgotten.
    """

    name: str
    data: bytes = field(repr=False)
    after: Remembered | None = None
    entries: pl.DataFrame | None = field(default=None, repr=False)
    afresh: bool = False

    @property
    def before(self) -> Remembered:
        """What was remembered."""
        return self.after or Remembered(self.name)

    @property
    def is_news(self) -> bool:
        """Whether there is anything to remember that is not remembered yet."""
        has_entries = self.entries is not None and not self.entries.is_empty()
        return has_entries or self.data != self.before.data or (self.afresh and bool(self.before.segments))


def read_memo(table: str | Path, name: str, *, storage_options: Mapping[str, str] | None = None) -> Remembered:
    """Read what a load of this name saved with its last commit.

    Args:
        table: URI or path of the table that took its rows.
        name: Of the load.
        storage_options: As delta-rs takes them.

    Returns:
        What it saved; of number 0 where no such load has landed.

    Raises:
        TableStateError: It is lost or damaged, or the table was restored to a version before it.

    Example:
        >>> import polars as pl, tempfile
        >>> from fuse_dagster.tables import Append, Memo, read_memo, write
        >>> orders = tempfile.mkdtemp() + "/orders"
        >>> saved = write(orders, pl.DataFrame({"id": [1]}), Append(), memo=Memo(name="shop", data=b"up to 1"))
        >>> read_memo(orders, "shop").data
        b'up to 1'
    """
    with store_errors(normal_uri(table)):
        view = open_view(table, storage_options)
        number = number_of(view, name)
        if number == 0:
            _refuse_lost_log(view, name)
            return Remembered(name)
        found = _read(view, name, number)
        _refuse_restored(view, found)
        return found


def forgotten_memo(table: str | Path, name: str, *, storage_options: Mapping[str, str] | None = None) -> Remembered:
    """Start anew, whatever was remembered: for a load that reads its source from the start, and replaces its rows.

    Args:
        table: URI or path of the table.
        name: Of the load.
        storage_options: As delta-rs takes them.
    """
    with store_errors(normal_uri(table)):
        return Remembered(name, number=number_of(open_view(table, storage_options), name))


def app_id(name: str) -> str:
    """What the transactions of a load are known by in the log."""
    return _APP_ID + name


def number_of(view: TableView, name: str) -> int:
    """How many commits of a load are in a table."""
    return (view.table.transaction_version(app_id(name)) or 0) if view.exists else 0


def memo_file(number: int, write_id: str) -> str:
    """What the memory of a commit is called."""
    return f"{number:020d}-{write_id}.parquet"


def save(view: TableView, remembered: Remembered, write_id: str) -> None:
    """Write the memory of a commit that is about to be made."""
    content = {
        "format": FORMAT,
        "name": remembered.name,
        "number": remembered.number,
        "version": remembered.version,
        "saved": dt.datetime.now(tz=dt.UTC).isoformat(),
        "segments": [[one.file, one.rows] for one in remembered.segments],
        "retired": dict(remembered.retired),
        "data": base64.b64encode(remembered.data or b"").decode(),
    }
    file = memo_file(remembered.number, write_id)
    write_file(view, remembered.name, file, pl.DataFrame({_CONTENT: [json.dumps(content)]}))


def _read(view: TableView, name: str, number: int) -> Remembered:
    try:
        raw = json.loads(scan_file(view, name, _landed(view, name, number)).collect()[_CONTENT].item())
    except (OSError, ValueError, PolarsError) as error:
        raise store_error(error, view.uri) or _gone(view, name, number) from error
    if raw.get("format") != FORMAT:
        raise TableStateError(
            f"what the load `{name}` of `{view.uri}` remembers has format {raw.get('format')}, this version knows "
            f"{FORMAT}; upgrade fuse-dagster"
        )
    return _parsed(raw)


def _parsed(raw: Mapping[str, Any]) -> Remembered:
    return Remembered(
        raw["name"],
        base64.b64decode(raw["data"]),
        raw["number"],
        raw["version"],
        dt.datetime.fromisoformat(raw["saved"]),
        tuple(Segment(file, rows) for file, rows in raw["segments"]),
        raw["retired"],
    )


def _landed(view: TableView, name: str, number: int) -> str:
    """The file whose commit landed; where killed or racing loads left theirs, the log says which."""
    files = [file for file in list_files(view, name) if file.startswith(f"{number:020d}-")]
    if len(files) > 1:
        written = {str(entry.get(WRITE_ID)) for entry in view.table.history()}
        files = [file for file in files if file.removesuffix(".parquet").rpartition("-")[2] in written]
    if len(files) != 1:
        raise _gone(view, name, number)
    return files[0]


def _gone(view: TableView, name: str, number: int) -> TableStateError:
    return TableStateError(
        f"`{view.uri}` holds what the load `{name}` brought, but not how far it came "
        f"(`{folder(name)}/{number:020d}-*.parquet` is gone or damaged, as in a clone of the table), so what follows "
        "can't be told from what is there. Nothing was read; load once with `full_refresh=True`, or copy the folder "
        "`_fuse` back from where the table came from"
    )


def _refuse_lost_log(view: TableView, name: str) -> None:
    """A first load that never landed leaves the memory of number 1; later ones had a commit once."""
    later = [file for file in list_files(view, name) if file[:20].isdigit() and int(file[:20]) > 1]
    if later:
        raise TableStateError(
            f"`{view.uri}` has no commit of the load `{name}`, but its memory (`{folder(name)}/{max(later)}`): the "
            "table was made anew, or its log was removed. Nothing was read; restore `_delta_log` from a backup, or "
            "load once with `full_refresh=True`"
        )


def _refuse_restored(view: TableView, found: Remembered) -> None:
    """A table that was restored to an older version lost rows, but not the transactions that say they came."""
    if view.version <= found.version:
        return
    entries = view.table.history(view.version - found.version)
    known = {int(entry["version"]) for entry in entries}
    if len(known) < view.version - found.version:
        raise TableStateError(
            f"`{view.uri}` was changed by others since the load `{found.name}` (version {found.version}), and the log "
            "no longer says how, so rows of it may be gone. Nothing was read; load once with `full_refresh=True`"
        )
    restored = {int(e["version"]): _target(e) for e in entries if str(e.get("operation")) == "RESTORE"}
    at = view.version
    while at > found.version:  # back along the versions that the rows come from
        at = restored.get(at, at - 1)
    if at < found.version:
        raise TableStateError(
            f"`{view.uri}` was restored to a version before the last load of `{found.name}` (version "
            f"{found.version}), so rows that it brought are gone, and it would not bring them again. Nothing was "
            f"read; load once with `full_refresh=True`, or restore to version {found.version}"
        )


def _target(entry: Mapping[str, Any]) -> int:
    """The version that a RESTORE went back to; -1 where the log says a time only."""
    said = (entry.get("operationParameters") or {}).get("version")
    return int(said) if said is not None and str(said).isdigit() else -1
