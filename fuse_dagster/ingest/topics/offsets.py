"""Offsets of a topic: as a position that a load ends at, and as ranges that a backfill takes one by one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.streams.client import Range
from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.ingest.source import Position

if TYPE_CHECKING:
    from fuse_dagster.connectors.streams.broker import Broker

_RANGE = re.compile(r"(\d{1,6}):(\d{1,19})-(\d{1,19})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How far a topic was read.

    Attributes:
        topic: The id that the topic was given when it was made; "" where the broker gives none.
        offsets: Partition -> the offset that comes next.
        times: Partition -> when the last message that was read there was written, milliseconds since 1970.
    """

    topic: str
    offsets: Mapping[int, int]
    times: Mapping[int, int] = field(default_factory=dict)

    def position(self, ends: Mapping[int, int]) -> Position:
        """The position to save.

        Args:
            ends: Partition -> the offset that it ended at. Where all was read, the time is that of the newest message;
                else of the partition that is furthest behind, as what is older is complete.
        """
        behind = [self.times[one] for one, end in ends.items() if self.offsets.get(one, 0) < end and one in self.times]
        told = min(behind) if behind else max(self.times.values(), default=None)
        number = len(self.offsets)
        return Position(
            value={"topic": self.topic, "offsets": _texts(self.offsets), "times": _texts(self.times)},
            said=f"{number} partition{'s' * (number != 1)}, next offsets "
            + ", ".join(f"{one}:{offset}" for one, offset in sorted(self.offsets.items())),
            time=None if told is None else datetime.fromtimestamp(told / 1000, tz=UTC),
        )


def _texts(numbers: Mapping[int, int]) -> dict[str, int]:
    return {str(name): value for name, value in sorted(numbers.items())}


def reached(since: Position, topic: str) -> Reached:
    """What a position says.

    Raises:
        InputError: It is no position of a topic.
    """
    try:
        value: Mapping[str, Any] = since.value
        return Reached(topic=str(value["topic"]), offsets=_numbers(value["offsets"]), times=_numbers(value["times"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        msg = f"The position of the last load is none of the topic `{topic}`: `{since.said}`. Load it anew as a whole."
        raise InputError(msg) from None


def _numbers(found: Mapping[str, Any]) -> dict[int, int]:
    if not all(isinstance(one, int) and one >= 0 for one in found.values()):
        raise ValueError(found)
    return {int(name): one for name, one in found.items()}


def parse_ranges(text: str) -> dict[int, Range]:
    """Ranges of offsets by partition.

    Args:
        text: As `0:100-200`, or several with commas between; the second number is the offset after the last.

    Raises:
        ConfigError: It is nothing of the kind.

    Examples:
        >>> parse_ranges("0:100-200")
        {0: Range(start=100, end=200)}
    """
    found: dict[int, Range] = {}
    for word in text.split(","):
        told = _RANGE.fullmatch(word.strip())
        number, start, end = map(int, told.groups()) if told else (-1, 0, 0)
        if told is None or start >= end or number in found:
            msg = f"`{text}` says no ranges of offsets. Valid: `0:100-200`, with one range per partition."
            raise ConfigError(msg)
        found[number] = Range(start, end)
    return found


def joined(names: Iterable[str]) -> dict[int, Range]:
    """Several ranges of offsets as one per partition, to be read at once.

    Args:
        names: Each as `0:100-200`.

    Raises:
        ConfigError: One is no range, or two of a partition do not adjoin.

    Examples:
        >>> joined(["0:100-200", "1:0-5", "0:0-100"])
        {0: Range(start=0, end=200), 1: Range(start=0, end=5)}
    """
    each = sorted((number, one.start, one.end) for name in names for number, one in parse_ranges(name).items())
    found: dict[int, Range] = {}
    for number, start, end in each:
        before = found.get(number, Range(start, start))
        if before.end != start:
            msg = (
                f"The ranges `{number}:{before.start}-{before.end}` and `{number}:{start}-{end}` do not adjoin, and "
                "one load reads one range of each partition. Load them one by one."
            )
            raise ConfigError(msg)
        found[number] = Range(before.start, end)
    return found


def offset_ranges(broker: Broker, topic: str, *, messages: int = 1_000_000) -> list[str]:
    """All that a topic holds now, cut into ranges to be loaded one by one; as keys of Dagster partitions, too.

    Args:
        broker: Where it is.
        topic: Its name.
        messages: Offsets that one range spans.

    Returns:
        Ranges as `TopicMessages(only=...)` takes them. They start at multiples of `messages`, so that asking later
        gives the same ones and further ones, but for the last of each partition, which grows.

    Raises:
        ConfigError: `messages` is not above 0.
        NotThereError: There is no such topic.
    """
    if messages < 1:
        raise ConfigError(f"`messages` is `{messages}`. Valid: a number above 0.")
    with broker.connected() as client:
        bounds = client.bounds(topic)
    return [text for number, one in sorted(bounds.items()) for text in _cut(number, one, messages)]


def _cut(number: int, held: Range, messages: int) -> Iterable[str]:
    first = held.start - held.start % messages
    for start in range(first, held.end, messages):
        yield f"{number}:{max(start, held.start)}-{min(start + messages, held.end)}"
