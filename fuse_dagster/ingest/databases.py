"""Incremental reads of a database: by a column that grows, up to where it stood when the reading began."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol

import polars as pl

from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.ingest.source import Ledger, Position, Reading
from fuse_dagster.ingest.table_reading import BEFORE, EDGE, TableReading
from fuse_dagster.ingest.watermark import Lag, decode, encode, event_time, in_words, is_before, less
from fuse_dagster.tables.batch import to_batch

if TYPE_CHECKING:
    import pyarrow as pa

NullCursor = Literal["error", "skip", "include"]

logger = logging.getLogger(__name__)


class Quotes(Protocol):
    """How names are written in SQL of a system."""

    def quoted(self, name: str) -> str:
        """A name in quotes, whatever it holds."""


class AnswersSql(Protocol):
    """A database, as far as a reading asks it; every `fuse_dagster.connectors.database.Database` is one."""

    @property
    def place(self) -> str:
        """Where it is, without secrets."""

    @property
    def dialect(self) -> Quotes:
        """How its SQL is written."""

    def table(self, name: str) -> str:
        """A table's name as SQL of this system, each part in quotes."""

    def query(
        self, text: str, parameters: Mapping[str, Any] | None = None
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """Ask in its SQL, where `:name` leaves a value open, and read the answer in batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A part of a source, for a backfill: from `start` to before `end`, as values of the cursor."""

    start: Any
    end: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSource:
    """A table or query of a database, read by a column that grows: its cursor.

    A reading asks first how far the cursor goes, and reads the rows up to there in one statement: rows that come
    meanwhile belong to the next. Rows with the last value, and with `lag` those a little below it, are read again by
    the next load, which leaves out those it knows and takes those that became visible late.

    Attributes:
        database: The connector.
        table: As `schema.table`.
        query: SQL that returns rows, in place of `table`.
        parameters: Values of what `query` leaves open as `:name`.
        cursor: The column. It grows with every row that is new, and with every change that should be seen: a number
            from a sequence, or the time of the last change. A row whose cursor is lower than what was read already, by
            more than `lag`, is not seen.
        columns: Columns to read; all by default. The cursor has to be among them.
        keys: Columns that, with the cursor, say which row it is, to recognize rows that are read again; all columns
            by default.
        lag: How far below the watermark late rows may appear. Transactions that began early and commit late make such
            rows: give more than the longest of them takes. A time for times, a number for numbers.
        reread: A rolling window: rows this far below the watermark are read again as they are now, also those that
            were there, for sources that change rows without moving the cursor. It needs a mode that knows rows.
        null_cursor: What rows without a cursor are: an `error`; left out (`skip`); or read every time and taken once
            (`include`).
        timezone: In which timestamps without a zone are written, to tell freshness; nothing else depends on it.
        ahead: How far into the future a cursor of times may be. One row of the year 9999 would hide all that follow,
            so the reading is refused; None believes any time.
        window: Only this part, or these, and the watermark stays where it is.
        name: What the position is known by; the table by default. Two sources that feed one table need two names.
        moved_from: The place that the database had before, where it has moved with its rows.

    Example:
        >>> orders = TableSource(database=shop, table="public.orders", cursor="updated_at", lag=timedelta(minutes=5))
        ... # doctest: +SKIP
    """

    database: AnswersSql
    table: str | None = None
    query: str | None = None
    parameters: Mapping[str, Any] | None = None
    cursor: str
    columns: Sequence[str] | None = None
    keys: Sequence[str] = ()
    lag: Lag | None = None
    reread: Lag | None = None
    null_cursor: NullCursor = "error"
    timezone: str | None = None
    ahead: timedelta | None = timedelta(days=1)
    window: Window | Sequence[Window] | None = None
    name: str | None = None
    moved_from: str | None = None

    def __post_init__(self) -> None:
        """Refuse what can't work, all of it at once."""
        problems = list(self._problems())
        if problems:
            raise ConfigError("TableSource: " + "; ".join(problems))

    @property
    def identity(self) -> str:
        """What the position is known by."""
        return str(self.name or self.table)

    @property
    def is_part(self) -> bool:
        """Whether only a part of the source is read."""
        return self.window is not None

    @property
    def repeats(self) -> bool:
        """Whether a reading brings rows again that a sink has to recognize."""
        return self.reread is not None or self.window is not None

    def schema(self) -> dict[str, pl.DataType]:
        """Its columns and types, as a batch of it has them."""
        text = f"SELECT {self._chosen()} FROM {self._from()} AS source WHERE 1 = 0"  # noqa: S608 - names are quoted
        with self._asked(text, {}) as reader:
            return dict(to_batch(reader.schema.empty_table()).schema)

    def within(self, start: Any, end: Any) -> TableSource:
        """The part of it from `start` to before `end`, for a backfill; the watermark stays where it is."""
        return self.within_any(Window(start=start, end=end))

    def within_any(self, *windows: Window) -> TableSource:
        """Several parts of it, in one statement; a row that lies in two comes once."""
        return replace(self, window=windows[0] if len(windows) == 1 else windows)

    @contextmanager
    def read(self, since: Position | None, ledger: Ledger | None = None) -> Iterator[Reading]:
        """Ask how far the cursor goes, and open the rows up to there.

        Raises:
            InputError: `since` is no position of this source, a cursor is null, or lies in the future.
            ConfigError: `since` was read elsewhere, or the lag does not fit the cursor.
        """
        del ledger  # rows are recognized by their digests
        since = self._checked(since)
        self._refuse_nulls()
        if self.window is not None:
            where, values = self._within()
            upper = None
        else:
            upper = self._upper(since)
            where, values = self._between(since, upper)
        flags = self._flags(since, upper, values)
        said = ", ".join([self._chosen(), *flags])
        text = f"SELECT {said} FROM {self._from()} AS source WHERE {where}"  # noqa: S608 - names are quoted
        with self._asked(text, values) as reader:
            yield TableReading(self, reader, since, upper)

    def key_rows(
        self, keys: Sequence[str], since: Position | None = None
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """The keys of all rows that are there, whatever their cursor, in one statement.

        Args:
            keys: Columns.
            since: Where loads of this source have come to.

        Raises:
            InputError: `since` is no position of this source.
            ConfigError: It was read elsewhere.
        """
        self._checked(since)
        chosen = ", ".join(f"source.{self._quoted(name)}" for name in keys)
        return self._asked(f"SELECT {chosen} FROM {self._from()} AS source", {})  # noqa: S608 - names are quoted

    def _problems(self) -> Iterator[str]:
        if (self.table is None) == (self.query is None):
            yield "give either `table` or `query`"
        if self.query is not None and self.name is None:
            yield "a `query` needs a `name`, by which its position is known"
        if self.parameters and self.query is None:
            yield "`parameters` belong to a `query`"
        if self.lag is not None and self.reread is not None:
            yield "`lag` and `reread` exclude each other: one takes late rows once, the other takes all rows again"
        if self.window is not None and not self._windows:
            yield "`window` is empty; give a part, or None for what is new"
        if self.columns is not None and self.cursor not in self.columns:
            yield f"`columns` leaves out the cursor `{self.cursor}`"
        if self.columns is not None and (lost := [key for key in self.keys if key not in self.columns]):
            yield f"`columns` leaves out {lost}, which `keys` names"
        if self.null_cursor not in ("error", "skip", "include"):
            yield f"`null_cursor` is `{self.null_cursor}`; valid: error, skip, include"
        for role in ("lag", "reread"):
            value = getattr(self, role)
            if value is not None and value < type(value)(0):
                yield f"`{role}` is `{value}`; give how far to go back, as a time or a number above zero"

    def _checked(self, since: Position | None) -> Position | None:
        if since is None:
            return None
        place = since.value.get("place")
        if "cursor" not in since.value or since.value.get("column") != self.cursor:
            raise InputError(
                f"`{self.identity}` was read to `{since.said}` by another column or kind of source than "
                f"`{self.cursor}`; load once with `full_refresh=True`"
            )
        if ("seen" in since.value) == self.repeats and self.window is None:
            raise ConfigError(
                f"`{self.identity}` was read {'without' if self.repeats else 'with'} `reread` so far, and is now read "
                f"{'with' if self.repeats else 'without'}, so it isn't known which rows near `{since.said}` are there; "
                "load once with `full_refresh=True`"
            )
        if place not in (self.database.place, self.moved_from):
            raise ConfigError(
                f"`{self.identity}` was read to `{since.said}` from `{place}`, and is now read from "
                f"`{self.database.place}`. If the same rows have moved there, say `moved_from={place!r}`; if it is "
                "another source, give it a `name`; else load once with `full_refresh=True`"
            )
        return since

    def _refuse_nulls(self) -> None:
        if self.null_cursor != "error":
            return
        text = f"SELECT COUNT(*) AS n FROM {self._from()} AS source WHERE {self._cursor} IS NULL"  # noqa: S608 - quoted
        nulls = self._one(text, {})["n"]
        if nulls:
            raise InputError(
                f"`{self.identity}` has {nulls} rows whose cursor `{self.cursor}` is null, so it can't be told when "
                'they are new. Fill it in the source, or say `null_cursor="include"` to look at them with every load, '
                'or `"skip"` to leave them out'
            )

    def _upper(self, since: Position | None) -> Any:
        """How far the cursor goes now; never further back than before."""
        last = None if since is None else decode(since.value["cursor"])
        behind = "0" if last is None else f"CASE WHEN MAX({self._cursor}) < :fuse_last THEN 1 ELSE 0 END"
        text = f"SELECT MAX({self._cursor}) AS upper_bound, {behind} AS behind FROM {self._from()} AS source"  # noqa: S608 - quoted
        found = self._one(text, {} if last is None else {"fuse_last": last})
        upper = found["upper_bound"]
        if upper is None:
            return last
        encoded = encode(upper)
        if since is not None and encoded["type"] != since.value["cursor"]["type"]:
            raise InputError(
                f"the cursor `{self.cursor}` of `{self.identity}` was a {since.value['cursor']['type']} and is a "
                f"{encoded['type']} now; nothing was read. Load once with `full_refresh=True`"
            )
        self._refuse_future(upper)
        if found["behind"]:
            logger.warning(
                "the cursor `%s` of `%s` goes to %s only, and %s was read before; rows were removed there",
                self.cursor, self.identity, in_words(upper), in_words(last),
            )  # fmt: skip
            return last
        return upper

    def _refuse_future(self, upper: Any) -> None:
        at = event_time(upper, self.timezone or "UTC")
        if self.ahead is not None and at is not None and at > datetime.now(tz=UTC) + self.ahead:
            raise InputError(
                f"the cursor `{self.cursor}` of `{self.identity}` goes to {in_words(upper)}, which is in the future: "
                "all rows until then would be taken for read. Nothing was read; correct the row, or the clock, or "
                "allow it with `ahead`"
            )

    def _between(self, since: Position | None, upper: Any) -> tuple[str, dict[str, Any]]:
        values: dict[str, Any] = {}
        if upper is None:
            where = "1 = 0"
        else:
            values["fuse_upper"] = upper
            where = f"{self._cursor} <= :fuse_upper"
        if since is not None:
            values["fuse_from"] = self._start(since)
            where = f"{self._cursor} >= :fuse_from AND {where}"
        return (f"(({where}) OR {self._cursor} IS NULL)" if self.null_cursor == "include" else where), values

    @property
    def _windows(self) -> Sequence[Window]:
        return [self.window] if isinstance(self.window, Window) else list(self.window or ())

    def _within(self) -> tuple[str, dict[str, Any]]:
        parts, values = [], {}
        for number, window in enumerate(self._windows):
            for name, bound in ((f"fuse_from_{number}", window.start), (f"fuse_upper_{number}", window.end)):
                encode(bound)
                values[name] = bound
            parts.append(f"({self._cursor} >= :fuse_from_{number} AND {self._cursor} < :fuse_upper_{number})")
        return " OR ".join(parts), values

    def _flags(self, since: Position | None, upper: Any, values: dict[str, Any]) -> list[str]:
        """Columns by which the database, which knows its own order, tells rows that are seen twice."""
        if self.repeats or (upper is None and self.null_cursor != "include"):
            return []
        seen = also = f"{self._cursor} IS NULL"
        if since is not None:
            values["fuse_since"] = decode(since.value["cursor"])
            seen = f"{seen} OR {self._cursor} <= :fuse_since"
        if upper is not None:
            values["fuse_edge"] = self._edge(since, upper)
            also = f"{also} OR {self._cursor} >= :fuse_edge"
        return [f"CASE WHEN {said} THEN 1 ELSE 0 END AS {name}" for said, name in ((seen, BEFORE), (also, EDGE))]

    def _start(self, since: Position) -> Any:
        """From where rows are read again: never from below what is remembered, also where the lag has grown."""
        start = self._back(decode(since.value["cursor"]))
        edge = None if "edge" not in since.value else decode(since.value["edge"])
        return edge if edge is not None and self.lag is not None and is_before(start, edge) else start

    def _edge(self, since: Position | None, upper: Any) -> Any:
        """From where on rows are remembered, because the next reading sees them again."""
        edge = self._back(upper)
        start = None if since is None or self.lag is None else self._start(since)
        return start if start is not None and is_before(edge, start) else edge

    def edge_after(self, since: Position | None, upper: Any) -> dict[str, str]:
        """The same for the position that a reading ends with, as JSON."""
        return encode(self._edge(since, upper))

    def _back(self, value: Any) -> Any:
        lag = self.lag if self.reread is None else self.reread
        return value if lag is None else less(value, lag)

    def _chosen(self) -> str:
        # SQLite takes a name that it does not know for text, unless it says whose it is.
        own = self.columns
        return "source.*" if own is None else ", ".join(f"source.{self._quoted(name)}" for name in own)

    def _from(self) -> str:
        return f"({self.query})" if self.table is None else self.database.table(self.table)

    @property
    def _cursor(self) -> str:
        return f"source.{self._quoted(self.cursor)}"

    def _quoted(self, name: str) -> str:
        return self.database.dialect.quoted(name)

    def _asked(self, text: str, values: Mapping[str, Any]) -> AbstractContextManager[pa.RecordBatchReader]:
        return self.database.query(text, {**(self.parameters or {}), **values} or None)

    def _one(self, text: str, values: Mapping[str, Any]) -> dict[str, Any]:
        with self._asked(text, values) as reader:
            (row,) = reader.read_all().to_pylist()
        return dict(row)
