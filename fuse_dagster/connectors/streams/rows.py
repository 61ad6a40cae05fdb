"""Messages as rows: their bytes, and where and when they were."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Literal, cast

from fuse_dagster.connectors.streams.client import Budget, Client, Range
from fuse_dagster.core.errors import InputError
from fuse_dagster.core.naming import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa
    from confluent_kafka import Message

LimitedTo = Literal["newest", "earliest"]


def schema() -> pa.Schema:
    """The columns of a topic."""
    import pyarrow as pa

    return pa.schema(
        {
            "key": pa.binary(),
            "value": pa.binary(),
            "headers": pa.list_(pa.struct({"name": pa.string(), "value": pa.binary()})),
            "partition": pa.int32(),
            "offset": pa.int64(),
            "timestamp": pa.timestamp("ms", tz="UTC"),
        }
    )


def batch_of(messages: Sequence[Message]) -> pa.RecordBatch:
    """Messages as a batch with the columns of `schema`."""
    import pyarrow as pa

    columns = [
        [message.key() for message in messages],
        [message.value() for message in messages],
        [headers_of(message) for message in messages],
        [message.partition() for message in messages],
        [message.offset() for message in messages],
        [time_of(message) for message in messages],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema(), strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema())


def headers_of(message: Message) -> list[dict[str, object]] | None:
    """The headers in their order; a name may come twice."""
    found = message.headers()
    if not found:
        return None
    return [{"name": name, "value": value} for name, value in cast("list[tuple[str, bytes | None]]", found)]


def time_of(message: Message) -> int | None:
    """When a message was written, in milliseconds since 1970 (UTC); None where it does not say."""
    kind, milliseconds = message.timestamp()
    return None if kind == 0 or milliseconds < 0 else milliseconds


@contextmanager
def opened(
    client: Client, topic: str, *, columns: Sequence[str] | None, limit: int | None, limited_to: LimitedTo
) -> Iterator[pa.RecordBatchReader]:
    """The messages that a topic holds now, in batches.

    Args:
        client: Connected.
        topic: Its name.
        columns: Which, in this order; None for all.
        limit: How many at the most.
        limited_to: Which of them then.

    Raises:
        InputError: There is no such column.
        FuseError: The broker can't be asked, also while the batches are read.
    """
    import pyarrow as pa

    names = schema().names if columns is None else list(columns)
    if unknown := [name for name in names if name not in schema().names]:
        raise InputError(f"A topic has no column `{unknown[0]}`. {did_you_mean(unknown[0], schema().names)}")
    bounds = client.bounds(topic)
    wanted = pa.schema([schema().field(name) for name in names])

    def batches() -> Generator[pa.RecordBatch]:
        if limit is not None and limited_to == "newest":
            parts: Iterator[list[Message]] = iter([_newest(client, topic, bounds, limit)])
        else:
            parts = iter(client.messages(topic, bounds, Budget(messages=limit)))
        for part in parts:
            yield batch_of(part).select(names)

    if limit == 0:
        bounds = {}
    with closing(batches()) as found:
        yield pa.RecordBatchReader.from_batches(wanted, found)


def _newest(client: Client, topic: str, bounds: dict[int, Range], limit: int) -> list[Message]:
    """The newest messages of all partitions, oldest first; gaps between offsets make it look further back."""
    window = max(1, limit)
    while True:
        ranges = {number: Range(max(one.start, one.end - window), one.end) for number, one in bounds.items()}
        found = [message for part in client.messages(topic, ranges) for message in part]
        if len(found) >= limit or all(ranges[number].start == one.start for number, one in bounds.items()):
            break
        window *= 8
    found.sort(key=lambda message: (time_of(message) or 0, message.partition() or 0, message.offset() or 0))
    return found[max(0, len(found) - limit) :]
