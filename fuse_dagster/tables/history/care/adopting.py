"""Adopting: a table with versions that others wrote becomes a history of ours, in one commit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl
from deltalake.schema import Field

from fuse_dagster.core.errors import InputError, TableNotFoundError, TableStateError
from fuse_dagster.engines.local.reading import scan_opened
from fuse_dagster.tables.batch import to_batch
from fuse_dagster.tables.commit import APP_ID, LostRaceError, attempts
from fuse_dagster.tables.equality import same_rows
from fuse_dagster.tables.history.care.converting import Closed, Layout, convert
from fuse_dagster.tables.history.care.settling import changes_columns, settle
from fuse_dagster.tables.history.care.validating import Found, examine
from fuse_dagster.tables.history.changes.statements import DELETED, SAID, SEQUENCE, Columns, fact_schema
from fuse_dagster.tables.history.hashing import with_hashed_keys
from fuse_dagster.tables.history.memory.manifest import Manifest, Snapshot, declaration, micros
from fuse_dagster.tables.history.overwriting import spread, values_of
from fuse_dagster.tables.history.plan import Prepared, fit
from fuse_dagster.tables.history.timeline import AT, Shape, coalesce, current
from fuse_dagster.tables.modes import History
from fuse_dagster.tables.samples import masking, samples
from fuse_dagster.tables.schema import complete
from fuse_dagster.tables.view import TableView, open_view, refuse_unsupported


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptReport:
    """What a table held that was adopted, or would be.

    Attributes:
        version: Delta version that the adoption committed; None for a dry run.
        rows_before: Rows of the table.
        rows_after: Versions of the history.
        keys: Distinct business keys.
        open_versions: Versions that hold now.
        gaps: Times between two versions of one key in which it did not hold. As many as there are updates is the sign
            of ends that are the last moment that belongs: `closed_intervals="both"`.
        coalesced: Versions that joined the one before them, because they touched it and said the same.
        snapshot_times: Times that count as applied snapshots from now on; 0 where batches are statements.
    """

    version: int | None
    rows_before: int
    rows_after: int
    keys: int
    open_versions: int
    gaps: int
    coalesced: int
    snapshot_times: int


@dataclass(frozen=True, slots=True)
class _Taken:
    """A table as the history that it becomes.

    Attributes:
        rows: Version rows; None where the table holds them already.
        manifest: What it remembers from now on.
        facts: Statements that no version row shows.
        shape: Parts of the columns.
        kept: Column -> what it promises and says of itself.
        report: What was found.
    """

    rows: pl.DataFrame | None
    manifest: Manifest
    facts: pl.DataFrame
    shape: Shape
    report: AdoptReport
    kept: Mapping[str, Field] = field(default_factory=dict)


def adopt(
    table: str | Path,
    mode: History,
    *,
    rename: Mapping[str, str] | None = None,
    drop: Sequence[str] = (),
    ends: dt.date | str = "null",
    closed_intervals: Closed = "left",
    step: dt.timedelta | None = None,
    again: bool = False,
    dry_run: bool = False,
    masked: Collection[str] = (),
    storage_options: Mapping[str, str] | None = None,
) -> AdoptReport:
    """Take over a table with versions that another tool wrote: from then on it is a history like any other.

    All rows are checked first, and all kinds of problem are raised together, with counts and samples: null keys, starts
    that are null or no times, versions that are empty, reversed, doubled or overlap, keys with several open versions,
    flags that contradict the end. Gaps are allowed. Touching versions that say the same become one, and
    `overwrite_columns` hold the value of each key's latest version. Then the table is
    written anew, in one commit, with the names and types of the declaration; NOT NULL and comments stay.

    **What counts as known afterwards.** For snapshots, every distinct start and end in the table, also of versions that
    were joined, is an applied snapshot that brought all columns. It is the one reading that agrees with the rows: at
    these times the source was seen, because something began or ended, and between two of them nothing was seen to
    change. With fewer known times, a late snapshot would wipe out changes after it that the table shows; with more, it
    would be cut short by observations that nobody made. For changes, every version is a statement at its start, and
    every end that no version follows is a delete.

    It reads the whole table: peak memory is about three times its rows.

    Args:
        table: URI or path of a Delta table.
        mode: The declaration to write with from now on. A column that `effective_column` or `sequence_by` names may be
            absent; it then comes with the first batch.
        rename: Column of the table -> its name in the history, such as `{"start_date": "valid_from"}`. A flag is
            not needed; where one becomes `is_current`, it may hold true or false, 1 or 0, Y or N.
        drop: Columns that are not taken over: row hashes and version numbers, which future batches don't bring.
        ends: The end of open versions besides null, such as `dt.date(9999, 12, 31)`: a date stands for any moment of
            its day.
        closed_intervals: `left`: an end is the first moment that no longer belongs. `both`: the last one that does.
        step: For `both`: the time between the last moment of a version and the first of the next, such as
            `timedelta(days=1)`.
        again: Also take over a history of ours, whose memory is lost or was contradicted by hand: its rows as they
            are become the truth, and what only the memory knew (unchanged snapshots, restatements, deletes of
            nothing) is forgotten.
        dry_run: Check and report, and write nothing.
        masked: Columns whose values must not appear in an error.
        storage_options: As delta-rs takes them.

    Raises:
        ConfigError: An argument is wrong, or names a column that is not there.
        TableNotFoundError: There is no table.
        TableStateError: The rows are no history, the table is one of ours already, or has features or partitions that
            a history cannot be written with. Nothing was written.
        ConflictError: Other writers kept changing the table; nothing was written.

    Example:
        >>> import datetime as dt, polars as pl, tempfile
        >>> from fuse_dagster.tables import History, Overwrite, adopt, write
        >>> day, never = dt.date(2024, 1, 1), dt.date(9999, 12, 31)
        >>> theirs = pl.DataFrame({"icao": ["EDDB"], "feet": [157], "start": [day], "end": [never]})
        >>> _ = write(table := tempfile.mkdtemp() + "/airports", theirs, Overwrite())
        >>> names = {"start": "valid_from", "end": "valid_to"}
        >>> adopt(table, History(keys=["icao"]), rename=names, ends=never).open_versions
        1
    """
    layout = Layout(rename=rename or {}, drop=drop, ends=ends, closed_intervals=closed_intervals, step=step)
    with masking([*masked, *(new for old, new in (rename or {}).items() if old in masked)]):
        for _ in attempts(str(table)):
            view = _open(table, storage_options, again=again)
            taken = _take(view, mode, layout)
            if dry_run:
                return taken.report
            try:
                version = settle(view, taken.rows, taken.manifest, taken.facts, shape=taken.shape, kept=taken.kept)
            except LostRaceError:
                continue
            return replace(taken.report, version=version)
    raise AssertionError("attempts() ends by raising")


def _open(table: str | Path, storage_options: Mapping[str, str] | None, *, again: bool) -> TableView:
    view = open_view(table, storage_options)
    if not view.exists:
        raise TableNotFoundError(f"there is no Delta table at `{view.uri}`; correct the path")
    if view.table.transaction_version(APP_ID) is not None and not again:
        raise TableStateError(
            f"`{view.uri}` is a history of ours already: write to it. Where its memory is lost, or rows were changed "
            "by hand, make it anew from its batches with `rebuild`, or take its rows as they are with `again=True`"
        )
    refuse_unsupported(view)
    return view


def _take(view: TableView, mode: History, layout: Layout) -> _Taken:
    """Check the rows of a table, and make the rows and the memory of the history that it becomes."""
    found = scan_opened(view.table, view.storage_options).collect()
    converted = convert(found, mode, layout)
    problems = [*converted.problems]
    declared = Manifest(declaration(mode, tracked=mode.track))
    prepared: Prepared | None = None
    try:
        prepared = fit(view, {}, declared, to_batch(converted.business), mode)
    except InputError as error:
        problems.append(str(error))
    if prepared is None or converted.times is None:
        raise _refusal(view, problems)
    shape = prepared.shape
    versions = pl.concat([prepared.batch, converted.times], how="horizontal")
    examined = examine(versions, shape)
    problems += examined.problems
    if problems:
        raise _refusal(view, problems)
    names = layout.columns(found.columns, mode)
    joined = coalesce(versions.with_columns(current(shape)), shape)
    if shape.overwritten:
        joined = spread(joined, values_of(versions.sort(shape.valid_from, descending=True), shape), shape)
    rows = with_hashed_keys(joined, shape)
    _refuse_other_hashes(view, found, names, rows, shape)
    order = [*(name for name in names if name in rows.columns), *(n for n in rows.columns if n not in names)]
    rows = rows.select(order)
    manifest = declared if mode.states_changes else _with_times(declared, versions, shape)
    kept = {new: f for f in view.table.schema().fields for new, old in names.items() if old == f.name}
    stays = not changes_columns(view, rows, shape) and same_rows(rows, found)
    report = _report(found, rows, examined, manifest)
    return _Taken(None if stays else rows, manifest, _facts(versions, rows, mode, shape), shape, report, kept)


def _refusal(view: TableView, problems: Sequence[str]) -> TableStateError:
    listed = "; ".join(f"({number}) {problem}" for number, problem in enumerate(problems, start=1))
    return TableStateError(
        f"`{view.uri}` cannot be adopted as it is: {listed}. Nothing was written; correct the table, or say how it is "
        "to be read"
    )


def _refuse_other_hashes(
    view: TableView, found: pl.DataFrame, names: Mapping[str, str], rows: pl.DataFrame, shape: Shape
) -> None:
    """Columns of others must not be replaced by our hashed keys under the same name."""
    ours = [name for name in (shape.durable_key, shape.surrogate_key) if name is not None and name in names]
    for name in ours:
        theirs, made = found[names[name]], rows[name]
        if theirs.dtype != made.dtype or not set(theirs).issubset(set(made)):
            raise TableStateError(
                f"`{view.uri}` has a column `{name}` of its own, which the declaration would fill with hashes, as "
                f"{samples(found.select(names[name]), rows=1)}; nothing was written. Rename or drop it, or choose "
                "another name in the declaration"
            )


def _with_times(manifest: Manifest, versions: pl.DataFrame, shape: Shape) -> Manifest:
    """Each start and each end is an applied snapshot."""
    times = pl.concat([versions[shape.valid_from], versions[shape.valid_to].rename(shape.valid_from)])
    columns = tuple(sorted(shape.columns))
    known = times.drop_nulls().unique().sort()
    return replace(manifest, snapshots=tuple(Snapshot(micros(at), columns) for at in known))


def _facts(versions: pl.DataFrame, rows: pl.DataFrame, mode: History, shape: Shape) -> pl.DataFrame:
    """Starts of versions that joined the one before: the same was stated again then."""
    keys = list(shape.keys)
    sequence = mode.sequence_by if mode.sequence_by in shape.columns else None
    schema = fact_schema(versions.schema, Columns(shape, None, sequence))
    if not mode.states_changes or mode.restatements == "forget":
        return pl.DataFrame(schema=schema)
    joined = versions.join(rows.select(*keys, shape.valid_from), on=[*keys, shape.valid_from], how="anti")
    stated = joined.with_columns(
        pl.col(shape.valid_from).alias(AT),
        (pl.lit(None, dtype=schema[SEQUENCE]) if sequence is None else pl.col(sequence)).alias(SEQUENCE),
        pl.lit(False).alias(DELETED),
        pl.lit(False).alias(SAID),  # only in the schema where columns are overwritten
    )
    return complete(stated.select(name for name in stated.columns if name in schema), schema)


def _report(found: pl.DataFrame, rows: pl.DataFrame, examined: Found, manifest: Manifest) -> AdoptReport:
    return AdoptReport(
        version=None,
        rows_before=found.height,
        rows_after=rows.height,
        keys=examined.keys,
        open_versions=examined.open_versions,
        gaps=examined.gaps,
        coalesced=found.height - rows.height,
        snapshot_times=len(manifest.snapshots),
    )
