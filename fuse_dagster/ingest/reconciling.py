"""Deletes of a source that is read by what is new: found by comparing its keys with those of the table.

The table is read first, then the keys of the source, and the commit lands on that version of the table only: a key
that comes back meanwhile is not ended.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from zoneinfo import ZoneInfo

import polars as pl
import pyarrow as pa

from fuse_dagster.core.errors import ConfigError, ConflictError, DeleteGuardError, SchemaError
from fuse_dagster.core.results import WriteResult
from fuse_dagster.engines.local.addresses import normal_uri
from fuse_dagster.engines.local.reading import scan_opened
from fuse_dagster.ingest.positions import position_in
from fuse_dagster.tables import History, Upsert, WriteMode, read_memo, write
from fuse_dagster.tables.batch import to_batch
from fuse_dagster.tables.loads.files import other_loads
from fuse_dagster.tables.samples import masking, samples
from fuse_dagster.tables.schema import widens
from fuse_dagster.tables.view import open_view

if TYPE_CHECKING:
    from fuse_dagster.ingest.source import Position
    from fuse_dagster.tables.view import TableView

ROWS_AT_A_TIME = 2**20
"""Rows of the source that are held against the keys of the table at a time."""
_TRIES = 3
_ROW, _FROM = "__fuse_number", "__fuse_from"

logger = logging.getLogger(__name__)


@runtime_checkable
class ListsKeys(Protocol):
    """A source that can say which keys it holds now."""

    @property
    def identity(self) -> str:
        """What the source is known by in the table that takes its rows."""

    def key_rows(
        self, keys: Sequence[str], since: Position | None = None
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """The keys of all rows that are there, as of one moment, in batches; nothing but these columns.

        `since` is where loads have come to: another database of the same name, say of a test, is refused by it.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """The outcome of one comparison.

    Attributes:
        in_source: Different keys that the source holds; a null is none.
        in_table: Keys that held in the table.
        gone: Of these, those that the source no longer has.
        left: Of those that are gone, the ones whose version begins at `at` or later: the next comparison ends them.
        only_in_source: Keys of the source that the table lacks: rows that no load has brought yet. A number that
            stays above zero says that loads miss rows.
        at: The time from which the keys are gone; None where the table keeps no times.
        seconds: Wall time.
        written: What the table made of it.
    """

    in_source: int
    in_table: int
    gone: int
    left: int
    only_in_source: int
    at: datetime | None
    seconds: float
    written: WriteResult

    @property
    def numbers(self) -> dict[str, int]:
        """What there is to plot."""
        return {
            "keys_in_source": self.in_source,
            "keys_in_table": self.in_table,
            "keys_gone": self.gone,
            "keys_left": self.left,
            "keys_only_in_source": self.only_in_source,
        }


def reconcile_deletes(
    source: ListsKeys,
    table: str | Path,
    mode: WriteMode,
    *,
    storage_options: Mapping[str, str] | None = None,
    effective_at: datetime | None = None,
    masked: Collection[str] = (),
) -> Reconciled:
    """End the keys of a table that its source no longer has: for sources whose loads bring only what is new.

    Memory holds the keys of the table and those that it lacks, and of the source a part at a time. A `History` closes
    the open versions of such keys; an `Upsert` deletes their rows, or marks them where it has `soft_delete`. A key that
    comes back is brought by the next load, as any other row.

    Args:
        source: What is loaded into the table; nothing else may be. At least one load of it has landed there.
        table: URI or path of the table.
        mode: As the loads have it. Its `max_delete_fraction` and `allow_empty` guard the comparison.
        storage_options: As delta-rs takes them.
        effective_at: The time from which keys are gone, for a history; by default the moment at which the source is
            asked. Where the history's column of times is a date, it is that of the day.
        masked: Columns whose values must not appear in an error.

    Raises:
        ConfigError: The mode or the source can't be reconciled.
        DeleteGuardError: More keys are gone than `max_delete_fraction` allows, or the source is empty.
        SchemaError: The keys of the source are of another type than those of the table.
        ConflictError: Loads kept landing meanwhile; nothing was written.

    Example:
        >>> reconcile_deletes(orders, "lake/orders", Upsert(keys=["id"], max_delete_fraction=0.05)).gone
        ... # doctest: +SKIP
    """
    keyed = _judged(source, mode, effective_at)
    for left in reversed(range(_TRIES)):
        try:
            with masking(masked):
                return _once(source, open_view(normal_uri(table), storage_options or None), keyed, effective_at)
        except ConflictError:
            if not left:
                raise
            logger.info("`%s` was written while its keys were compared; comparing anew", table)
    raise AssertionError("the last try returns or raises")


def _judged(source: ListsKeys, mode: WriteMode, effective_at: datetime | None) -> Upsert | History:
    if not isinstance(source, ListsKeys):
        raise ConfigError(
            f"{type(source).__name__} can't list its keys, so what is gone from it is not known; a source that can has "
            "`key_rows`, as `TableSource`"
        )
    if getattr(source, "is_part", False):
        raise ConfigError(f"a part of `{source.identity}` is read, so its keys are not all; compare it without windows")
    if not isinstance(mode, Upsert | History):
        raise ConfigError(f"{type(mode).__name__} knows no keys by which rows could be gone; use Upsert or History")
    if mode.is_whole_truth:
        raise ConfigError(
            "the mode takes each batch for the whole truth, so its loads find what is gone by themselves; there is "
            'nothing to compare. For loads of what is new say `absent="keep"`, or for a History `deletes="ignore"`'
        )
    if effective_at is not None and effective_at.tzinfo is None:
        raise ConfigError(f"`effective_at` is `{effective_at}`, a time without a zone; give one with it")
    return mode


def _once(source: ListsKeys, view: TableView, mode: Upsert | History, effective_at: datetime | None) -> Reconciled:
    started = time.perf_counter()
    others = other_loads(view, source.identity) if view.exists else []
    if others:
        raise ConfigError(
            f"`{view.uri}` holds rows of other sources, too ({', '.join(others)}), which would seem gone from "
            f"`{source.identity}`. Nothing was written; give each source a table of its own"
        )
    memory = read_memo(view.uri, source.identity, storage_options=view.storage_options or None)
    if view.exists and not memory.number:
        raise ConfigError(
            f"no load of `{source.identity}` has landed in `{view.uri}`, so it is not known that its rows come from "
            "there. Nothing was written; load once, or correct the name of the table or of the source"
        )
    held = _held(view, mode)
    at = None if isinstance(mode, Upsert) else _held_from(effective_at or datetime.now(tz=UTC), view, mode)
    compared = _compare(source, held.select(mode.keys), position_in(memory))
    gone = held.filter(~compared.met)
    _guard(source, gone.select(mode.keys), held.height, compared.keys, mode)
    ending = gone if at is None else gone.filter(pl.col(_FROM) < at)
    written = _end(view, ending.select(mode.keys), mode, at)
    return Reconciled(
        in_source=compared.keys,
        in_table=held.height,
        gone=gone.height,
        left=gone.height - ending.height,
        only_in_source=compared.keys - int(compared.met.sum()),
        at=at,
        seconds=time.perf_counter() - started,
        written=written,
    )


def _open_rows(view: TableView, mode: Upsert | History) -> pl.LazyFrame:
    """The rows of a table that hold now."""
    rows = scan_opened(view.table, view.storage_options)
    if isinstance(mode, History):
        return rows.filter(pl.col(mode.is_current))
    marked = mode.soft_delete
    return rows if marked is None or marked not in view.schema() else rows.filter(~pl.col(marked).fill_null(False))


def _held(view: TableView, mode: Upsert | History) -> pl.DataFrame:
    """The keys that hold now, and for a history since when."""
    if not view.exists:
        return pl.DataFrame(schema={**dict.fromkeys(mode.keys, pl.String()), _FROM: pl.Datetime("us", "UTC")})
    lost = [name for name in mode.keys if name not in view.schema()]
    if lost:
        raise SchemaError(f"`{view.uri}` has no column {lost}, which `keys` names; nothing was written")
    since = [pl.col(mode.valid_from).alias(_FROM)] if isinstance(mode, History) else []
    return _open_rows(view, mode).select(*mode.keys, *since).collect()


@dataclass(frozen=True, slots=True)
class _Compared:
    met: pl.Series
    keys: int


def _compare(source: ListsKeys, held: pl.DataFrame, since: Position | None) -> _Compared:
    """Which of the keys the source holds, and how many it holds."""
    keys, strange = held.columns, pl.DataFrame()
    met = pl.repeat(value=False, n=held.height, eager=True, dtype=pl.Boolean)
    numbered = held.with_row_index(_ROW)
    with source.key_rows(keys, since) as reader:
        for part in _parts(reader):
            found = part.drop_nulls().unique()
            other = found
            if held.height:
                fitting = _fitting(found, held.schema, source.identity)
                met = met.scatter(numbered.join(fitting, on=keys, how="semi")[_ROW], values=True)
                other = found[fitting.with_row_index(_ROW).join(held, on=keys, how="anti")[_ROW]]
            strange = pl.concat([strange, other]).unique() if strange.width else other
    return _Compared(met, int(met.sum()) + strange.height)


def _parts(reader: pa.RecordBatchReader) -> Iterator[pl.DataFrame]:
    """Batches put together, as each part is held against all keys of the table."""
    some: list[pa.RecordBatch] = []
    rows = 0
    for batch in reader:
        some.append(batch)
        rows += batch.num_rows
        if rows >= ROWS_AT_A_TIME:
            yield to_batch(pa.Table.from_batches(some))
            some, rows = [], 0
    if some:
        yield to_batch(pa.Table.from_batches(some))


def _fitting(found: pl.DataFrame, held: Mapping[str, pl.DataType], source: str) -> pl.DataFrame:
    """Keys of the source in the types of the table's."""
    for name, wanted in held.items():
        dtype = found.schema[name]
        if not (widens(dtype, wanted) or widens(wanted, dtype)):
            raise SchemaError(
                f"the key `{name}` is {dtype} in `{source}` and {wanted} in the table, so no key would be found again; "
                "nothing was written"
            )
        # A value that the table's narrower type can't hold is null then, and no key of the table.
        found = found.with_columns(pl.col(name).cast(wanted, strict=False))
    return found


def _guard(source: ListsKeys, gone: pl.DataFrame, known: int, keys: int, mode: Upsert | History) -> None:
    if known and not keys and not mode.allow_empty:
        raise DeleteGuardError(
            f"`{source.identity}` has no rows, so every key of the table would end: the usual sign of a source that is "
            "being filled anew; nothing was written. If it is empty indeed, say `allow_empty=True`"
        )
    highest = mode.max_delete_fraction
    if highest is None or gone.height <= highest * known:
        return
    raise DeleteGuardError(
        f"{gone.height} of {known} keys are gone from `{source.identity}` ({gone.height / known:.1%}; at the most "
        f"{highest:.1%}), as {samples(gone, of=gone.height)}; nothing was written. If so many did end, raise "
        "`max_delete_fraction` until they are"
    )


def _end(view: TableView, gone: pl.DataFrame, mode: Upsert | History, at: datetime | None) -> WriteResult:
    """Write a delete of each of these keys, with the row that it has."""
    if gone.is_empty():
        total = view.count_rows() if view.exists else 0
        return WriteResult(version=None, table_version=view.version if view.exists else -1, rows_in=0, rows_total=total)
    rows = _open_rows(view, mode).join(gone.lazy(), on=list(mode.keys), how="semi").collect()
    always = '"' + mode.keys[0].replace('"', '""') + '" IS NOT NULL'
    if isinstance(mode, History):
        assert at is not None
        rows = rows.drop(name for name in mode.reserved if name in rows.columns)
        if mode.effective_column is None:
            ending: WriteMode = replace(mode, effective_at=at, delete_when=always)
        else:
            rows = rows.with_columns(_as_column(at, rows.schema[mode.effective_column], mode))
            ending = replace(mode, delete_when=always)
    else:
        rows = rows.drop(name for name in mode.own if name in rows.columns)
        # A delete by absence has no sequence of its own: what is above the row's brings the key back.
        ending = replace(mode, delete_when=always, sequence_by=None, update_when=None, when_matched="update")
    return write(view.uri, rows, ending, storage_options=view.storage_options or None, only_at=view.version)


def _held_from(at: datetime, view: TableView, mode: History) -> datetime:
    """The time, UTC, as the history can hold it: a date says the day only."""
    if mode.effective_column is not None and view.schema().get(mode.effective_column) == pl.Date:
        at = at.astimezone(ZoneInfo(mode.timezone or "UTC")).replace(hour=0, minute=0, second=0, microsecond=0)
    return at.astimezone(UTC)


def _as_column(at: datetime, dtype: pl.DataType, mode: History) -> pl.Expr:
    """The time as the history's column of times holds it."""
    local = at.astimezone(ZoneInfo(mode.timezone or "UTC"))
    value = local.date() if dtype == pl.Date else at
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        value = local.replace(tzinfo=None)
    return pl.lit(value, dtype=dtype).alias(str(mode.effective_column))
