"""Ranges of a topic's offsets as Dagster partitions: each can be loaded again, and replaces its own rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from fuse_dagster.core.errors import ConfigError, PartitionError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.ingest.topics.offsets import parse_ranges
from fuse_dagster.orchestration.declarations import raise_together
from fuse_dagster.orchestration.loads import names_in
from fuse_dagster.tables.slices import Equals, Slice, Window

if TYPE_CHECKING:
    from fuse_dagster.connectors.streams.client import Range

PARTITION, OFFSET = "_partition", "_offset"


class OffsetPartitions(dg.StaticPartitionsDefinition):
    """Partitions that are ranges of offsets of a topic's partitions, as `0:100-200`, without the last number.

    An asset of `load_table` with `mode=Overwrite()` loads exactly the ranges that a run asks for and replaces the rows
    of their `_partition` and `_offset`, however often it runs. Definitions load without a broker, so the ranges are
    given, or stand in a file: `ingest.topics.offset_ranges` says what a topic holds.

    Args:
        ranges: The ranges, or the file that they stand in, one a line. No two of them share an offset.

    Raises:
        ConfigError: There are none, one is no range, or two share an offset; all that is wrong is said at once.

    Examples:
        >>> OffsetPartitions(["0:0-1000", "0:1000-2000", "1:0-1000"]).get_partition_keys()
        ['0:0-1000', '0:1000-2000', '1:0-1000']
    """

    def __init__(self, ranges: Iterable[str] | Path) -> None:
        names = names_in(ranges) if isinstance(ranges, Path) else list(ranges)
        self._ranges = _read(names)
        super().__init__(sorted(names, key=lambda name: (self._ranges[name][0], self._ranges[name][1].start)))

    def rows_of(self, keys: Sequence[str]) -> Slice:
        """The rows of these partitions.

        Args:
            keys: One or more of them.

        Raises:
            PartitionError: A key is none of them.
        """
        unknown = [key for key in keys if key not in self._ranges]
        if unknown:
            msg = f"There is no range `{unknown[0]}`. {did_you_mean(unknown[0], self._ranges)}"
            raise PartitionError(msg)
        places = sorted((number, one.start, one.end) for number, one in map(self._ranges.__getitem__, keys))
        return Slice(tuple((Equals(PARTITION, (number,)), Window(OFFSET, start, end)) for number, start, end in places))


def _read(names: Sequence[str]) -> dict[str, tuple[int, Range]]:
    """Each name as the range that it is."""
    found: dict[str, tuple[int, Range]] = {}
    problems = [] if names else ["There are no ranges. Give some, as `0:0-1000`, or a file that holds them."]
    for name in names:
        try:
            ((number, one), *more) = parse_ranges(name).items()
        except ConfigError as error:
            problems.append(str(error))
            continue
        if more or name != f"{number}:{one.start}-{one.end}":
            problems.append(f"`{name}` is no name of one range. Valid: `0:100-200`, without blanks and leading zeros.")
        found[name] = number, one
    ordered = sorted(found.items(), key=lambda pair: (pair[1][0], pair[1][1].start))
    for (first, (number, one)), (second, (other, following)) in pairwise(ordered):
        if number == other and following.start < one.end:
            problems.append(f"`{first}` and `{second}` share offsets, so each would replace rows of the other.")
    if len(names) > len(set(names)):
        problems.append("A range stands there twice.")
    raise_together(problems, "OffsetPartitions")
    return found
