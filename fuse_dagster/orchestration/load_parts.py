"""Partitions of a load's asset as parts of its source, and the rows of the table that they replace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import listing
from fuse_dagster.ingest.databases import Window as Part
from fuse_dagster.ingest.source import Source
from fuse_dagster.orchestration.partitions import OwnsRows, slice_of
from fuse_dagster.tables import History, Overwrite, WriteMode
from fuse_dagster.tables.slices import Window

if TYPE_CHECKING:
    import polars as pl

    from fuse_dagster.orchestration.target import Target


@runtime_checkable
class ReadsParts(Protocol):
    """A source of which a part can be read: the partition that a run asks for."""

    @property
    def cursor(self) -> str:
        """The column that a part is told by."""

    def schema(self) -> Mapping[str, pl.DataType]:
        """Its columns and types."""

    def within(self, start: Any, end: Any) -> Source:
        """The part from `start` to before `end`."""


@runtime_checkable
class ReadsSeveralParts(ReadsParts, Protocol):
    """A source of which several parts can be read at once."""

    def within_any(self, *windows: Part) -> Source:
        """The rows that lie in any of these parts."""


@runtime_checkable
class ReadsNamedParts(Protocol):
    """A source whose parts have names, which partitions can be called by."""

    def named_parts(self, names: Sequence[str]) -> Source:
        """The parts of these names."""


def part_of(target: Target, source: Source) -> tuple[Source, WriteMode]:
    """The part of a source that the partitions being written are, and the mode that takes it.

    Args:
        target: The table, and its partitions; without any, the source is read as a whole.
        source: The whole.

    Raises:
        ConfigError: The source can't be read by these partitions.
    """
    mode = target.declaration.mode
    if isinstance(mode, History) and mode.source == "snapshot" and mode.effective_column is None:
        # What is new was not known before it is read. A run that was created early and waited, or is repeated, would
        # else put what it reads below what a later run has brought already, where it is no longer what holds.
        at = target.run_created if mode.is_whole_truth else datetime.now(tz=UTC)
        mode = replace(mode, effective_at=at, restatements="forget")
    if target.definition is None:
        return source, mode
    if isinstance(target.definition, OwnsRows):
        return _named_part(target, source, mode)
    name, by = target.asset.to_user_string(), target.declaration.partition_by
    if not isinstance(source, ReadsParts) or by != source.cursor:
        msg = (
            f"`{name}` has partitions, and its source can't be read by them. Name in `partition_by` the cursor of the "
            f"source (`{getattr(source, 'cursor', 'it has none')}`), or take the partitions away: the table itself "
            "remembers how far the source was read."
        )
        raise ConfigError(msg)
    where = slice_of(target.keys, target.definition, by, source.schema())
    windows = [condition for both in where.any_of for condition in both if isinstance(condition, Window)]
    if len(windows) != sum(map(len, where.any_of)):
        msg = f"`{name}` loads windows of time; {listing(target.keys)} are none. Partition it by time, or not at all."
        raise ConfigError(msg)
    part = _read_within(source, windows, name)
    if isinstance(mode, Overwrite) and not mode.chooses_rows:
        return part, replace(mode, where=where)
    return part, mode


def _named_part(target: Target, source: Source, mode: WriteMode) -> tuple[Source, WriteMode]:
    """The same where partitions are called as the parts of the source are."""
    assert target.definition is not None
    if not isinstance(source, ReadsNamedParts):
        msg = (
            f"`{target.asset.to_user_string()}` has the partitions {listing(target.keys)}, and its source has no parts "
            "of such names. Valid: one with `named_parts`, as `TopicMessages`."
        )
        raise ConfigError(msg)
    part = source.named_parts(target.keys)
    if not isinstance(mode, Overwrite) or mode.chooses_rows:
        return part, mode
    return part, replace(mode, where=slice_of(target.keys, target.definition, None, {}))


def _read_within(source: ReadsParts, windows: Sequence[Window], name: str) -> Source:
    if len(windows) == 1:
        return source.within(windows[0].start, windows[0].end)
    if not isinstance(source, ReadsSeveralParts):
        msg = (
            f"`{name}` is to load {len(windows)} windows that do not adjoin, and its source reads one at a time. Run "
            "them one by one, or give the source a `within_any`."
        )
        raise ConfigError(msg)
    return source.within_any(*(Part(start=one.start, end=one.end) for one in windows))
