"""A Dagster partition as a slice of a table: which column decides, and which of its values belong.

Time partitions are half-open windows. Keys of every other kind are values: they parse strictly to the column's type,
in exactly one spelling, so that two keys never own the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from zoneinfo import ZoneInfo

import polars as pl
from dagster import MultiPartitionsDefinition, TimeWindowPartitionsDefinition

from fuse_dagster.core.errors import ConfigError, PartitionError
from fuse_dagster.core.naming import listing
from fuse_dagster.orchestration.partition_values import key_value
from fuse_dagster.tables.slices import Condition, Equals, Slice, Value, Window

if TYPE_CHECKING:
    from dagster import PartitionsDefinition, TimeWindow

    from fuse_dagster.orchestration.declarations import PartitionBy


@dataclass(frozen=True, slots=True)
class Dimension:
    """One dimension of a partitioning, and the column that decides it."""

    definition: PartitionsDefinition[str]
    column: str

    def is_window(self, dtype: pl.DataType) -> bool:
        """Whether a partition is a range of the column's values, rather than one of them."""
        return isinstance(self.definition, TimeWindowPartitionsDefinition) and dtype.is_temporal()

    def lays_out(self, keys: Sequence[str], frame: pl.DataFrame) -> bool:
        """Whether each of these partitions has exactly one value of the column, so that files can be laid out by it."""
        dtype = _dtype(self.column, frame.schema)
        if not self.is_window(dtype):
            return dtype in {pl.String, pl.Boolean, pl.Date} or dtype.is_integer()
        if dtype != pl.Date:
            return False
        starts = {
            start.astimezone(ZoneInfo(_zone(self.definition))).date() for start, _ in self.windows(keys, merge=False)
        }
        return frame.height > 0 and set(frame[self.column].unique()) <= starts

    def condition(self, keys: Sequence[str], dtype: pl.DataType) -> tuple[Condition, ...]:
        """The rows of several partitions, as few conditions as possible: any of them must hold.

        Raises:
            PartitionError: A key can't be a value of the column, or a window can't be told in its terms.
        """
        if self.is_window(dtype):
            return tuple(Window(self.column, *self._bounds(start, end, dtype)) for start, end in self.windows(keys))
        values = tuple(dict.fromkeys(key_value(key, dtype, self.column) for key in keys))
        return (Equals(self.column, values),)

    def windows(self, keys: Sequence[str], *, merge: bool = True) -> list[tuple[datetime, datetime]]:
        """The UTC windows of time partitions, sorted, adjoining ones merged."""
        definition = self.definition
        assert isinstance(definition, TimeWindowPartitionsDefinition)
        windows = definition.time_windows_for_partition_keys(frozenset(keys), validate=False)
        found = [_utc_window(window) for window in windows]
        if not merge:
            return found
        merged: list[tuple[datetime, datetime]] = []
        for start, end in found:
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def place(self, keys: Sequence[str], dtype: pl.DataType) -> tuple[pl.Expr, dict[object, str]]:
        """How to find a row's partition: an expression, and which of these keys each of its values means.

        Where a naive column can't tell the two passes of a repeated hour apart, the rows count for the second.
        """
        if not self.is_window(dtype):
            return pl.col(self.column), {key_value(key, dtype, self.column): key for key in keys}
        definition = self.definition
        assert isinstance(definition, TimeWindowPartitionsDefinition)
        ordered = sorted(keys, key=lambda key: definition.start_time_for_partition_key(key).timestamp())
        starts = [start for start, _ in self.windows(keys, merge=False)]
        if not (isinstance(dtype, pl.Datetime) and dtype.time_zone is not None):
            zone = ZoneInfo(_zone(self.definition))
            starts = [start.astimezone(zone).replace(tzinfo=None) for start in starts]
        edges = pl.lit(pl.Series(starts).cast(dtype).to_physical())
        index = edges.search_sorted(pl.col(self.column).to_physical(), side="right")
        return index, dict(enumerate(ordered, start=1))

    def _bounds(self, start: datetime, end: datetime, dtype: pl.DataType) -> tuple[Value, Value]:
        if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
            return start, end
        zone = ZoneInfo(_zone(self.definition))
        walls = [_wall_time(moment.astimezone(zone), self.column) for moment in (start, end)]
        if dtype != pl.Date:
            return walls[0], walls[1]
        if any(wall.time() != datetime.min.time() for wall in walls):
            msg = (
                f"A date column (`{self.column}`) can't decide partitions that do not start at midnight, as "
                f"`{walls[0]}` to `{walls[1]}`. Decide them by a timestamp column."
            )
            raise PartitionError(msg)
        return walls[0].date(), walls[1].date()


@runtime_checkable
class OwnsRows(Protocol):
    """A partitioning that says by itself which rows are whose, where one column does not tell."""

    def rows_of(self, keys: Sequence[str]) -> Slice:
        """The rows of these partitions.

        Raises:
            PartitionError: A key is none of this partitioning's.
        """


def dimensions(definition: PartitionsDefinition[str], partition_by: PartitionBy | None) -> tuple[Dimension, ...]:
    """Pair each dimension of a partitioning with the column that decides it; none where it owns its rows by itself.

    Raises:
        ConfigError: A dimension has no column, or a column is given for a dimension that is not there.
    """
    if isinstance(definition, OwnsRows):
        if partition_by is not None:
            msg = f"`partition_by` is `{partition_by}`, and {definition!r} says by itself whose a row is. Leave it out."
            raise ConfigError(msg)
        return ()
    if not isinstance(definition, MultiPartitionsDefinition):
        if not isinstance(partition_by, str):
            msg = (
                f"The asset is partitioned, but `partition_by` is `{partition_by}`. "
                'Name the column that decides which rows belong to a partition: metadata={"partition_by": "day"}.'
            )
            raise ConfigError(msg)
        return (Dimension(definition, partition_by),)
    names = [dimension.name for dimension in definition.partitions_defs]
    if not isinstance(partition_by, Mapping) or set(partition_by) != set(names):
        msg = (
            f"The asset has the partition dimensions {listing(names)}, but `partition_by` is `{partition_by}`. "
            "Give a map with a column for each of them."
        )
        raise ConfigError(msg)
    return tuple(
        Dimension(dimension.partitions_def, partition_by[dimension.name]) for dimension in definition.partitions_defs
    )


def slice_of(
    keys: Sequence[str],
    definition: PartitionsDefinition[str],
    partition_by: PartitionBy | None,
    schema: Mapping[str, pl.DataType],
) -> Slice:
    """The rows of some Dagster partitions.

    Args:
        keys: One or more partition keys of `definition`.
        definition: The partitioning.
        partition_by: The deciding column, or a map from dimension to column.
        schema: Column name -> polars type, of the batch or the table.

    Returns:
        As few conditions as possible: adjoining windows merge, values are listed, dimensions are factored.

    Raises:
        ConfigError: `partition_by` does not fit the partitioning.
        PartitionError: The column is not there, a key can't be a value of it, or a window can't be told in its terms.
    """
    parts = dimensions(definition, partition_by)
    if isinstance(definition, OwnsRows):
        return definition.rows_of(keys)
    types = [_dtype(part.column, schema) for part in parts]
    if len(parts) == 1:
        return Slice(tuple((condition,) for condition in parts[0].condition(keys, types[0])))
    alternatives: list[tuple[Condition, ...]] = []
    for group in _boxes([split_key(definition, key) for key in keys]):
        conditions = [part.condition(group[axis], types[axis]) for axis, part in enumerate(parts)]
        alternatives += product(*conditions)
    return Slice(tuple(alternatives))


def present_keys(
    keys: Sequence[str],
    definition: PartitionsDefinition[str],
    partition_by: PartitionBy | None,
    frame: pl.LazyFrame,
) -> set[str]:
    """Those of the partitions that have rows, at the cost of reading the deciding columns.

    Args:
        keys: Partition keys of `definition`.
        definition: The partitioning.
        partition_by: The deciding column, or a map from dimension to column.
        frame: The rows of exactly these partitions.
    """
    parts = dimensions(definition, partition_by)
    schema = frame.collect_schema()
    if isinstance(definition, OwnsRows):
        asked = {key: definition.rows_of([key]).matches(schema).any().alias(key) for key in keys}
        held = frame.select(asked.values()).collect().row(0, named=True)
        return {key for key in keys if held[key]}
    by_parts = {split_key(definition, key): key for key in keys}
    places = [
        part.place(sorted({split[axis] for split in by_parts}), _dtype(part.column, schema))
        for axis, part in enumerate(parts)
    ]
    found = frame.select(place.alias(str(axis)) for axis, (place, _) in enumerate(places)).unique().collect()
    splits = [tuple(meaning[value] for value, (_, meaning) in zip(row, places, strict=True)) for row in found.rows()]
    return {by_parts[split] for split in splits if split in by_parts}


def split_key(definition: PartitionsDefinition[str], key: str) -> tuple[str, ...]:
    """The key in each dimension, in the order of the definition; of one dimension, the key itself."""
    if not isinstance(definition, MultiPartitionsDefinition):
        return (key,)
    by_dimension = definition.get_partition_key_from_str(key).keys_by_dimension
    return tuple(by_dimension[dimension.name] for dimension in definition.partitions_defs)


def physical_columns(
    keys: Sequence[str],
    definition: PartitionsDefinition[str],
    partition_by: PartitionBy | None,
    frame: pl.DataFrame,
) -> tuple[str, ...]:
    """The deciding columns by which a new table's files are laid out: those with one value per Dagster partition.

    These are the keys of static and dynamic partitions, and a date column that holds nothing but the first day of its
    partition. Other columns only decide which rows belong: the layout would have a folder per timestamp. A table needs
    at least one column besides those of its layout.

    Args:
        keys: The partitions being written.
        definition: The partitioning.
        partition_by: The deciding column, or a map from dimension to column.
        frame: The rows of these partitions.
    """
    splits = [split_key(definition, key) for key in keys]
    columns = tuple(
        part.column
        for axis, part in enumerate(dimensions(definition, partition_by))
        if part.lays_out([split[axis] for split in splits], frame)
    )
    return columns if len(columns) < frame.width else ()


def time_window(definition: PartitionsDefinition[str], key: str) -> tuple[datetime, datetime]:
    """Start and end of a time partition, UTC."""
    assert isinstance(definition, TimeWindowPartitionsDefinition)
    return _utc_window(definition.time_window_for_partition_key(key))


def _utc_window(window: TimeWindow) -> tuple[datetime, datetime]:
    # In one zone Python compares wall times and ignores the fold, so the two 02:00 of October would be equal.
    return window.start.astimezone(UTC), window.end.astimezone(UTC)


def _wall_time(local: datetime, column: str) -> datetime:
    """The clock's reading at a window's edge.

    Raises:
        PartitionError: The clock shows it twice, and the edge lies between the two: wall times on either side of it
            belong to the window in one pass and not in the other.
    """
    wall = local.replace(tzinfo=None, fold=0)
    # Only the first showing of the first repeated reading separates "before" from "after" on the clock.
    before = wall - timedelta(microseconds=1)
    if _is_repeated(local, wall) and (local.fold or _is_repeated(local, before)):
        msg = (
            f"The partition starts or ends at `{wall}` in `{local.tzinfo}`, which the clock shows twice, and the "
            f"times in `{column}` have no zone to tell which. Give the column a time zone, or partition it in UTC."
        )
        raise PartitionError(msg)
    return wall


def _is_repeated(local: datetime, wall: datetime) -> bool:
    first, second = (wall.replace(tzinfo=local.tzinfo, fold=fold) for fold in (0, 1))
    # In the gap of spring the offsets differ too, but the later reading has the greater one.
    return (first.utcoffset() or timedelta()) > (second.utcoffset() or timedelta())


def _zone(definition: PartitionsDefinition[str]) -> str:
    assert isinstance(definition, TimeWindowPartitionsDefinition)
    return definition.timezone or "UTC"


def _dtype(column: str, schema: Mapping[str, pl.DataType]) -> pl.DataType:
    if column not in schema:
        msg = (
            f"The column `{column}`, which decides the partition, is not there. Columns: {listing(schema)}. "
            "Return it, or name another in `partition_by`."
        )
        raise PartitionError(msg)
    return schema[column]


def _boxes(keys: Sequence[tuple[str, ...]]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Cover pairs of keys by few rectangles: 12 months x 3 countries is one, not 36."""
    seconds: dict[str, list[str]] = {}
    for first, second in keys:
        seconds.setdefault(first, []).append(second)
    firsts: dict[tuple[str, ...], list[str]] = {}
    for first, found in seconds.items():
        firsts.setdefault(tuple(sorted(found)), []).append(first)
    return [(tuple(found), second) for second, found in firsts.items()]
