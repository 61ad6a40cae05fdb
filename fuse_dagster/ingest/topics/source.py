"""A topic as a source of incremental loads: its offsets are saved by the commit of the rows."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal, get_args

from fuse_dagster.connectors.streams.broker import registry_of
from fuse_dagster.connectors.streams.client import GROUP, Budget, Client, Range
from fuse_dagster.connectors.streams.decoding import Format, Registry, decoder
from fuse_dagster.core.errors import ConfigError, GapError, InputError
from fuse_dagster.ingest.topics.offsets import Reached, joined, parse_ranges, reached
from fuse_dagster.ingest.topics.reading import TopicReading
from fuse_dagster.ingest.topics.rows import KEY, Envelope, Shape

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.streams.broker import Broker
    from fuse_dagster.ingest.source import Ledger, Position

OnGap = Literal["error", "earliest"]
START = ("earliest", "latest")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicMessages:
    """The messages of a topic, each of which lands once: a load begins at the offsets that the last one committed.

    A reading ends at the offsets that were there when it began. What transactions did not commit is left out. A value
    that is a record gives a column per field, another one the column `value`; fields of the key fill columns that the
    value lacks. Every row has `_partition`, `_offset`, `_timestamp` (UTC) and `_tombstone`, which is true where the
    value is null. What can't be decoded is rejected, and the others go on.

    Attributes:
        broker: Where the topic is.
        topic: Its name.
        value: How values are written: `raw` bytes, `text`, `json`, or `registry`: with the id of a schema (Avro,
            Protobuf or JSON) in the broker's schema registry.
        key: How keys are written, likewise.
        key_column: The column for a key that is no record.
        columns: Of JSON: field -> Arrow type. A message that does not fit exactly is rejected. Types of other fields
            show in the values.
        envelope: `debezium`: the value is a change of a row; the row is what it was after the change, or before a
            delete, and `_op` says which change (`c`, `r`, `u`, `d`).
        headers: Whether to keep headers, in `_headers`.
        start: Where the first load begins: `earliest`, `latest`, or a moment.
        on_gap: What it means where retention took messages before they were read: an `error` that says how many; or
            to go on with the `earliest` that is left, with a line in the log.
        only: Ranges of offsets, as `0:100-200`, to load those and nothing else, whatever was loaded before: for a
            backfill, to a sink that knows rows or replaces them. They come as a whole or not at all, and move no
            position.
        max_messages: How many messages a load takes at the most; None for all.
        max_bytes: How many bytes of messages a load takes at the most, as it holds them in memory; None for all.
        group: Consumer group whose offsets are committed after a load, for those who watch its lag; nothing here reads
            them.
        name: What the source is known by in the table; by default the topic's name.

    Example:
        >>> from fuse_dagster import Kafka
        >>> TopicMessages(broker=Kafka(bootstrap_servers="a.example:9092"), topic="orders", value="json").identity
        'topic:orders'
    """

    broker: Broker
    topic: str
    value: Format = "raw"
    key: Format = "raw"
    key_column: str = KEY
    columns: Mapping[str, pa.DataType] = field(default_factory=dict)
    envelope: Envelope = "none"
    headers: bool = False
    start: Literal["earliest", "latest"] | datetime = "earliest"
    on_gap: OnGap = "error"
    only: str | None = None
    max_messages: int | None = None
    max_bytes: int | None = 128_000_000
    group: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        """Check the declaration.

        Raises:
            ConfigError: It can't work; all that is wrong is said at once.
        """
        found = []
        choices = {"value": Format, "key": Format, "envelope": Envelope, "on_gap": OnGap}
        for name, valid in choices.items():
            if getattr(self, name) not in get_args(valid):
                found.append(f"`{name}` is `{getattr(self, name)}`; valid: {', '.join(get_args(valid))}")
        if isinstance(self.start, datetime):
            if self.start.tzinfo is None:
                found.append("`start` is a time without a zone; give one with it")
        elif self.start not in START:
            found.append(f"`start` is `{self.start}`; valid: earliest, latest, or a moment")
        found += [
            f"`{name}` is `{getattr(self, name)}`; give a number above 0, or None for all"
            for name in ("max_messages", "max_bytes")
            if getattr(self, name) is not None and getattr(self, name) < 1
        ]
        if self.columns and "json" not in {self.value, self.key}:
            found.append("`columns` is for JSON; a schema registry, `raw` and `text` say their types by themselves")
        if self.envelope == "debezium" and self.value not in {"json", "registry"}:
            found.append("`envelope` needs values of the format `json` or `registry`")
        if found:
            raise ConfigError(f"`TopicMessages` can't be declared so: {'; '.join(found)}.")
        if self.only is not None:
            parse_ranges(self.only)

    @property
    def identity(self) -> str:
        """What the source is known by: its name, or that of the topic."""
        return self.name or f"topic:{self.topic}"

    @property
    def is_part(self) -> bool:
        """Whether only a part of the topic is read."""
        return self.only is not None

    @property
    def repeats(self) -> bool:
        """Whether a reading brings messages again that a sink has to recognize."""
        return self.only is not None

    def named_parts(self, names: Sequence[str]) -> TopicMessages:
        """The ranges of offsets of these names, as `0:100-200`, and nothing else.

        Raises:
            ConfigError: One is no range, or two of a partition do not adjoin.
        """
        ranges = joined(names)
        return replace(self, only=",".join(f"{number}:{one.start}-{one.end}" for number, one in ranges.items()))

    @contextmanager
    def read(self, since: Position | None, ledger: Ledger | None = None) -> Iterator[TopicReading]:
        """Open the topic; leaving the context closes it.

        Args:
            since: Where the last load ended; None for the first, and a full refresh.
            ledger: Not needed: offsets say all.

        Raises:
            GapError: Messages after `since` are there no more, or the topic is another one of the same name.
            InputError: `since` is no position of a topic; or `only` names offsets that are not there.
            NotThereError: There is no such topic.
            FuseError: The broker can't be reached, or refuses.
        """
        del ledger
        before = None if since is None or self.only is not None else reached(since, self.topic)
        registry = self._registry()
        try:
            with self.broker.connected(group=self.group or GROUP) as client:
                yield self._reading(client, before, registry)
        finally:
            if registry is not None:
                registry.close()

    def _reading(self, client: Client, before: Reached | None, registry: Registry | None) -> TopicReading:
        bounds = client.bounds(self.topic)
        identity = client.identity(self.topic)
        lost = 0
        if self.only is not None:
            ranges = self._chosen(bounds)
            start = {number: one.start for number, one in ranges.items()}
        elif before is None:
            start = self._first(client, bounds)
        else:
            start, lost = self._continued(before, bounds, identity)
        if self.only is None:
            ranges = {number: Range(start[number], one.end) for number, one in bounds.items()}
        shape = Shape(
            key=decoder(self.key, registry),
            value=decoder(self.value, registry),
            key_types=self.columns if self.key == "json" else {},
            value_types=self.columns if self.value == "json" else {},
            key_column=self.key_column,
            envelope=self.envelope,
            headers=self.headers,
        )
        return TopicReading(
            client=client,
            topic=self.topic,
            ranges=ranges,
            ends={number: bounds[number].end for number in ranges},
            start=Reached(topic=identity, offsets=start, times={} if before is None else before.times),
            since=before,
            shape=shape,
            budget=Budget(messages=self.max_messages, bytes=self.max_bytes),
            saves=self.only is None,
            group=self.group,
            lost=lost,
            starts_late=self.start == "latest",
        )

    def _first(self, client: Client, bounds: Mapping[int, Range]) -> dict[int, int]:
        if isinstance(self.start, datetime):
            return client.offsets_at(self.topic, self.start, bounds)
        return {number: one.end if self.start == "latest" else one.start for number, one in bounds.items()}

    def _continued(self, before: Reached, bounds: Mapping[int, Range], identity: str) -> tuple[dict[int, int], int]:
        """Where each partition goes on, and how many offsets retention took.

        A partition that is new begins at 0, like all partitions: what it lacks by now was lost, too.
        """
        remedy = "Load it anew as a whole (a full refresh), or give the source another `name`."
        gone = sorted(before.offsets.keys() - bounds.keys())
        beyond = [number for number, one in bounds.items() if before.offsets.get(number, 0) > one.end]
        if gone or beyond or (before.topic and identity and before.topic != identity):
            what = "it was deleted and made anew, or lies on another cluster"
            raise GapError(f"The topic `{self.topic}` is not the one that the last load read: {what}. {remedy}")
        offsets = {number: before.offsets.get(number, 0) for number in bounds}
        lost = {number: one.start - offsets[number] for number, one in bounds.items() if one.start > offsets[number]}
        if lost:
            said = ", ".join(f"{count:,} of partition {number}" for number, count in sorted(lost.items()))
            count = f"{sum(lost.values()):,} offsets after the last load ({said})"
            words = f"The topic `{self.topic}` no longer holds {count}: retention took them"
            if self.on_gap == "error":
                hint = (
                    'Set `on_gap="earliest"` to go on with what is left, and have the topic keep its messages longer.'
                )
                raise GapError(f"{words}. {hint}")
            logger.warning("%s; going on with what is left", words)
        return {number: max(one.start, offsets[number]) for number, one in bounds.items()}, sum(lost.values())

    def _chosen(self, bounds: Mapping[int, Range]) -> dict[int, Range]:
        found = parse_ranges(self.only or "")
        for number, one in found.items():
            held = bounds.get(number)
            if held is None or one.start < held.start or one.end > held.end:
                now = "there is no such partition" if held is None else f"it holds {held.start} to {held.end}"
                msg = f"`only` asks for {one.start} to {one.end} of partition {number} of `{self.topic}`, and {now}."
                raise InputError(msg)
        return found

    def _registry(self) -> Registry | None:
        if "registry" not in {self.value, self.key} or not self.broker.schema_registry:
            return None
        url, username, password = registry_of(self.broker)
        return Registry(url, username, password, self.broker.timeout)
