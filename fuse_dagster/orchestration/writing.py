"""Writes an asset's frame the way the asset declares: one call to `tables.write`, or one per partition.

A partition of a history, or of an append that knows its batches by name, is a batch of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import polars as pl
from deltalake import DeltaTable

from fuse_dagster.connectors.base import CanList
from fuse_dagster.core.errors import ConfigError, FuseError
from fuse_dagster.core.naming import listing
from fuse_dagster.orchestration.batches import held, taken
from fuse_dagster.orchestration.declarations import raise_together
from fuse_dagster.orchestration.effective import effective_at, needs_time
from fuse_dagster.orchestration.partitions import OwnsRows, dimensions, physical_columns, slice_of
from fuse_dagster.orchestration.rejecting import batch_name, put_aside
from fuse_dagster.tables import Append, Overwrite, WriteMode, WriteResult, write
from fuse_dagster.tables.batch import to_batch
from fuse_dagster.tables.samples import masking

if TYPE_CHECKING:
    from dagster import PartitionsDefinition

    from fuse_dagster.connectors.lake import Lake
    from fuse_dagster.orchestration.batches import Batch
    from fuse_dagster.orchestration.target import Target
    from fuse_dagster.tables.slices import Slice

# Where several results of one step become one, these describe the last state and the others add up.
_LAST = {"version", "table_version", "rows_total"}


def write_target(target: Target, data: object) -> WriteResult:
    """Write what an asset returned.

    Args:
        target: The table, and which part of it is written.
        data: A frame; for several partitions whose batches are told apart also a map from partition key to frame.

    Returns:
        What happened; of several batches, the sum.

    Raises:
        ConfigError: The declaration does not fit the partitioning or the data.
        InputError: The data is refused. Nothing of the refused batch was written.
    """
    with masking(target.declaration.masked), held(data, target.spark):
        return _write(target, data)


def _write(target: Target, data: object) -> WriteResult:
    if target.definition is not None:
        raise_together(target.declaration.partition_problems(), f"`{target.asset.to_user_string()}`")
    if target.declaration.history is not None or target.declaration.names_batches:
        return _total(list(_write_batches(target, data)))
    if isinstance(data, Mapping):
        msg = (
            f"`{target.asset.to_user_string()}` returned a map. Only the batches of a history, or of an append with "
            '`once="batch"`, come as one.'
        )
        raise ConfigError(msg)
    # A slice is told in the table's types: a category of pandas, say, is text there.
    batch = taken(data, target.spark)
    return write_one(target, batch.data, _sliced(target, batch))


def _write_batches(target: Target, data: object) -> Iterator[WriteResult]:
    """Write batches one by one; each is a commit of its own."""
    done: list[str] = []
    named = target.declaration.names_batches
    for key, frame, mode in _named_batches(target, data) if named else _batches(target, data):
        try:
            yield write_one(target, frame, mode, batch=key)
        except FuseError as error:
            if not done:
                raise
            msg = (
                f"The batch of `{key}` failed: {error}\nThe batches of {listing(done)} before it were "
                "committed; a re-run changes nothing in them."
            )
            raise type(error)(msg) from error
        done.append(key)


def refuse_nested(target: Target, lake: Lake) -> None:
    """Refuse a table inside the folder of another: cleaning up the outer one would delete the files of the inner.

    Raises:
        ConfigError: A prefix of the asset's key is a table, or its key is a prefix of one.
        StoreError, StoreUnavailableError: The store refuses, or can't be reached.
    """
    target.access.ask(lambda options: _refuse_nested(target, lake, dict(options) or None), place=target.uri)


def _refuse_nested(target: Target, lake: Lake, options: dict[str, str] | None) -> None:
    path = lake.table_path(*target.asset.path)
    for length in range(1, len(path)):
        outer = lake.uri(*path[:length])
        if DeltaTable.is_deltatable(outer, storage_options=options):
            msg = (
                f"`{target.asset.to_user_string()}` would lie at `{target.uri}`, inside the table at `{outer}`; "
                "cleaning up that one would delete its files. Give one of the assets another key prefix."
            )
            raise ConfigError(msg)
    if isinstance(lake, CanList) and not DeltaTable.is_deltatable(target.uri, storage_options=options):
        inner = _first_table(lake, "/".join(path))
        if inner is not None:
            msg = (
                f"`{target.asset.to_user_string()}` would lie at `{target.uri}`, around the table `{inner}`; cleaning "
                "it up would delete the files of that one. Give one of the assets another key prefix."
            )
            raise ConfigError(msg)


def _first_table(lake: CanList, folder: str) -> str | None:
    """A table below a folder that is none itself."""
    for entry in lake.list(folder):
        name, log, _ = entry.path.partition("/_delta_log/")
        if log and name != folder:
            return name
    return None


def write_one(target: Target, frame: object, mode: WriteMode, *, batch: str | None = None) -> WriteResult:
    """Hand one batch to the table, and the rows that it does not take to the one beside it.

    Args:
        target: The table.
        frame: The batch.
        mode: How it becomes the table.
        batch: What the batch is called; by default after the partitions being written, or the root run.
    """

    def attempt(options: Mapping[str, str]) -> WriteResult:
        return write(
            target.uri,
            frame,
            mode,
            storage_options=options or None,
            on_rejected=lambda rows: put_aside(target, rows, batch or batch_name(target)),
            spark=target.spark,
        )

    if target.spark is not None:  # its session was told the secrets when it started
        return attempt(target.storage_options)
    # A reader can be read once, so it becomes a frame before a first try could be refused.
    frame = frame if isinstance(frame, pl.DataFrame) else to_batch(frame)
    return target.access.ask(attempt, place=target.uri)


def partition_slice(target: Target, schema: Mapping[str, pl.DataType]) -> Slice | None:
    """The rows that the partitions being written own; None where a batch is no slice."""
    if target.definition is None or not target.declaration.has_slices:
        return None
    return slice_of(target.keys, target.definition, target.declaration.partition_by, schema)


def _sliced(target: Target, batch: Batch) -> WriteMode:
    """The declared mode, narrowed to the partitions being written."""
    mode, definition = target.declaration.mode, target.definition
    where = partition_slice(target, batch.schema)
    if where is None or definition is None:
        return mode
    if not isinstance(mode, Overwrite) or mode.chooses_rows:
        # They replace no slice, but a row of another partition is as wrong there.
        batch.refuse_strays(where)
    if not isinstance(mode, Append | Overwrite) or (isinstance(mode, Overwrite) and mode.chooses_rows):
        return mode
    by = target.declaration.partition_by
    deciding = [part.column for part in dimensions(definition, by)]
    layout = mode.partition_by or physical_columns(target.keys, definition, by, batch.dates(deciding))
    narrowed = replace(mode, partition_by=layout)
    return replace(narrowed, where=where) if isinstance(narrowed, Overwrite) else narrowed


def _named_batches(target: Target, data: object) -> list[tuple[str, object, WriteMode]]:
    """The batches of an append, each with the name by which a repeated one is recognized."""
    if target.definition is None:
        frames: Mapping[str, object] = {target.root_run: data}
    else:
        frames = _by_partition(target, target.definition, data)
    found: list[tuple[str, object, WriteMode]] = []
    for name in target.keys or (target.root_run,):
        batch = taken(frames[name], target.spark)
        mode = _sliced(replace(target, keys=target.keys and (name,)), batch)
        assert isinstance(mode, Append)
        found.append((name, batch.data, replace(mode, batch_id=name)))
    return found


def _batches(target: Target, data: object) -> Iterator[tuple[str, object, WriteMode]]:
    """The batches of a history, each with its partition and its time, in the order in which they hold."""
    mode = target.declaration.history
    assert mode is not None
    whole = batch_name(target)
    if not needs_time(target.declaration):
        yield whole, data, mode
    elif target.definition is None:
        # Every run would state all rows again at a new time; remembering each would cost more than it could tell.
        yield whole, data, replace(mode, effective_at=target.run_created, restatements="forget")
    else:
        frames = _by_partition(target, target.definition, data)
        for moment, key in _in_order(target, target.definition):
            yield key, frames[key], replace(mode, effective_at=moment)


def _in_order(target: Target, definition: PartitionsDefinition[str]) -> list[tuple[datetime | date, str]]:
    timed = [(effective_at(target.declaration, definition, key), key) for key in target.keys]
    if len({moment for moment, _ in timed}) < len(timed):
        msg = (
            f"Two of the partitions {listing(target.keys)} have one effective time, so the second would replace the "
            "first. Correct `effective_format`, or the keys."
        )
        raise ConfigError(msg)
    return sorted(timed, key=lambda pair: _utc_text(pair[0]))


def _utc_text(moment: datetime | date) -> str:
    zoned = isinstance(moment, datetime) and moment.tzinfo is not None
    return (moment.astimezone(UTC) if zoned and isinstance(moment, datetime) else moment).isoformat()


def _by_partition(target: Target, definition: PartitionsDefinition[str], data: object) -> Mapping[str, object]:
    """Each partition's own rows, all told apart before the first is written."""
    name = target.asset.to_user_string()
    if isinstance(data, Mapping):
        if set(data) != set(target.keys):
            msg = (
                f"`{name}` returned frames for {listing(sorted(data))}, but the partitions being written are "
                f"{listing(target.keys)}. Return one frame for each of them."
            )
            raise ConfigError(msg)
        return data
    if len(target.keys) == 1:
        return {target.keys[0]: data}
    by = target.declaration.partition_by
    if by is None and not isinstance(definition, OwnsRows):
        msg = (
            f"`{name}` returned one frame for {len(target.keys)} partitions, and each is a batch of its own. Return "
            "a map from partition key to frame, or name in `partition_by` the column that says whose batch a row is."
        )
        raise ConfigError(msg)
    batch = taken(data, target.spark)
    batch.refuse_strays(slice_of(target.keys, definition, by, batch.schema))
    return {key: batch.only(slice_of([key], definition, by, batch.schema)).data for key in target.keys}


def _total(results: list[WriteResult]) -> WriteResult:
    if len(results) == 1:
        return results[0]
    versions = [result.version for result in results if result.version is not None]
    counts = {
        entry.name: sum(getattr(result, entry.name) for result in results)
        for entry in fields(WriteResult)
        if entry.name not in _LAST | {"schema_changes"}
    }
    return WriteResult(
        **counts,
        version=max(versions, default=None),
        table_version=results[-1].table_version,
        rows_total=results[-1].rows_total,
        schema_changes=tuple(change for result in results for change in result.schema_changes),
    )
