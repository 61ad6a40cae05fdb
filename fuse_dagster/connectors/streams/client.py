"""A client of a broker: topics, their offsets, and messages between two offsets; librdkafka does the talking.

Partitions are assigned, never subscribed to: no group is joined, nothing is balanced, and no offset is kept there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from fuse_dagster.connectors.streams.failures import Heard, kind_of, worded
from fuse_dagster.core.errors import FuseError, MissingExtraError, NotThereError
from fuse_dagster.core.naming import did_you_mean

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

T = TypeVar("T")

NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""What Kafka takes for the name of a topic."""

GROUP = "fuse_dagster"
_OWN = {
    "group.id": GROUP,
    "client.id": "fuse_dagster",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    "allow.auto.create.topics": False,
    "check.crcs": True,
    "queued.max.messages.kbytes": 32_768,
    "enable.metrics.push": False,
}
_PART = 8_000_000  # bytes of messages that are taken from the client at a time, about
_FEWEST, _MOST = 100, 10_000  # messages that the first part, and any, has at the most
_GLANCE = 0.5  # seconds after which it is looked whether waiting is of use


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets of a partition.

    Attributes:
        start: The first.
        end: The one after the last. There need not be a message at each: transactions and compaction leave gaps.
    """

    start: int
    end: int


class Client:
    """A connection to a broker, used within `connected`.

    Args:
        consumer: Of librdkafka.
        heard: What it says.
        settings: It was made with.
        place: Address for people.
        checks: Kind of failure -> what to look at.
        timeout: Seconds to wait for an answer, or for the next message.
    """

    def __init__(
        self,
        consumer: Consumer,
        heard: Heard,
        *,
        settings: Mapping[str, Any],
        place: str,
        checks: Mapping[str, str],
        timeout: float,
    ) -> None:
        self._consumer, self._heard, self._settings = consumer, heard, settings
        self._place, self._checks, self.timeout = place, checks, timeout

    def topics(self) -> list[str]:
        """Names of the topics that this login sees, sorted; the broker's own are left out."""
        found = self._asked(lambda seconds: self._consumer.list_topics(timeout=seconds)).topics
        return sorted(name for name in found if not name.startswith("__"))

    def broker(self) -> str:
        """What it says of itself."""
        found = self._asked(lambda seconds: self._consumer.list_topics(timeout=seconds))
        brokers, topics = len(found.brokers), sum(1 for name in found.topics if not name.startswith("__"))
        return f"Kafka, {brokers} broker{'s' * (brokers != 1)}, {topics} topic{'s' * (topics != 1)}"

    def partitions(self, topic: str) -> list[int]:
        """Numbers of a topic's partitions.

        Raises:
            NotThereError: There is no such topic.
            CredentialsError: This login may not see it.
        """
        found = None
        if NAME.fullmatch(topic):
            found = self._asked(lambda seconds: self._consumer.list_topics(topic, timeout=seconds)).topics[topic]
        if found is None or (found.error is not None and found.error.name() in _ABSENT):
            names = did_you_mean(topic, self.topics())
            raise NotThereError(f"There is no topic `{topic}` at `{self._place}`. {names}")
        if found.error is not None:
            raise self._worded(found.error, topic)
        return sorted(found.partitions)

    def identity(self, topic: str) -> str:
        """The id that a topic was given when it was made; "" where the broker gives none."""
        from confluent_kafka import KafkaException, TopicCollection
        from confluent_kafka.admin import AdminClient

        admin = AdminClient({name: value for name, value in self._settings.items() if name not in _OF_CONSUMERS})
        asked = admin.describe_topics(TopicCollection([topic]), request_timeout=self.timeout)[topic]
        try:
            described = asked.result(self.timeout)
        except (KafkaException, TimeoutError) as error:
            if isinstance(error, KafkaException) and error.args[0].name() in _UNSUPPORTED:
                return ""
            raise self._failed(error, topic) from None
        found_id = str(described.topic_id or "")
        return "" if found_id.strip("A=") == "" else found_id  # zeros, from brokers that know no ids

    def bounds(self, topic: str) -> dict[int, Range]:
        """The offsets that each partition of a topic holds now, without messages of transactions that are open."""
        return {number: self._bounds(topic, number) for number in self.partitions(topic)}

    def _bounds(self, topic: str, number: int) -> Range:
        from confluent_kafka import TopicPartition

        place = TopicPartition(topic, number)
        low, high = self._asked(lambda seconds: self._consumer.get_watermark_offsets(place, timeout=seconds), topic)
        return Range(low, high)

    def offsets_at(self, topic: str, moment: datetime, bounds: Mapping[int, Range]) -> dict[int, int]:
        """The first offset of each partition whose message is not before a moment; its end where there is none."""
        from confluent_kafka import TopicPartition

        asked = [TopicPartition(topic, number, int(moment.timestamp() * 1000)) for number in bounds]
        found = self._asked(lambda seconds: self._consumer.offsets_for_times(asked, timeout=seconds), topic)
        return {one.partition: bounds[one.partition].end if one.offset < 0 else one.offset for one in found}

    def messages(self, topic: str, ranges: Mapping[int, Range], budget: Budget | None = None) -> Messages:
        """The messages of a topic between offsets, to be iterated once.

        Args:
            topic: Its name.
            ranges: Partition -> its offsets.
            budget: How much to read at the most; None for all.
        """
        return Messages(self, topic, ranges, budget or Budget())

    def commit(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Tell the broker how far a group came, for others to see."""
        from confluent_kafka import KafkaException, TopicPartition

        places = [TopicPartition(topic, number, offset) for number, offset in offsets.items()]
        try:
            self._consumer.commit(offsets=places, asynchronous=False)
        except KafkaException as error:
            raise self._failed(error, topic) from None

    def taken(self, assigned: Iterable[TopicPartition] | None, at_most: int) -> list[Message]:
        """The next messages, and ends of partitions, that are there within a glance.

        Args:
            assigned: What to read from now on; None for what was.
            at_most: How many.
        """
        if assigned is not None:
            self._consumer.assign(list(assigned))
        found = self._consumer.consume(at_most, timeout=_GLANCE)
        self._look()
        return found

    def gone(self, topic: str) -> FuseError:
        """The error for messages that don't come."""
        return worded(self._heard.likely, f"{self._place}/{topic}", self._checks)

    def refused(self, error: KafkaError, topic: str) -> FuseError:
        """The error for a message that is one."""
        return self._worded(error, topic)

    def _asked(self, question: Callable[[float], T], topic: str = "") -> T:
        """Ask, as long as waiting is of use."""
        from confluent_kafka import KafkaException

        patience = time.monotonic() + self.timeout
        while True:
            left = patience - time.monotonic()
            try:
                return question(max(0.01, min(_GLANCE * 2, left)))
            except KafkaException as error:
                self._consumer.poll(0)  # brings what was heard
                self._look()
                if error.args[0].name() not in _PASSING:
                    raise self._failed(error, topic) from None
                if left <= _GLANCE * 2:
                    raise worded(self._heard.likely, self._at(topic), self._checks) from None

    def _look(self) -> None:
        if self._heard.decisive is not None:
            raise worded(self._heard.decisive, self._place, self._checks)

    def _failed(self, error: Exception, topic: str) -> FuseError:
        if isinstance(error, TimeoutError):
            return worded("time", self._at(topic), self._checks)
        return self._worded(error.args[0], topic)

    def _worded(self, error: KafkaError, topic: str) -> FuseError:
        if error.name() in _ABSENT:
            return NotThereError(f"There is no topic `{topic}` at `{self._place}` any more. Look who deleted it.")
        kind = "time" if error.name() in _PASSING else kind_of(error.name(), error.str())
        return worded(kind, self._at(topic), self._checks, name=error.name())

    def _at(self, topic: str) -> str:
        return f"{self._place}/{topic}" if topic else self._place


_ABSENT = frozenset(
    {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_ID", "TOPIC_EXCEPTION"}
)
_UNSUPPORTED = frozenset({"UNSUPPORTED_VERSION", "_UNSUPPORTED_FEATURE"})
_PASSING = frozenset({"_TRANSPORT", "_TIMED_OUT", "_ALL_BROKERS_DOWN", "LEADER_NOT_AVAILABLE", "_WAIT_CACHE"})
_OF_CONSUMERS = _OWN.keys() - {"client.id", "enable.metrics.push"}


@dataclass(slots=True)
class Budget:
    """How much to read at the most.

    Attributes:
        messages: How many; None for all.
        bytes: Of keys, values and headers; None for all. At least one message is read.
    """

    messages: int | None = None
    bytes: int | None = None

    def takes(self, message: Message) -> bool:
        """Take a message from the budget; whether it is still within."""
        if self.messages is not None:
            if self.messages <= 0:
                return False
            self.messages -= 1
        if self.bytes is not None:
            if self.bytes <= 0:
                return False
            self.bytes -= len(message)
        return True


class Messages:
    """Messages between offsets, in parts; see `Client.messages`.

    Attributes:
        reached: Partition -> the offset after the last that was read, or the end of its range where all was.
    """

    def __init__(self, client: Client, topic: str, ranges: Mapping[int, Range], budget: Budget) -> None:
        self._client, self._topic, self._budget = client, topic, budget
        self._ends = {number: one.end for number, one in ranges.items()}
        self._open = {number for number, one in ranges.items() if one.start < one.end}
        self._spent = False
        self.reached = {number: one.start for number, one in ranges.items()}

    def __iter__(self) -> Iterator[list[Message]]:
        """Yield the messages in parts; those of a partition in the order of their offsets.

        Raises:
            StoreUnavailableError: None came for the time that the client waits.
            FuseError: The broker refuses to go on.
        """
        from confluent_kafka import TopicPartition

        places = [TopicPartition(self._topic, number, self.reached[number]) for number in sorted(self._open)]
        assigned: list[TopicPartition] | None = places
        last, most = time.monotonic(), _FEWEST
        while self._open and not self._spent:
            found = self._client.taken(assigned, min(most, self._left()))
            assigned = None
            if found:
                last = time.monotonic()
                most = max(1, min(_MOST, _PART * len(found) // (1 + sum(len(message) for message in found))))
            elif time.monotonic() - last > self._client.timeout:
                raise self._client.gone(self._topic)
            taken = [message for message in found if self._takes(message)]
            if self._budget.messages == 0:
                self._spent = True
            if taken:
                yield taken

    def _left(self) -> int:
        """How many messages may still come; the client waits until as many are there, or a while."""
        offsets = sum(self._ends[number] - self.reached[number] for number in self._open)
        return offsets if self._budget.messages is None else min(offsets, self._budget.messages)

    def _takes(self, message: Message) -> bool:
        """Whether a message is one to hand on; the ends of partitions come as messages, too."""
        number, offset, error = message.partition(), message.offset(), message.error()
        if error is not None and error.name() != "_PARTITION_EOF":
            raise self._client.refused(error, self._topic)
        assert number is not None, "a message comes from a partition"
        assert offset is not None, "and has an offset"
        if self._spent or number not in self._open:
            return False
        end = self._ends[number]
        if offset < end and error is None:
            if not self._budget.takes(message):
                self._spent = True
                return False
            self.reached[number] = offset + 1
        if offset >= end or (error is None and offset + 1 == end):
            self.reached[number] = end
            self._open.discard(number)
        return offset < end and error is None


@contextmanager
def connected(
    settings: Mapping[str, Any],
    *,
    place: str,
    checks: Mapping[str, str],
    timeout: float,
    group: str = GROUP,
    extra: str = "kafka",
) -> Iterator[Client]:
    """Open a client, and close it afterwards.

    Args:
        settings: How the broker is reached, as librdkafka takes it; with its secrets.
        place: Address for people.
        checks: Kind of failure -> what to look at, in the fields of the connector.
        timeout: Seconds to wait for an answer, or for the next message.
        group: Of whom offsets are committed, where they are.
        extra: Brings the library.

    Raises:
        StoreError: librdkafka can't work with these settings.
        MissingExtraError: The library is not installed.
    """
    try:
        from confluent_kafka import Consumer, KafkaException
    except ModuleNotFoundError as error:
        msg = f'Kafka needs the package `confluent-kafka`. Install it with: pip install "fuse-dagster[{extra}]"'
        raise MissingExtraError(msg) from error
    heard = Heard()
    limits = {
        "socket.timeout.ms": max(10, round(timeout * 1000)),
        "socket.connection.setup.timeout.ms": max(1000, round(timeout * 1000)),
    }
    common = {**settings, **limits, "error_cb": heard.error, "logger": heard.logger}
    try:
        consumer = Consumer({**_OWN, **common, "group.id": group})
    except (KafkaException, ValueError, TypeError):
        raise worded("settings", place, checks) from None
    try:
        made = {**_OWN, **common}
        yield Client(consumer, heard, settings=made, place=place, checks=checks, timeout=timeout)
    finally:
        consumer.close()
