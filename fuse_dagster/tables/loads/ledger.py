"""The ids that a load has brought: sorted files, of which a new one takes in those before it that are no larger.

So there are about as many files as the number of ids has binary digits, each id is written about as often, and a load
of one new id neither reads nor writes the others.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from fuse_dagster.core.errors import SchemaError, TableStateError
from fuse_dagster.core.store_failures import store_error
from fuse_dagster.tables.loads.files import is_recent, scan_file, write_file
from fuse_dagster.tables.loads.memory import Remembered, Segment, read_memo
from fuse_dagster.tables.view import TableView, open_view

ID = "id"


def seen_before(
    table: str | Path,
    remembered: Remembered,
    ids: Collection[str],
    *,
    storage_options: Mapping[str, str] | None = None,
) -> set[str]:
    """Which of these ids a load has brought.

    Args:
        table: URI or path of the table.
        remembered: What the load remembers.
        ids: The ids in question.
        storage_options: As delta-rs takes them.

    Raises:
        TableStateError: A file of the ledger is gone or damaged.
    """
    view, wanted, found = open_view(table, storage_options), pl.Series(ID, sorted(ids), dtype=pl.String), set[str]()
    if wanted.is_empty():
        return found
    for segment in remembered.segments:
        rows = scan_file(view, remembered.name, segment.file).select(ID)
        near = rows.filter(pl.col(ID).is_between(pl.lit(wanted.first()), pl.lit(wanted.last())))
        found |= set(_collected(view, remembered, near.filter(pl.col(ID).is_in(wanted.implode())), segment)[ID])
    return found


def read_ledger(table: str | Path, name: str, *, storage_options: Mapping[str, str] | None = None) -> pl.DataFrame:
    """All that a load tells of the ids it has brought: `id` and what its source says of them.

    Args:
        table: URI or path of the table.
        name: Of the load.
        storage_options: As delta-rs takes them.

    Raises:
        TableStateError: The memory of the load is lost or damaged.
    """
    remembered = read_memo(table, name, storage_options=storage_options)
    view = open_view(table, storage_options)
    parts = [_collected(view, remembered, scan_file(view, name, one.file), one) for one in remembered.segments]
    return pl.concat([pl.DataFrame(schema={ID: pl.String}), *parts], how="diagonal_relaxed").sort(ID)


def added(view: TableView, remembered: Remembered, entries: pl.DataFrame | None, number: int) -> Remembered:
    """Write new ids as a file, before the commit that makes it count.

    Args:
        view: The opened table, or its absence.
        remembered: What is remembered so far.
        entries: New ids; those that are there already may come again.
        number: Of the load that is about to land.

    Raises:
        SchemaError: The entries have no column `id` of text, or one is null.
    """
    if entries is None or entries.is_empty():
        return remembered
    if entries.schema.get(ID) != pl.String or entries[ID].null_count():
        raise SchemaError(
            f"the entries of a ledger need a column `{ID}` of text without nulls; theirs are {dict(entries.schema)}"
        )
    rows, kept, retired = entries, list(remembered.segments), dict(remembered.retired)
    while kept and kept[-1].rows <= rows.height:
        last = kept.pop()
        older = _collected(view, remembered, scan_file(view, remembered.name, last.file), last)
        rows = pl.concat([older, rows], how="diagonal_relaxed")
        retired[last.file] = number
    rows = rows.unique(ID, keep="first").sort(ID)
    segment = Segment(f"ids-{number:020d}-{uuid.uuid4().hex}.parquet", rows.height)
    write_file(view, remembered.name, segment.file, rows)
    recent = {file: at for file, at in retired.items() if is_recent(at, number)}
    return replace(remembered, segments=(*kept, segment), retired=recent)


def _collected(view: TableView, remembered: Remembered, rows: pl.LazyFrame, segment: Segment) -> pl.DataFrame:
    try:
        return rows.collect()
    except (OSError, PolarsError) as error:
        raise store_error(error, view.uri) or TableStateError(
            f"what the load `{remembered.name}` of `{view.uri}` has brought is no longer known (`{segment.file}` is "
            "gone or damaged). Nothing was read; copy the folder `_fuse` back from a backup, or load once with "
            "`full_refresh=True`"
        ) from error
