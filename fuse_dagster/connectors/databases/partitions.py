"""A table read over several connections at once, each a range of a key; the order is that of arrival."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from queue import Full, Queue
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from fuse_dagster.core.errors import ConfigError, InputError

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.database import Database

logger = logging.getLogger(__name__)

_WAITING = 2  # batches for each connection
_PATIENCE = 0.2  # seconds between looks whether somebody stopped


@runtime_checkable
class CanShareSnapshot(Protocol):
    """Several connections can see the database as of one moment."""

    def share(self, connection: Any) -> str:
        """Say by which name others can see what this transaction sees, as long as it is open."""

    def join(self, connection: Any, snapshot: str) -> None:
        """Let a new transaction see what the one that shared the snapshot sees."""


@contextmanager
def read_parted(
    database: Database,
    name: str,
    *,
    on: str,
    connections: int = 4,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.RecordBatchReader]:
    """Read a table in ranges of a key at once.

    Where the system can, as PostgreSQL, all connections see the table as of one moment. Elsewhere each range is
    consistent by itself, and a row whose key changes meanwhile may come twice or not at all: read such tables by one
    connection.

    Args:
        database: Where the table is.
        name: The table.
        on: A column of numbers, dates or times, best the first of an index; rows without it come as well.
        connections: How many at the most, beside the one that looks for the ends.
        columns: The columns to read, in this order; None for all.

    Raises:
        ConfigError: The column is of another kind, or there are fewer than one connection.
        NotThereError: There is no such table.
        SchemaError: It has no such column.
        FuseError: While it is read: one range that fails fails the whole.
    """
    import pyarrow as pa

    if connections < 1:
        raise ConfigError(f"`{connections}` connections can't read. Valid: 1 or more.")
    key = database.dialect.quoted(on)
    with ExitStack() as stack:
        lead = stack.enter_context(database.session())
        database.selecting(lead, name, columns=[on])
        snapshot = database.share(lead) if isinstance(database, CanShareSnapshot) else None
        ends = database.dialect.select([f"min({key}) AS low", f"max({key}) AS high"], database.table(name))
        with database.streamed(lead, ends) as reader:
            low, high = (column[0].as_py() for column in reader.read_all().columns)
        conditions = list(_conditions(database, key, low, high, connections))
        work = _Work(database, name, columns, snapshot)
        nothing = database.selecting(lead, name, columns=columns, limit=0)
        with database.streamed(lead, nothing, declared=database.declared(lead, name)) as empty:
            schema = empty.schema
        stack.enter_context(work.done_by(conditions))
        yield pa.RecordBatchReader.from_batches(schema, _alike(work.batches(), schema))


def _alike(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if not batch.schema.equals(schema):
            msg = "A part has other columns than the table: it was changed meanwhile, or its types are not declared."
            raise InputError(msg)
        yield batch


def _conditions(database: Database, key: str, low: Any, high: Any, parts: int) -> Iterator[tuple[str, list[Any]]]:
    """One condition for each part, with its values; together they hold for every row, and no two for one."""
    edges = _edges(low, high, parts) if low is not None else []
    if not edges:
        yield "", []
        return
    (values, (first,)) = _placed(database, edges[:1])
    yield f"({key} < {first} OR {key} IS NULL)", values
    for pair in pairwise(edges):
        values, (least, next_least) = _placed(database, pair)
        yield f"({key} >= {least} AND {key} < {next_least})", values
    (values, (last,)) = _placed(database, edges[-1:])
    yield f"{key} >= {last}", values


def _placed(database: Database, edges: Sequence[Any]) -> tuple[list[Any], list[str]]:
    """The values to bind for some edges, and what stands in their places."""
    literals = [said for edge in edges if (said := database.literal(edge)) is not None]
    if len(literals) == len(edges):
        return [], literals
    return list(edges), [database.dialect.mark(number) for number in range(1, len(edges) + 1)]


def _edges(low: Any, high: Any, parts: int) -> list[Any]:
    """Values between the ends, at equal distances; fewer where the ends are near."""
    if isinstance(low, bool) or not isinstance(low, int | float | Decimal | date):
        msg = f"`{low!r}` is a value of the key, and ranges are made of numbers, dates and times. Name another column."
        raise ConfigError(msg)
    if isinstance(low, int):
        found = [low + (high - low) * number // parts for number in range(1, parts)]
    elif isinstance(low, datetime):
        found = [low + (high - low) * number / parts for number in range(1, parts)]
    elif isinstance(low, date):
        found = [low + timedelta(days=(high - low).days * number // parts) for number in range(1, parts)]
    else:
        found = [low + (high - low) * number / parts for number in range(1, parts)]
    return sorted({one for one in found if low < one <= high})


class _Work:
    """The parts, read by one thread each, into one queue that holds a few batches."""

    def __init__(self, database: Database, name: str, columns: Sequence[str] | None, snapshot: str | None) -> None:
        self._database = database
        self._name = name
        self._columns = columns
        self._snapshot = snapshot
        self._stop = threading.Event()
        self._queue: Queue[Any] = Queue(maxsize=1)
        self._parts = 0

    @contextmanager
    def done_by(self, conditions: Sequence[tuple[str, list[Any]]]) -> Iterator[None]:
        """Let each part be read by a thread; when the context is left, they stop and are waited for."""
        self._parts = len(conditions)
        self._queue = Queue(maxsize=_WAITING * self._parts)
        threads = [threading.Thread(target=self._read, args=one, daemon=True) for one in conditions]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield what comes, until all parts are done; the first that fails is raised."""
        left = self._parts
        while left:
            found = self._queue.get()
            if found is None:
                left -= 1
            elif isinstance(found, BaseException):
                self._stop.set()
                raise found
            else:
                yield found

    def _read(self, condition: str, values: list[Any]) -> None:
        try:
            with self._database.session() as connection:
                if self._snapshot is not None and isinstance(self._database, CanShareSnapshot):
                    self._database.join(connection, self._snapshot)
                text = self._database.selecting(connection, self._name, columns=self._columns, where=condition)
                declared = self._database.declared(connection, self._name)
                with self._database.streamed(connection, text, values, declared=declared) as reader:
                    for batch in reader:
                        if not self._put(batch):
                            return
            self._put(None)
        except BaseException as error:  # noqa: BLE001 - harmless here: who reads the queue raises it again
            logger.info("a part of %s failed with %s", self._name, type(error).__name__)
            self._put(error)

    def _put(self, item: Any) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_PATIENCE)
            except Full:
                continue
            return True
        return False


__all__ = ["CanShareSnapshot", "read_parted"]
