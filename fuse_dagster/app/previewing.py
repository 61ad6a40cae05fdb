"""The first rows of whatever holds rows: a Delta table or files, as they are, filtered, or asked by SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from fuse_dagster.app.histories import moment_in, times_of
from fuse_dagster.app.narrowing import NAME
from fuse_dagster.core.errors import ConfigError, FuseError, InputError, NotThereError, first_line
from fuse_dagster.core.store_failures import store_error
from fuse_dagster.engines.local.addresses import is_local, normal_uri
from fuse_dagster.engines.local.files import FileOptions, Format, file_options, guess, options_for, scan_files
from fuse_dagster.engines.local.frames import quoted
from fuse_dagster.engines.local.reading import choose, open_table, scan_opened
from fuse_dagster.engines.local.sql import query
from fuse_dagster.tables.history.reading import as_of
from fuse_dagster.tables.view import TableView

_CHEAP = 64 * 2**20  # bytes of text that are quick to count


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of the rows.

    Attributes:
        columns: The columns to show, in this order; None for all.
        where: SQL condition that rows have to meet.
        sql: A SELECT over the rows, which it calls `data`.
        version: Version of a Delta table; None for the newest.
        timestamp: The version of a Delta table that was current then.
        as_of: What a history held at that moment.
        limit: Rows at the most.
        count: Count the rows, also where that means to read all of them.
        options: Option -> value of the format, for files.
    """

    columns: Sequence[str] | None = None
    where: str | None = None
    sql: str | None = None
    version: int | None = None
    timestamp: str | None = None
    as_of: str | None = None
    limit: int = 20
    count: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.sql is not None and (self.where is not None or self.columns is not None):
            msg = "`sql` says by itself which rows and columns are wanted: leave `where` and `columns` out."
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """Some rows, and what they are of.

    Attributes:
        uri: Where they lie.
        format: How they are stored; the connector's type, where they are no files.
        version: Version of a Delta table; None for files.
        rows: The first rows that were asked for.
        rows_total: How many there are; None where nobody counted.
        is_all: Whether these are all that were asked for.
    """

    uri: str
    format: str
    version: int | None
    rows: pl.DataFrame
    rows_total: int | None
    is_all: bool


def preview(
    address: str, wanted: Wanted, *, storage_options: Mapping[str, str], layout: Format | None = None
) -> Preview:
    """Read the first rows at an address.

    Args:
        address: URI or path of a Delta table, a file, or a folder of files of one format.
        wanted: Which rows.
        storage_options: As delta-rs takes them.
        layout: The format; guessed by default.

    Returns:
        The rows. They are counted where the log or the files say it, or the text is short, or `wanted.count` asks.

    Raises:
        TableNotFoundError: There is no table.
        NotThereError: There is no file.
        TableStateError: A table can't be read, or the version asked for has expired.
        StoreError: The store refuses; or `StoreUnavailableError`, where it can't be reached.
        InputError: A file can't be read as what it is called, or the SQL fails on the data.
        ConfigError: An unknown column, a wrong condition or query, a version or moment of what has none.
    """
    uri = normal_uri(address)
    found = layout or guess(address, storage_options)
    try:
        opened = (
            _open_table(uri, wanted, storage_options)
            if found is Format.DELTA
            else _open_files(uri, wanted, found, storage_options)
        )
        first, total, is_all = _asked_by_sql(opened, wanted) if wanted.sql is not None else _asked(opened, wanted)
    except FuseError:
        raise
    except FileNotFoundError as error:
        msg = f"There is nothing at `{uri}`. Correct the path."
        raise NotThereError(msg) from error
    except (PolarsError, OSError) as error:
        refused = None if is_local(uri) else store_error(error, uri)
        if refused is not None:
            raise refused from error
        msg = f"`{uri}` can't be read as {found}: {first_line(error)}. Repair it, or say its format by `--format`."
        raise InputError(msg) from error
    return Preview(uri=uri, format=found, version=opened.version, rows=first, rows_total=total, is_all=is_all)


@dataclass(frozen=True, slots=True)
class _Opened:
    """Rows that were not read yet; how many, where that is known; and their table's version."""

    uri: str
    rows: pl.LazyFrame
    known: int | None
    version: int | None = None


def _open_table(uri: str, wanted: Wanted, storage_options: Mapping[str, str]) -> _Opened:
    table = open_table(uri, version=wanted.version, timestamp=wanted.timestamp, storage_options=storage_options)
    view = TableView(uri, storage_options, table)
    if wanted.as_of is not None:
        return _Opened(uri, _as_of(view, wanted.as_of), None, table.version())
    counted = view.files()["num_records"].null_count() == 0
    return _Opened(uri, scan_opened(table, storage_options), view.count_rows() if counted else None, table.version())


def _open_files(uri: str, wanted: Wanted, layout: Format, storage_options: Mapping[str, str]) -> _Opened:
    for name, value in {"version": wanted.version, "timestamp": wanted.timestamp, "as-of": wanted.as_of}.items():
        if value is not None:
            msg = f"`--{name}` is for Delta tables; files of {layout} have no versions. Leave it out."
            raise ConfigError(msg)
    rows = scan_files(uri, layout, options=_options(uri, layout, wanted.options), storage_options=storage_options)
    path = Path(uri)
    short = is_local(uri) and path.is_file() and path.stat().st_size <= _CHEAP
    known = layout is Format.PARQUET or short
    return _Opened(uri, rows, int(rows.select(pl.len()).collect().item()) if known else None)


def _options(uri: str, layout: Format, given: Mapping[str, Any]) -> FileOptions:
    """What is given, over what the name tells."""
    if not given:
        return options_for(uri, layout)
    if layout is not Format.CSV:
        return file_options(layout, given)
    plain = options_for(uri, layout)
    return file_options(layout, {**{entry.name: getattr(plain, entry.name) for entry in fields(plain)}, **given})


def _asked_by_sql(opened: _Opened, wanted: Wanted) -> tuple[pl.DataFrame, int | None, bool]:
    answer = query(wanted.sql or "", {NAME: opened.rows})
    return answer.head(wanted.limit), answer.height, answer.height <= wanted.limit


def _asked(opened: _Opened, wanted: Wanted) -> tuple[pl.DataFrame, int | None, bool]:
    """The first rows, how many there are where that is known, and whether these are all."""
    narrowed = choose(opened.rows, wanted.columns, of=f"`{opened.uri}`")
    total = opened.known
    if wanted.where is None:
        first = narrowed.head(wanted.limit + 1).collect()
        if total is None and wanted.count:
            total = int(opened.rows.select(pl.len()).collect().item())
    else:
        names = ", ".join(quoted(name) for name in narrowed.collect_schema().names())
        condition = f"FROM {NAME} WHERE ({wanted.where}\n)"
        first = query(f"SELECT {names} {condition} LIMIT {wanted.limit + 1}", {NAME: opened.rows})
        total = int(query(f"SELECT count(*) {condition}", {NAME: opened.rows}).item()) if wanted.count else None
    is_all = first.height <= wanted.limit
    return first.head(wanted.limit), first.height if is_all else total, is_all


def _as_of(view: TableView, moment: str) -> pl.LazyFrame:
    own = times_of(view.uri, view.storage_options)
    return as_of(
        scan_opened(view.table, view.storage_options),
        moment_in(moment, own.timezone),
        valid_from=own.valid_from,
        valid_to=own.valid_to,
        is_current=own.is_current,
    )
