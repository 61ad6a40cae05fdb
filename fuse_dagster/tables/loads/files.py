"""Files of a load's memory, below `_fuse/loads/` in the table's folder. All are immutable."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable
from pathlib import Path

import polars as pl
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSelector

from fuse_dagster.core.errors import ConfigError, first_line
from fuse_dagster.engines.local.addresses import is_local
from fuse_dagster.tables.view import TableView, writing

_ROOT = "_fuse/loads"
_LONGEST_SLUG = 40
_ROWS_PER_GROUP = 4096
_SOME = 20
"""Loads whose files stay, for readers that are slower than the loads that follow."""

logger = logging.getLogger(__name__)


def folder(name: str) -> str:
    """Where a load's memory lies below its table: readable, and unlike that of any other name.

    Args:
        name: Of the load.

    Raises:
        ConfigError: It is empty.
    """
    if not name.strip():
        raise ConfigError("a load has an empty name; give what its source is known by, as `shop/public.orders`")
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_LONGEST_SLUG]
    return f"{_ROOT}/{slug}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def write_file(view: TableView, name: str, file: str, rows: pl.DataFrame) -> None:
    """Write a file of a load's memory; what lies there under this name is of the same write."""
    if is_local(view.uri):
        with writing(view.uri):
            Path(view.uri, folder(name)).mkdir(parents=True, exist_ok=True)
    with writing(view.uri):
        rows.write_parquet(
            f"{view.uri}/{folder(name)}/{file}", row_group_size=_ROWS_PER_GROUP, storage_options=view.polars_options
        )


def scan_file(view: TableView, name: str, file: str) -> pl.LazyFrame:
    """Read a file of a load's memory."""
    return pl.scan_parquet(f"{view.uri}/{folder(name)}/{file}", glob=False, storage_options=view.polars_options)


def list_files(view: TableView, name: str) -> list[str]:
    """Names of all files of a load's memory; none where there is no such folder."""
    if is_local(view.uri):
        return sorted(path.name for path in Path(view.uri, folder(name)).glob("*.parquet"))
    found = _handler(view).get_file_info_selector(FileSelector(folder(name), allow_not_found=True))
    return sorted(entry.base_name for entry in found)


def other_loads(view: TableView, name: str) -> list[str]:
    """Folders of other loads that a table remembers."""
    if is_local(view.uri):
        found = [path.name for path in Path(view.uri, _ROOT).glob("*")]
    else:
        listed = _handler(view).get_file_info_selector(FileSelector(_ROOT, allow_not_found=True, recursive=True))
        found = [entry.path.rpartition("/")[0].rpartition("/")[2] for entry in listed if entry.is_file]
    return sorted({one for one in found if one != folder(name).rpartition("/")[2]})


def remove_files(view: TableView, name: str, files: Iterable[str]) -> None:
    """Remove files that no load needs. Failing to is harmless: the log tells which of them hold."""
    try:
        for file in files:
            if is_local(view.uri):
                Path(view.uri, folder(name), file).unlink(missing_ok=True)
            else:
                _handler(view).delete_file(f"{folder(name)}/{file}")
    except OSError as error:
        logger.warning("left-over memory of the load `%s` of %s stays: %s", name, view.uri, first_line(error))


def is_recent(number: int, newest: int) -> bool:
    """Whether a load is so young that somebody may still read its memory."""
    return number > newest - _SOME


def _handler(view: TableView) -> DeltaStorageHandler:
    return DeltaStorageHandler(view.uri, dict(view.storage_options))
