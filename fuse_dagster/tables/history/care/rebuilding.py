"""Rebuilding: a history made anew from its batches, in one commit, with the difference to what the table held."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from fuse_dagster.core.errors import ConfigError, ConflictError, KeyValueError, TableStateError
from fuse_dagster.engines.local.reading import scan_opened
from fuse_dagster.tables.commit import APP_ID, LostRaceError, attempts
from fuse_dagster.tables.history.care.differing import Difference, align, differ
from fuse_dagster.tables.history.care.settling import settle
from fuse_dagster.tables.history.memory import store
from fuse_dagster.tables.history.memory.foreign import refuse_foreign_changes
from fuse_dagster.tables.history.memory.manifest import Manifest, moment
from fuse_dagster.tables.history.memory.telling import empty_facts, same_facts
from fuse_dagster.tables.history.plan import prepare
from fuse_dagster.tables.history.timeline import Shape
from fuse_dagster.tables.modes import History
from fuse_dagster.tables.sifting import OnRejected, Sifted, refuse_untaken
from fuse_dagster.tables.view import TableView, open_view, refuse_unsupported
from fuse_dagster.tables.write import write

Timed = tuple[dt.datetime | dt.date, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildResult:
    """How a rebuilt history differs from what the table held.

    Attributes:
        version: Delta version that was committed; None for a dry run, and where nothing differs.
        batches: Batches that were applied.
        rows_total: Versions of the rebuilt history.
        only_in_table: Versions that the table held and the rebuilt history does not.
        only_in_rebuilt: Versions that the rebuilt history has and the table did not hold.
        table_examples: The first of the former, by key and time.
        rebuilt_examples: The first of the latter.
        memory_problem: What was wrong with the table's memory; None where it fits, or there was no table.
        forgotten: Times of snapshots that the table's memory knew, and that are not among the batches.
        schema_changes: One sentence per column that differs.
    """

    version: int | None
    batches: int
    rows_total: int
    only_in_table: int
    only_in_rebuilt: int
    table_examples: pl.DataFrame = field(compare=False)
    rebuilt_examples: pl.DataFrame = field(compare=False)
    memory_problem: str | None
    forgotten: tuple[dt.datetime, ...]
    schema_changes: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether the table held the very same versions in the same columns; its memory is another matter."""
        return not (self.only_in_table or self.only_in_rebuilt or self.schema_changes)


@dataclass(frozen=True, slots=True)
class _Built:
    """A history in a folder of its own, read back."""

    batches: int
    rows: pl.DataFrame
    manifest: Manifest
    facts: pl.DataFrame
    shape: Shape
    rejected: tuple[Sifted, ...]

    def open(self) -> None:
        """Hand the rejected rows over, once, however often the commit is tried."""
        for sifted in self.rejected:
            sifted.open()


def rebuild(
    table: str | Path,
    batches: Iterable[Any],
    mode: History,
    *,
    dry_run: bool = False,
    masked: Collection[str] = (),
    storage_options: Mapping[str, str] | None = None,
    on_rejected: OnRejected | None = None,
) -> RebuildResult:
    """Make a history anew from all of its batches, in one commit that keeps the table's log.

    The batches are applied to a temporary folder of this machine by the ordinary `write`, guards included; then the
    table gets the rows and the memory that came out. What it held before does not matter: its memory may be lost or out
    of step, its rows changed by hand or restored, its declaration another one. Where its rows are the same and its
    memory fits, nothing is committed. The result is equal to applying the batches one by one; only the values of
    columns that are not tracked may depend on the order.

    **All batches** must be given: what is missing among them is gone afterwards. Look at a `dry_run` first: it says
    which known snapshot times are missing (`forgotten`) and which versions would go. A column that the table has, the
    batches don't, and that is null everywhere stays.

    Rows of `null_keys="reject"` are kept until the whole history is built, and handed over before the commit: those of
    each batch by one call, in the order of the batches, also where nothing is committed because nothing differs.

    Peak memory is that of the largest batch's `write`, or, where that is more, about four times the rows of the
    history: those of the table, the rebuilt ones, and their comparison.

    Args:
        table: URI or path of a history, or of nothing yet.
        batches: Consumed once, one at a time. Pairs of effective time and frame; where the mode has an
            `effective_column`, frames. Any order; frames of any type that `write` takes.
        mode: The declaration of the history from now on. Its own `effective_at` is of no matter here.
        dry_run: Report the difference, and write nothing.
        masked: Columns whose values must not appear in an error.
        storage_options: As delta-rs takes them.
        on_rejected: As in `write`; a dry run does not call it, and does not need it. If it raises, nothing is
            committed.

    Returns:
        The difference, and the version committed.

    Raises:
        InputError: A batch is refused; nothing was written.
        ConfigError: There are no batches, or they do not come as the mode asks; or nobody takes the rejected rows.
        TableStateError: The table is none of ours (see `adopt`), or has features that a history cannot be written with.
        ConflictError: A batch was applied to the table meanwhile, or other writers kept changing it; nothing was
            written.

    Example:
        >>> import datetime as dt, polars as pl, tempfile
        >>> from fuse_dagster.tables import History, rebuild
        >>> january = (dt.date(2024, 1, 1), pl.DataFrame({"icao": ["EDDB"], "feet": [157]}))
        >>> rebuild(tempfile.mkdtemp() + "/airports", [january], History(keys=["icao"])).only_in_rebuilt
        1
    """
    if not dry_run:
        refuse_untaken(mode, on_rejected, uri=str(table))
    before = _open(table, storage_options)
    applied = _last_write(before)
    with TemporaryDirectory(prefix="fuse-rebuild-") as folder:
        built = _build(f"{folder}/history", batches, mode, masked, on_rejected)
    for _ in attempts(str(table)):
        view = replace(_open(table, storage_options), before_commit=built.open)
        if _last_write(view) != applied:
            raise ConflictError(
                f"a batch was applied to `{view.uri}` while it was being rebuilt, and would be lost; nothing was "
                "written. Rebuild again with that batch among the others"
            )
        rows, found = _held(view, built)
        result = _result(view, built, rows, found)
        if dry_run:
            return result
        if view.exists and result.is_equal and result.memory_problem is None:
            built.open()
            return result
        kept = {f.name: f for f in view.table.schema().fields} if view.exists else {}
        anew = None if view.exists and result.is_equal else rows
        try:
            version = settle(view, anew, built.manifest, built.facts, shape=built.shape, kept=kept)
        except LostRaceError:
            continue
        return replace(result, version=version)
    raise AssertionError("attempts() ends by raising")


def _open(table: str | Path, storage_options: Mapping[str, str] | None) -> TableView:
    view = open_view(table, storage_options)
    if view.exists and _last_write(view) is None:
        raise TableStateError(
            f"`{view.uri}` is a table that no history was written to; take it over with `adopt` first, or rebuild the "
            "history at another place"
        )
    refuse_unsupported(view)
    return view


def _last_write(view: TableView) -> int | None:
    return view.table.transaction_version(APP_ID) if view.exists else None


def _build(
    place: str, batches: Iterable[Any], mode: History, masked: Collection[str], on_rejected: OnRejected | None
) -> _Built:
    """Apply the batches by the ordinary `write`, and read back what came out."""
    count, rejected = 0, list[Sifted]()

    def keep(rows: pl.DataFrame) -> None:
        rejected.append(Sifted(rows, on_rejected))

    for count, batch in enumerate(batches, start=1):
        at, frame = _timed(batch, mode, count)
        write(place, frame, replace(mode, effective_at=at), masked=masked, on_rejected=keep)
    if not count:
        raise ConfigError("`batches` is empty, and would leave nothing of the history; give all of its batches")
    view = open_view(place)
    if not view.exists:
        raise KeyValueError(
            f"no row of the {count} batches has a whole key `{', '.join(mode.keys)}`, so nothing would be left of the "
            "history; nothing was written. Give its batches with their keys, or correct `keys`"
        )
    business = {name: dtype for name, dtype in view.schema().items() if name not in mode.reserved}
    prepared = prepare(view, pl.DataFrame(schema=business), mode)
    facts = store.read_facts(view, prepared.manifest, empty_facts(prepared.shape, business, mode))
    rows = scan_opened(view.table, view.storage_options).collect()
    return _Built(count, rows, prepared.manifest, facts, prepared.shape, tuple(rejected))


def _timed(batch: Any, mode: History, number: int) -> tuple[dt.datetime | dt.date | None, Any]:
    """The time and the frame of a batch."""
    is_pair = isinstance(batch, tuple)
    if mode.effective_column is not None and is_pair:
        raise ConfigError(
            f"batch {number} is a tuple, but the mode takes its times from `effective_column` "
            f"`{mode.effective_column}`; give frames"
        )
    if mode.effective_column is not None:
        return None, batch
    if not is_pair or len(batch) != 2 or not isinstance(batch[0], dt.date):
        raise ConfigError(
            f"batch {number} is a `{type(batch).__name__}` without a time; give pairs `(effective_at, frame)`, or a "
            "mode with `effective_column`"
        )
    return batch[0], batch[1]


def _held(view: TableView, built: _Built) -> tuple[pl.DataFrame, Difference]:
    """The rebuilt rows in the table's columns as far as they fit, and how they differ from its rows."""
    if not view.exists:
        nothing = built.rows.clear()
        return built.rows, differ(nothing, built.rows, by=_order(built.shape))
    held = scan_opened(view.table, view.storage_options).collect()
    rows = align(built.rows, held)
    return rows, differ(held, rows, by=_order(built.shape))


def _order(shape: Shape) -> list[str]:
    return [*shape.keys, shape.valid_from]


def _result(view: TableView, built: _Built, rows: pl.DataFrame, found: Difference) -> RebuildResult:
    problem, known = _compare_memory(view, built)
    stay = {snapshot.at for snapshot in built.manifest.snapshots}
    return RebuildResult(
        version=None,
        batches=built.batches,
        rows_total=rows.height,
        only_in_table=found.left,
        only_in_rebuilt=found.right,
        table_examples=found.left_examples,
        rebuilt_examples=found.right_examples,
        memory_problem=problem,
        forgotten=tuple(moment(s.at) for s in known.snapshots if s.at not in stay) if known else (),
        schema_changes=found.columns,
    )


def _compare_memory(view: TableView, built: _Built) -> tuple[str | None, Manifest | None]:
    """What is wrong with the table's memory, and the memory as far as it can be read."""
    transaction = _last_write(view)
    if transaction is None:
        return None, None
    known: Manifest | None = None
    try:
        known = store.read_manifest(view, transaction)
        refuse_foreign_changes(view, known)
        if _declared(known) != _declared(built.manifest):
            return "it belongs to another declaration", known
        if known.snapshots != built.manifest.snapshots:
            return "it knows other snapshots", known
        if not same_facts(store.read_facts(view, known, built.facts.clear()), built.facts, built.rows, built.shape):
            return "it knows other statements", known
    except TableStateError as error:
        return str(error), known  # the result says it; this is what a rebuild is for
    return None, known


def _declared(manifest: Manifest) -> dict[str, Any]:
    return {name: value for name, value in manifest.declared.items() if value is not None}
