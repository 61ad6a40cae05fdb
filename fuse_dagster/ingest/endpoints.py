"""Incremental reads of an API: by a parameter that asks for what is new, and a field that says how new a row is."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

import polars as pl

from fuse_dagster.core.errors import ConfigError, InputError, SchemaError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.ingest.overlap import Overlap
from fuse_dagster.ingest.source import Ledger, Position, Reading
from fuse_dagster.ingest.watermark import Lag, decode, encode, event_time, in_words, is_before, less

if TYPE_CHECKING:
    import pyarrow as pa

SinceFormat = Literal["iso", "date", "epoch_seconds", "epoch_milliseconds"]

logger = logging.getLogger(__name__)


class ReadsEndpoints(Protocol):
    """An API, as far as a reading asks it; `fuse_dagster.REST` is one."""

    @property
    def place(self) -> str:
        """Where it is, without secrets."""

    def rows(
        self, name: str, *, parameters: Mapping[str, str] | None = None
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """Read an endpoint with parameters of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSource:
    """An endpoint that can be asked for what is new since a time or a number.

    What it brings again, as the rows at the watermark, is recognized and left out; what lies below the time that was
    asked for, because an API does not keep to it, is left out as well. The position is the greatest cursor of a whole
    read: a page that fails leaves the one before.

    Attributes:
        api: The connector.
        endpoint: The name of the endpoint. Declare its `columns`: types that are inferred may change with the rows.
        cursor: The column: a time, a date or a number that grows with each row that is new, and each change.
        since: The parameter that asks for rows from there on. Where an API leaves out rows at that very value, give a
            `lag`.
        until: The parameter that asks for rows up to the moment at which a reading begins, which keeps pages still;
            "" where there is none.
        format: How times are written in both parameters.
        first: What `since` is in the first load; None to leave it out.
        lag: How far below the watermark rows may appear late: a time for times, a number for numbers.
        keys: Columns that say which row it is, to recognize those that come again; all columns by default.
        ahead: How far into the future a cursor of times may be, before the reading is refused; None believes any time.
        name: What the position is known by; the endpoint by default.

    Example:
        >>> flights = EndpointSource(api=api, endpoint="flights", cursor="updated_at", since="updated_since")
        ... # doctest: +SKIP
    """

    api: ReadsEndpoints
    endpoint: str
    cursor: str
    since: str
    until: str = ""
    format: SinceFormat = "iso"
    first: str | None = None
    lag: Lag | None = None
    keys: Sequence[str] = ()
    ahead: timedelta | None = timedelta(days=1)
    name: str | None = None

    @property
    def identity(self) -> str:
        """What the position is known by."""
        return self.name or self.endpoint

    @contextmanager
    def read(self, since: Position | None, ledger: Ledger | None = None) -> Iterator[Reading]:
        """Ask for what is new; rows are fetched while the batches are read.

        Raises:
            InputError: `since` is no position of this source.
            ConfigError: It was read elsewhere, or the lag does not fit the cursor.
        """
        del ledger  # rows are recognized by their digests
        start = self._start(self._checked(since))
        now = datetime.now(UTC)
        parameters = {} if start is None else {self.since: written(start, self.format)}
        if start is None and self.first is not None:
            parameters[self.since] = self.first
        if self.until:
            parameters[self.until] = written(now, self.format, up=True)
        with self.api.rows(self.endpoint, parameters=parameters) as reader:
            yield _Rows(self, reader, since, start, now)

    def back(self, value: Any) -> Any:
        """A watermark less the lag."""
        return value if self.lag is None else less(value, self.lag)

    def _checked(self, since: Position | None) -> Position | None:
        if since is None:
            return None
        if since.value.get("column") != self.cursor or "edge" not in since.value:
            msg = f"`{self.identity}` was read to `{since.said}` by another column than `{self.cursor}`"
            raise InputError(f"{msg}; load once with `full_refresh=True`")
        if since.value.get("place") != self.api.place:
            raise ConfigError(
                f"`{self.identity}` was read to `{since.said}` from `{since.value.get('place')}`, and is now read from "
                f"`{self.api.place}`. Give it another `name`, or load once with `full_refresh=True`"
            )
        return since

    def _start(self, since: Position | None) -> Any:
        """From where rows are read again: never from below what is remembered, also where the lag has grown."""
        if since is None:
            return None
        start, edge = self.back(decode(since.value["cursor"])), decode(since.value["edge"])
        return edge if is_before(start, edge) else start


def written(value: Any, form: SinceFormat, *, up: bool = False) -> str:
    """A watermark as an API wants it; what its form can't hold is rounded, so that no row is missed.

    Args:
        value: A time with a zone, a date or a number.
        form: How times are written; numbers and dates are written as they are.
        up: Whether to round up rather than down.

    Raises:
        ConfigError: A time has no zone.

    Examples:
        >>> written(datetime(2024, 6, 1, 12, 30, 0, 500000, tzinfo=UTC), "epoch_seconds", up=True)
        '1717245001'
    """
    if not isinstance(value, datetime):
        return str(value)
    if value.tzinfo is None:
        raise ConfigError(f"The time `{value}` has no zone, so it can't be asked for. Declare the column `timestamp`.")
    at = value.astimezone(UTC)
    if form == "iso":
        return at.replace(tzinfo=None).isoformat() + "Z"
    if form == "date":
        whole = at == at.replace(hour=0, minute=0, second=0, microsecond=0)
        return str(at.date() + timedelta(days=1 if up and not whole else 0))
    unit = timedelta(seconds=1) if form == "epoch_seconds" else timedelta(milliseconds=1)
    passed = at - datetime(1970, 1, 1, tzinfo=UTC)
    return str(-(-passed // unit) if up else passed // unit)


class _Rows:
    """One reading of an `EndpointSource`."""

    def __init__(
        self, source: EndpointSource, reader: pa.RecordBatchReader, since: Position | None, start: Any, now: datetime
    ) -> None:
        self._source, self._reader, self._start, self._now = source, reader, start, now
        self._since = None if since is None else decode(since.value["cursor"])
        self._upper = self._since
        told = list(dict.fromkeys([*source.keys, source.cursor])) if source.keys else sorted(reader.schema.names)
        self._overlap = Overlap(told, None if since is None else since.value.get("seen"))
        self._near: list[pl.DataFrame] = []

    def batches(self) -> pa.RecordBatchReader:
        """The rows, without those that were there before."""
        import pyarrow as pa

        names, cursor = self._reader.schema.names, self._source.cursor
        if names and cursor not in names:
            raise SchemaError(f"`{self._source.identity}` has no column `{cursor}`. {did_you_mean(cursor, names)}")
        return pa.RecordBatchReader.from_batches(self._reader.schema, self._fresh())

    def _fresh(self) -> Iterator[pa.RecordBatch]:
        cursor = self._source.cursor
        for batch in self._reader:
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            if not frame.height:
                continue
            kept = self._asked_for(frame[cursor])
            rows = frame.filter(kept)
            if not rows.height:
                continue
            self._look_at(rows[cursor].max(), rows)
            fresh = pl.repeat(value=True, n=rows.height, eager=True)
            if self._since is not None and (before := rows[cursor] <= self._since).any():
                fresh = fresh.scatter(before.arg_true(), self._overlap.is_new(rows.filter(before)))
            yield batch.filter(kept.to_arrow()).filter(fresh.to_arrow())

    def _asked_for(self, cursors: pl.Series) -> pl.Series:
        """Which rows are those that were asked for: an API may bring older ones, and ones that came meanwhile."""
        source = self._source
        if cursors.null_count():
            msg = f"`{source.identity}` has {cursors.null_count()} rows whose cursor `{source.cursor}` is null"
            raise InputError(f"{msg}, so it can't be told when they are new. Choose another `cursor`")
        highest = cursors.max()
        encode(highest)  # type: ignore[arg-type]  # refuses what is no watermark
        if isinstance(highest, str):
            msg = f"the cursor `{source.cursor}` of `{source.identity}` is text, which has no order of its own"
            raise InputError(f"{msg}. Declare its type in the endpoint's `columns`, as `timestamp` or `int64`")
        at = event_time(highest)
        if source.ahead is not None and at is not None and at > self._now + source.ahead:
            raise InputError(
                f"the cursor `{source.cursor}` of `{source.identity}` goes to {in_words(highest)}, which is in the "
                "future: all rows until then would be taken for read. Nothing was read; allow it with `ahead`"
            )
        if self._start is not None and type(self._start) is not type(highest):
            msg = f"the cursor `{source.cursor}` of `{source.identity}` has another type than `{in_words(self._start)}`"
            raise InputError(f"{msg}, to which it was read; load once with `full_refresh=True`")
        kept = pl.repeat(value=True, n=len(cursors), eager=True)
        if self._start is not None:
            kept = cursors >= self._start
        if source.until and isinstance(highest, datetime):
            kept = kept & (cursors <= self._now)
        return kept

    def _look_at(self, highest: Any, rows: pl.DataFrame) -> None:
        """Remember the rows that the next reading sees again, and no others."""
        self._upper = highest if self._upper is None or is_before(self._upper, highest) else self._upper
        edge = self._edge()
        cursor = self._source.cursor
        self._near = [near for one in [*self._near, rows] if (near := one.filter(pl.col(cursor) >= edge)).height]

    def _edge(self) -> Any:
        edge = self._source.back(self._upper)
        return self._start if self._start is not None and is_before(edge, self._start) else edge

    def position(self) -> Position | None:
        """The greatest cursor that was read; None where no row came."""
        if self._upper is None:
            return None
        for rows in self._near:
            self._overlap.keep(rows)
        value = {
            "cursor": encode(self._upper),
            "column": self._source.cursor,
            "place": self._source.api.place,
            "edge": encode(self._edge()),
            "seen": self._overlap.said(stood_still=self._upper == self._since),
        }
        return Position(value=value, said=in_words(self._upper), time=event_time(self._upper))

    def rejected(self) -> pl.DataFrame:
        """Nothing: a page gives its rows or fails."""
        return pl.DataFrame()

    def landed(self) -> None:
        """Nothing is to be said to an API that is only read."""
