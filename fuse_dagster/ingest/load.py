"""One load: a source is read from where the last one ended, and its rows and its position land in one commit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.results import WriteResult
from fuse_dagster.ingest.drift import Drift, DriftPolicy, drift_of, judge_drift
from fuse_dagster.ingest.modes import refreshing, refuse_doubling
from fuse_dagster.ingest.positions import data_of, position_in, remembered
from fuse_dagster.ingest.quarantine import put_aside
from fuse_dagster.ingest.source import Position, Remembers, TellsProgress
from fuse_dagster.tables import (
    History,
    Memo,
    Remembered,
    Upsert,
    WriteMode,
    seen_before,
    write,
)
from fuse_dagster.tables.view import open_view

if TYPE_CHECKING:
    from fuse_dagster.ingest.source import Reading, Source, Value

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """The outcome of one load.

    Attributes:
        rows: Rows that the source brought.
        bytes: Their size in memory as Arrow.
        rejected: Pieces that the source could not read, which are in quarantine.
        before: Where the load began; None for the source's start.
        after: Where it ended, as the table now remembers; None where nothing was ever read.
        lag: How long ago the event was that the position stands for; None where it stands for no time.
        seconds: Wall time.
        drift: How the columns differed from the table's.
        written: What the table made of the rows.
        progress: What else the source says that it did, as files and their bytes, or messages that are left.
    """

    rows: int
    bytes: int
    rejected: int
    before: Position | None
    after: Position | None
    lag: timedelta | None
    seconds: float
    drift: Drift
    written: WriteResult
    progress: Mapping[str, Value] = field(default_factory=dict)


def load(
    source: Source,
    table: str | Path,
    mode: WriteMode,
    *,
    storage_options: Mapping[str, str] | None = None,
    full_refresh: bool = False,
    drift: DriftPolicy = "evolve",
    on_rejected: Callable[[pl.DataFrame], object] | None = None,
    masked: Collection[str] = (),
    on_rows: Callable[[int, int], object] | None = None,
) -> LoadResult:
    """Bring what is new in a source to a table, in one commit, or not at all.

    Args:
        source: What is read.
        table: URI or path of the table; made if absent.
        mode: What becomes of the rows. One that takes a batch for the whole truth (a whole `Overwrite`,
            `Upsert(absent="delete")`, a `History` of snapshots) reads the source from its start each time.
        storage_options: As delta-rs takes them.
        full_refresh: Read the source from its start, whatever was read before. An `Append` then replaces the table's
            rows; `Upsert`, `History` and `Append(once=[...])` take all rows again, and know them by their keys. Of a
            part, which is read as a whole each time, it means nothing more, and the position stays.
        drift: What to make of columns that differ from the table's.
        on_rejected: Takes what the source could not read, and the rows of `null_keys="reject"`, before the commit; by
            default they go to the table beside this one whose name ends in `__rejected`.
        masked: Columns whose values must not appear in an error.
        on_rows: Told rows and bytes so far, with each batch that passes.

    Raises:
        ConfigError: The mode would double rows that the source brings again, or the source can't be read on.
        InputError: The source or its rows are refused; nothing was written.
        LoadOvertakenError: Another load of this source landed meanwhile; nothing was written.
        TableStateError: It is not known how far the source was read.
    """
    started = time.perf_counter()
    if drift not in ("evolve", "warn", "refuse"):
        raise ConfigError(f"`drift` is `{drift}`; valid: evolve, warn, refuse")
    refuse_doubling(source, mode)
    full_refresh = full_refresh and not getattr(source, "is_part", False)
    anew = full_refresh or mode.is_whole_truth
    options = storage_options or None
    memory = remembered(table, source.identity, options, full_refresh=full_refresh, needed=not anew)
    begin = _Begin(source.identity, memory, anew, None if anew else position_in(memory))
    ledger = None if anew else _TableLedger(table, memory, options)
    aside = on_rejected or partial(_put_aside, table, source.identity, options)
    with source.read(begin.position, ledger) as reading:
        counted = _Counted(reading.batches(), on_rows)
        view = open_view(table, options)
        found = drift_of(counted.schema, view.schema(), own=_own(mode))
        judge_drift(found, drift, source=source.identity, table=str(table))
        end = _End(reading, begin, aside)
        written = write(
            table,
            counted.reader(),
            refreshing(mode, table, source.identity, options) if full_refresh else mode,
            storage_options=options,
            masked=masked,
            on_rejected=aside,
            memo=end.memo,
        )
        told = _progress(reading, source.identity)
        _tell(reading, source.identity)
    done = _result(begin, end, counted, found, written, seconds=time.perf_counter() - started)
    return replace(done, progress=told)


@dataclass(frozen=True, slots=True)
class _Begin:
    identity: str
    memory: Remembered
    anew: bool
    position: Position | None


@dataclass(slots=True)
class _End:
    """What is asked of a reading once its rows are consumed, and before anything is committed."""

    reading: Reading
    begin: _Begin
    aside: Callable[[pl.DataFrame], object]
    position: Position | None = None
    rejected: int = 0

    def memo(self) -> Memo:
        """Put aside what could not be read, and say what the table is to remember."""
        rejected = self.reading.rejected()
        if not rejected.is_empty():
            self.aside(rejected)
            self.rejected = rejected.height
        self.position = self.reading.position() or self.begin.position
        return Memo(
            name=self.begin.identity,
            data=data_of(self.position),
            after=self.begin.memory,
            entries=self.reading.entries() if isinstance(self.reading, Remembers) else None,
            afresh=self.begin.anew,
        )


@dataclass(slots=True)
class _Counted:
    """Rows, counted as they pass."""

    inner: pa.RecordBatchReader
    told: Callable[[int, int], object] | None = None
    rows: int = 0
    bytes: int = 0

    @property
    def schema(self) -> pa.Schema:
        """Their columns."""
        return self.inner.schema

    def reader(self) -> pa.RecordBatchReader:
        """The rows; consumed once."""
        return pa.RecordBatchReader.from_batches(self.inner.schema, self._passing())

    def _passing(self) -> Iterator[pa.RecordBatch]:
        for batch in self.inner:
            self.rows += batch.num_rows
            self.bytes += batch.nbytes
            if self.told is not None:
                self.told(self.rows, self.bytes)
            yield batch


@dataclass(frozen=True, slots=True)
class _TableLedger:
    """What was brought before, asked of the table that took it."""

    table: str | Path
    memory: Remembered
    options: Mapping[str, str] | None = field(repr=False)

    def seen(self, ids: Collection[str]) -> set[str]:
        """Which of these ids were brought by a load that landed."""
        return seen_before(self.table, self.memory, ids, storage_options=self.options)


def _result(
    begin: _Begin, end: _End, counted: _Counted, drift: Drift, written: WriteResult, *, seconds: float
) -> LoadResult:
    reached = end.position if written.table_version >= 0 else None  # without a table nobody remembers
    at = None if reached is None else reached.time
    return LoadResult(
        rows=counted.rows,
        bytes=counted.bytes,
        rejected=end.rejected + written.rejected,
        before=begin.position,
        after=reached,
        lag=None if at is None else datetime.now(tz=UTC) - at,
        seconds=seconds,
        drift=drift,
        written=written,
    )


def _progress(reading: Reading, identity: str) -> Mapping[str, Value]:
    if not isinstance(reading, TellsProgress):
        return {}
    try:
        return dict(reading.progress())
    except Exception as error:  # noqa: BLE001 - the rows have landed; only numbers about them are missing
        logger.warning("what the load of `%s` did can't be told: %s", identity, error)
        return {}


def _tell(reading: Reading, identity: str) -> None:
    try:
        reading.landed()
    except Exception as error:  # noqa: BLE001 - the rows have landed, and the next load says it again
        logger.warning("what follows the load of `%s` failed, and is done by the next: %s", identity, error)


def _own(mode: WriteMode) -> Collection[str]:
    if isinstance(mode, History):
        return mode.reserved
    return mode.own if isinstance(mode, Upsert) else ()


def _put_aside(table: str | Path, batch: str, options: Mapping[str, str] | None, rows: pl.DataFrame) -> None:
    put_aside(table, rows, batch, storage_options=options)
