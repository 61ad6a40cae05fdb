"""One reading of a topic: from the offsets where the last load ended, to those that were there when it began."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from fuse_dagster.connectors.streams.client import Budget, Client, Messages, Range
from fuse_dagster.connectors.streams.decoding import UndecodableError
from fuse_dagster.connectors.streams.rows import time_of
from fuse_dagster.core.errors import InputError
from fuse_dagster.ingest.topics.gathering import Gathered
from fuse_dagster.ingest.topics.offsets import Reached
from fuse_dagster.ingest.topics.rows import Row, Shape, own_types

if TYPE_CHECKING:
    from confluent_kafka import Message

    from fuse_dagster.ingest.source import Position, Value

REJECTED = {
    "_partition": pl.Int32(),
    "_offset": pl.Int64(),
    "_timestamp": pl.Datetime("us", "UTC"),
    "_key": pl.Binary(),
    "_value": pl.Binary(),
    "_rejection_reasons": pl.List(pl.String()),
}
"""Columns of a message that can't be decoded: where it was, its bytes, and why."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a reading did, for people and metrics.

    Attributes:
        before: Partition -> the offset that it began at.
        after: Partition -> the offset that comes next.
        ends: Partition -> the offset that the topic ended at when the reading began.
        messages: How many were read, with those that were rejected.
        rejected: How many of them could not be decoded.
        bytes: Of keys, values and headers.
        lost: How many offsets retention took before they were read.
        lags: Partition -> how many offsets are left of it.
        lag_messages: Offsets that are left; it counts gaps, too.
        lag_seconds: How much older what was read is than now, where something is left; 0 where nothing is.
    """

    before: Mapping[int, int]
    after: Mapping[int, int]
    ends: Mapping[int, int]
    messages: int
    rejected: int
    bytes: int
    lost: int
    lags: Mapping[int, int]
    lag_messages: int
    lag_seconds: float | None


@dataclass(slots=True, kw_only=True)
class TopicReading:
    """One reading of a topic; see `TopicMessages`.

    Attributes:
        client: Connected.
        topic: Its name.
        ranges: Partition -> what is read of it.
        ends: Partition -> the offset that the topic ends at.
        start: How far the last load came, with new partitions; the times of its messages.
        shape: How messages become rows.
        budget: How much to read at the most.
        saves: Whether there is a position to save; not of a backfill.
        group: Of whom offsets are committed after the load; "" for nobody.
        lost: How many offsets retention took.
        starts_late: Whether a first load begins at the topic's end, which the next one would find elsewhere.
    """

    client: Client
    topic: str
    ranges: Mapping[int, Range]
    ends: Mapping[int, int]
    start: Reached
    since: Reached | None
    shape: Shape
    budget: Budget
    saves: bool = True
    group: str = ""
    lost: int = 0
    starts_late: bool = False
    _messages: Messages | None = None
    _rejected: list[dict[str, Any]] = field(default_factory=list)
    _times: dict[int, int] = field(default_factory=dict)
    _count: int = 0
    _bytes: int = 0

    def batches(self) -> pa.RecordBatchReader:
        """The rows. Messages are read whole and decoded before the first batch, as their types show in them.

        Where none is readable there are no columns, because nobody knows which there would be, a key's among them; but
        for a first load that has something to remember, which makes the table for that.

        Raises:
            StoreUnavailableError: The broker, or the schema registry, went away.
            StoreError: It refuses.
            InputError: A backfill's ranges hold more than one load may take.
        """
        own = own_types(self.shape.envelope, headers=self.shape.headers)
        gathered = Gathered({**own, **self.shape.key_types, **self.shape.value_types})
        for part in self._parts():
            if rows := list(self._rows(part)):
                gathered.add(rows)
        if not self.saves:
            self._refuse_short()
        elif left := self.state().lag_messages:
            logger.info("the load of the topic `%s` is full; %d offsets are left for the next", self.topic, left)
        if gathered.is_empty and (self.since is not None or not (self._rejected or self.starts_late)):
            return pa.RecordBatchReader.from_batches(pa.schema([]), [])
        return gathered.batches()

    def position(self) -> Position | None:
        """The offsets that come next; None where nothing was read, and for a backfill."""
        after = self._after()
        if not self.saves or after == self.since:
            return None
        return after.position(self.ends)

    def rejected(self) -> pl.DataFrame:
        """Messages that could not be decoded, with the columns of `REJECTED`."""
        return pl.DataFrame(self._rejected, schema=REJECTED)

    def landed(self) -> None:
        """Tell the broker how far the group came, where one is named: for those who watch its lag."""
        if self.group and self.saves:
            self.client.commit(self.topic, self._after().offsets)

    def progress(self) -> dict[str, Value]:
        """The same as numbers to plot, for a load to hand on."""
        now = self.state()
        told: dict[str, Value] = {
            "messages": now.messages,
            "message_bytes": now.bytes,
            "messages_broken": now.rejected,
            "messages_lost": now.lost,
            "offsets_before": _by_partition(now.before),
            "offsets_after": _by_partition(now.after),
        }
        if not self.saves:  # what a backfill leaves is no lag
            return told
        told |= {"consumer_lag": now.lag_messages, "lag_by_partition": _by_partition(now.lags)}
        behind = now.lag_seconds
        return told if behind is None else {**told, "consumer_lag_seconds": round(behind, 3)}

    def state(self) -> Progress:
        """What was done; asked after the batches were consumed."""
        after = self._after()
        lags = {number: max(0, end - after.offsets.get(number, 0)) for number, end in self.ends.items()}
        lag = sum(lags.values())
        told = after.position(self.ends).time
        age = None if told is None else max(0.0, (datetime.now(UTC) - told).total_seconds())
        return Progress(
            before=self.start.offsets,
            after=after.offsets,
            ends=self.ends,
            messages=self._count,
            rejected=len(self._rejected),
            bytes=self._bytes,
            lost=self.lost,
            lags=lags,
            lag_messages=lag,
            lag_seconds=age if lag else 0.0,
        )

    def _refuse_short(self) -> None:
        """Ranges that were asked for come whole: nobody would know later where to go on."""
        after = self._after().offsets
        short = {number: one for number, one in self.ranges.items() if after[number] < one.end}
        if short:
            left = ", ".join(f"{number}:{after[number]}-{one.end}" for number, one in sorted(short.items()))
            msg = (
                f"The ranges of `{self.topic}` hold more than `max_messages` or `max_bytes` let one load take: "
                f"`{left}` is left. Nothing was written; name smaller ranges, or raise the limit."
            )
            raise InputError(msg)

    def _parts(self) -> Iterator[list[Message]]:
        self._messages = self.client.messages(self.topic, self.ranges, self.budget)
        yield from self._messages

    def _rows(self, messages: list[Message]) -> Iterator[Row]:
        for message in messages:
            number, time = message.partition(), time_of(message)
            self._count += 1
            self._bytes += len(message)
            if time is not None and number is not None:
                self._times[number] = time
            try:
                yield self.shape.row(message)
            except UndecodableError as error:
                self._rejected.append(_dead(message, time, str(error)))

    def _after(self) -> Reached:
        reached = {} if self._messages is None else self._messages.reached
        offsets = {**self.start.offsets, **reached}
        return Reached(topic=self.start.topic, offsets=offsets, times={**self.start.times, **self._times})


def _by_partition(offsets: Mapping[int, int]) -> dict[str, int]:
    return {str(number): offset for number, offset in sorted(offsets.items())}


def _dead(message: Message, time: int | None, why: str) -> dict[str, Any]:
    return {
        "_partition": message.partition(),
        "_offset": message.offset(),
        "_timestamp": None if time is None else datetime.fromtimestamp(time / 1000, tz=UTC),
        "_key": message.key(),
        "_value": message.value(),
        "_rejection_reasons": [why],
    }
