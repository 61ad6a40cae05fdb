"""Compaction: small and overlapping files become full ones, clustered by key; no row changes."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from fuse_dagster.core.errors import ConfigError, TableNotFoundError, TableStateError
from fuse_dagster.tables.commit import Committed, LostRaceError, Ticket, attempts
from fuse_dagster.tables.files import FileRows, read_rows
from fuse_dagster.tables.history.memory import store
from fuse_dagster.tables.history.memory.manifest import Manifest
from fuse_dagster.tables.maintaining.history import in_step, is_history
from fuse_dagster.tables.maintaining.layout import File, Unit, worth_rewriting
from fuse_dagster.tables.maintaining.merging import merge_small
from fuse_dagster.tables.maintaining.reports import Compaction
from fuse_dagster.tables.new_files import ROWS_PER_FILE, write_files
from fuse_dagster.tables.pruning import has_exact_bounds
from fuse_dagster.tables.schema import require
from fuse_dagster.tables.swapping import replace_files
from fuse_dagster.tables.view import TableView, open_view, refuse_unsupported, unkept_promises

_FILES_AT_ONCE = 4
_SAMPLED = 64
_FEWEST_ROWS = 4


def compact(
    table: str | Path,
    *,
    cluster_by: Sequence[str] | None = None,
    rows_per_file: int = ROWS_PER_FILE,
    storage_options: Mapping[str, str] | None = None,
    dry_run: bool = False,
) -> Compaction:
    """Merge small files into full ones, in one commit that changes no row.

    A history is clustered by its keys: open versions by key, closed ones by key and start, each in files of their own,
    so that a batch reads no closed versions, and a batch of a few keys only the files that hold them. So is any table
    with `cluster_by`. Files that are full and do not overlap stay as they are. At the most four full files are held in
    memory at a time, unless a single value of the first column has more rows.

    In other tables, files that are small are merged in their order: by delta-rs where the table is partitioned, or asks
    for more than files of ours would keep. Rows that others append meanwhile are no reason to begin again.

    Args:
        table: URI or path of the table.
        cluster_by: Columns to put rows in order by; a history has its keys. Only the first bounds what a reader skips.
        rows_per_file: Rows of a full file, for clustered tables. Fewer make single keys faster to find and to change,
            more make a whole read faster.
        storage_options: As delta-rs takes them.
        dry_run: Only say what would be done.

    Raises:
        TableNotFoundError: There is no table.
        ConfigError: The table cannot be clustered, or by no such columns.
        TableStateError: The table cannot be written safely, or its memory does not fit its rows.
        ConflictError: Other writers kept changing the table; nothing was written.

    Example:
        >>> import polars as pl, tempfile
        >>> from fuse_dagster.tables import Append, compact, write
        >>> flights = tempfile.mkdtemp() + "/flights"
        >>> for day in range(3):
        ...     written = write(flights, pl.DataFrame({"day": [day]}), Append())
        >>> compact(flights).files_after
        1
    """
    if not _FEWEST_ROWS <= rows_per_file <= ROWS_PER_FILE:
        raise ConfigError(f"`rows_per_file` is `{rows_per_file}`; give {_FEWEST_ROWS} to {ROWS_PER_FILE}")
    started = time.perf_counter()
    for _ in attempts(str(table)):
        view = open_view(table, storage_options)
        if not view.exists:
            raise TableNotFoundError(f"there is no Delta table at `{view.uri}`; correct the path")
        try:
            found = _compact(view, cluster_by, rows_per_file, dry_run=dry_run)
        except LostRaceError:
            continue
        return replace(found, seconds=time.perf_counter() - started)
    raise AssertionError("attempts() ends by raising")


def _compact(view: TableView, cluster_by: Sequence[str] | None, full: int, *, dry_run: bool) -> Compaction:
    if is_history(view):
        refuse_unsupported(view)
        manifest = in_step(view)
        return _cluster(view, _groups_of_history(manifest, cluster_by), full, manifest=manifest, dry_run=dry_run)
    if cluster_by is None:
        if unkept_promises(view):
            return merge_small(view, dry_run=dry_run)
        return _cluster(view, [_Group(())], full, manifest=None, dry_run=dry_run)
    try:
        refuse_unsupported(view)
    except TableStateError as error:
        raise ConfigError(f"cannot be clustered: {error}. Leave `cluster_by` out to merge small files") from error
    return _cluster(view, [_Group(tuple(cluster_by))], full, manifest=None, dry_run=dry_run)


@dataclass(frozen=True, slots=True)
class _Group:
    """Rows that lie in files of their own.

    Attributes:
        order: Columns that they are put in order by; none where they keep theirs.
        null: Column that tells its rows from others; None where it has all rows of the table.
        is_null: Whether that column is null in its rows, or is not.
    """

    order: tuple[str, ...]
    null: str | None = None
    is_null: bool = False

    @property
    def where(self) -> pl.Expr:
        """Its rows."""
        if self.null is None:
            return pl.lit(True)
        return pl.col(self.null).is_null() if self.is_null else pl.col(self.null).is_not_null()

    def count(self, rows: int, nulls: int | None) -> tuple[int, bool]:
        """How many rows of a file belong to it, and whether it has others."""
        if self.null is None:
            return rows, False
        if nulls is None:
            return rows, True
        return (nulls, nulls < rows) if self.is_null else (rows - nulls, nulls > 0)


def _groups_of_history(manifest: Manifest, cluster_by: Sequence[str] | None) -> list[_Group]:
    order = tuple(cluster_by or manifest.declared["keys"])
    valid_from, valid_to, _ = manifest.declared["own"]
    return [_Group(order, valid_to, is_null=True), _Group((*order, valid_from), valid_to)]


def _cluster(
    view: TableView, groups: Sequence[_Group], full: int, *, manifest: Manifest | None, dry_run: bool
) -> Compaction:
    files, schema = view.files(), view.schema()
    require([name for group in groups for name in group.order], pl.DataFrame(schema=schema), "cluster_by")
    rows = read_rows(view, files, schema)
    plans = [(group, _worth_rewriting(_described(files, rows, group), group, full)) for group in groups]
    paths = list(dict.fromkeys(file.path for _, units in plans for unit in units for file in unit.files))
    touched = files.filter(pl.col("path").is_in(paths))
    heights = dict(zip(rows.paths, (b - a for a, b in itertools.pairwise(rows.starts)), strict=True))
    removed = {
        "files_before": files.height,
        "files_removed": len(paths),
        "bytes_removed": int(touched["size_bytes"].sum()),
        "rows": sum(heights[path] for path in paths),
    }
    added = sum(unit.files_after(full) for _, units in plans for unit in units)
    after = files.height - len(paths) + added
    if dry_run or not paths:
        return Compaction(version=None, files_after=after, files_added=added, **removed)
    done = _write(view, rows, plans, full, manifest=manifest, paths=paths, expected=removed["rows"])
    after = files.height - len(paths) + done.files_added
    return Compaction(
        version=done.version, files_after=after, files_added=done.files_added, bytes_added=done.bytes_added, **removed
    )


def _worth_rewriting(files: Sequence[File], group: _Group, full: int) -> list[Unit]:
    units = worth_rewriting(files, full=full)
    # Without an order, two files of half the rows are no better to find anything in.
    return units if group.order else [unit for unit in units if len(unit.files) > 1]


def _described(files: pl.DataFrame, rows: FileRows, group: _Group) -> list[File]:
    """The files that have rows of a group."""
    first = next(iter(group.order), None)
    low, high, nulls = f"min.{first}", f"max.{first}", f"null_count.{group.null}"
    bounded = first is not None and has_exact_bounds(rows.schema[first]) and files.schema.get(low) == rows.schema[first]
    found = []
    for number, said in enumerate(files.iter_rows(named=True)):
        count, mixed = group.count(rows.starts[number + 1] - rows.starts[number], said.get(nulls))
        known = bounded and said[low] is not None and said[high] is not None
        bounds = (said[low], said[high]) if known else (None, None)
        if count:
            found.append(File(said["path"], count, bounds[0], bounds[1], mixed))
    return found


def _write(
    view: TableView,
    rows: FileRows,
    plans: Sequence[tuple[_Group, Sequence[Unit]]],
    full: int,
    *,
    manifest: Manifest | None,
    paths: Sequence[str],
    expected: int,
) -> Committed:
    """Write the new files and commit them in place of the old ones, with the memory of a history."""
    frames = (
        frame for group, units in plans for unit in units for part in _parts(rows, unit, group, full) for frame in part
    )
    adds = write_files(view, frames, data_change=False)
    written = sum(int(json.loads(add.stats)["numRecords"]) for add in adds)
    if written != expected:
        raise TableStateError(
            f"the files of `{view.uri}` that were to be merged hold {written} rows, but the log says {expected}; "
            "nothing was committed. Somebody replaced a file: restore it"
        )
    total = view.count_rows()
    if manifest is None:
        return replace_files(view, paths, adds, rows_total=total, data_change=False, ticket=Ticket(), alone=False)
    with store.remembered(view, manifest, facts=None, rows_total=total) as ticket:
        return replace_files(view, paths, adds, rows_total=total, data_change=False, ticket=ticket)


def _parts(rows: FileRows, unit: Unit, group: _Group, full: int) -> Iterator[Iterator[pl.DataFrame]]:
    """The rows of a unit in order, as frames of one file each, a few of them in memory at a time."""
    if not group.order:
        yield pl.concat([rows.part(file.path) for file in unit.files]).iter_slices(full)
        return
    first = pl.col(group.order[0])
    cuts = _cuts(rows, unit, group, -(-unit.rows // (_FILES_AT_ONCE * full)))
    for low, high in itertools.pairwise([None, *cuts, None]):
        where = group.where
        where = where if low is None else where & (first >= low).fill_null(False)
        where = where if high is None else where & ~(first >= high).fill_null(False)
        found = pl.concat([rows.part(file.path, where) for file in unit.files])
        ordered = found.sort(group.order, maintain_order=True)
        del found
        files = max(1, -(-ordered.height // full))
        yield ordered.iter_slices(max(1, -(-ordered.height // files)))


def _cuts(rows: FileRows, unit: Unit, group: _Group, parts: int) -> list[Any]:
    """Values of the first column that divide a unit into parts of about the same size, from every 64th row."""
    if parts <= 1:
        return []
    name = group.order[0]
    seen = [rows.part(f.path, group.where, _names(group))[name].gather_every(_SAMPLED) for f in unit.files]
    values = pl.concat(seen).drop_nulls().sort()
    found = [values[values.len() * number // parts] for number in range(1, parts)] if values.len() else []
    return list(dict.fromkeys(found))


def _names(group: _Group) -> list[str]:
    return list(dict.fromkeys([group.order[0], *([group.null] if group.null is not None else [])]))
