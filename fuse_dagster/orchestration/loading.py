"""Reads an upstream table the way an input asks: columns, a version or time, partitions, a moment of a history."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import polars as pl
from dagster import AssetKey, AssetsDefinition, MetadataValue

from fuse_dagster.core.errors import ConfigError, PartitionNotFoundError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.engines.local.frames import from_polars
from fuse_dagster.engines.local.reading import choose, scan, to_moment
from fuse_dagster.orchestration.access import Access
from fuse_dagster.orchestration.declarations import Declaration, read_declaration, sole_asset
from fuse_dagster.orchestration.partitions import present_keys, slice_of
from fuse_dagster.tables import as_of, current

if TYPE_CHECKING:
    from logging import Logger

    from dagster import InputContext, PartitionsDefinition

    from fuse_dagster.connectors.lake import Lake


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What the metadata of an input may ask for: `AssetIn(metadata={"columns": ["icao", "name"]})`.

    Attributes:
        columns: Columns to read, in this order; all by default.
        version: Delta version to read.
        timestamp: Read the version that was current then: a date, or an aware time, or either as ISO text.
        as_of: For a history: only the versions that held at this date or time, or `current` for the open ones.
        unknown_member: With `as_of`: values by column of a row to add, for facts without a row here to refer to.
    """

    columns: Sequence[str] | None = None
    version: int | None = None
    timestamp: datetime | date | str | None = None
    as_of: datetime | date | str | None = None
    unknown_member: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without the table."""
        if isinstance(self.columns, str):
            msg = f"`columns` is the text `{self.columns}`. Give a list of names."
            raise ConfigError(msg)
        if self.as_of is not None and (self.version is not None or self.timestamp is not None):
            msg = "`as_of` asks for a moment of the history, `version` and `timestamp` for one of the table. Give one."
            raise ConfigError(msg)
        member: object = self.unknown_member
        if member is not None and self.as_of is None:
            msg = "`unknown_member` is added to a moment of a history. Give `as_of`, such as `current`."
            raise ConfigError(msg)
        if not isinstance(member, Mapping | None):
            msg = f"`unknown_member` is `{member}`. Give a map from columns to values."
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One upstream asset's table, and which part of it a step reads.

    Attributes:
        asset: The upstream asset.
        uri: Where its table lies.
        access: What delta-rs needs to reach it.
        declaration: What the upstream asset's metadata says about the table.
        definition: Its partitioning, if it has one.
        keys: The partitions to read, sorted; empty without partitioning.
        written: Those of them that the instance knows to be materialized, maybe without rows.
    """

    asset: AssetKey
    uri: str
    access: Access = field(repr=False)
    declaration: Declaration
    definition: PartitionsDefinition[str] | None = None
    keys: tuple[str, ...] = ()
    written: frozenset[str] = frozenset()

    @property
    def storage_options(self) -> Mapping[str, str]:
        """What delta-rs needs to reach the table."""
        return self.access.options


def refuse_versions(wanted: ReadOptions, *, of: str, do: str = "Leave it out.") -> None:
    """Refuse to ask for a version of what has none.

    Args:
        wanted: What the input asks for.
        of: What has no versions, as `files`.
        do: What to do instead.

    Raises:
        ConfigError: The input asks for one.
    """
    for name in ("version", "timestamp", "as_of", "unknown_member"):
        if getattr(wanted, name) is not None:
            msg = f"The input asks for `{name}`, and {of} have no versions. {do}"
            raise ConfigError(msg)


def read_options(metadata: Mapping[str, Any]) -> ReadOptions:
    """Read what an input's metadata asks for; entries of others are left alone.

    Raises:
        ConfigError: An option is nearly spelt right, or options exclude each other.
    """
    said = {key: value.value if isinstance(value, MetadataValue) else value for key, value in metadata.items()}
    valid = [entry.name for entry in fields(ReadOptions)]
    for name in said.keys() - set(valid):
        # A misspelt option would read the wrong rows in silence.
        if get_close_matches(name, valid, n=1, cutoff=0.75):
            msg = f"The input has no option `{name}`. {did_you_mean(name, valid)}"
            raise ConfigError(msg)
    return ReadOptions(**{name: said[name] for name in valid if name in said})


def source_of_input(context: InputContext, lake: Lake) -> Source:
    """Describe the table behind an input.

    Raises:
        ConfigError: The input is no asset, or the upstream metadata can't work.
    """
    if not context.has_asset_key:
        msg = f"The input `{context.name}` is no asset. Tables belong to assets: give it another IO manager."
        raise ConfigError(msg)
    upstream = context.upstream_output
    source = Source(
        asset=context.asset_key,
        uri=lake.table_uri(*context.asset_key.path),
        access=Access(lake),
        declaration=read_declaration((upstream.definition_metadata if upstream else None) or {}),
    )
    if not context.has_asset_partitions:
        return source
    keys = tuple(sorted(context.asset_partition_keys))
    written = context.instance.get_materialized_partitions(context.asset_key)
    return replace(source, definition=context.asset_partitions_def, keys=keys, written=frozenset(written & set(keys)))


def source_of_key(asset: AssetKey | AssetsDefinition | str, lake: Lake) -> Source:
    """Describe the table of an asset, all partitions of it.

    Raises:
        ConfigError: A definition of several assets is given, or its metadata can't work.
    """
    if isinstance(asset, AssetsDefinition):
        key, declared = sole_asset(asset)
    else:
        key, declared = AssetKey.from_user_string(asset) if isinstance(asset, str) else asset, Declaration()
    return Source(
        asset=key,
        uri=lake.table_uri(*key.path),
        access=Access(lake),
        declaration=declared,
    )


def load_source(source: Source, options: ReadOptions, wanted: Any, log: Logger) -> Any:
    """Read an upstream table as the frame that an annotation names: once more where a secret has changed meanwhile.

    Args:
        source: The table, and which partitions of it.
        options: What the input asks for.
        wanted: The annotation.
        log: Where it is said how many of the partitions there are.

    Raises:
        FuseError: As `read_source` and `from_polars`.
    """
    return source.access.ask(lambda _: from_polars(_read(source, options, log), wanted), place=source.uri)


def read_source(source: Source, options: ReadOptions, log: Logger) -> pl.LazyFrame:
    """Read an upstream table lazily, narrowed to what the step depends on.

    Args:
        source: The table, and which partitions of it.
        options: What the input asks for.
        log: Where it is said how many of the partitions there are.

    Returns:
        A lazy frame: filters and columns that follow are pushed down to the files.

    Raises:
        TableNotFoundError: There is no table.
        TableStateError: It can't be opened, or the version asked for has expired.
        ConfigError: The options do not fit the table.
        PartitionNotFoundError: The one partition asked for was never written.
    """
    return source.access.ask(lambda _: _read(source, options, log), place=source.uri)


def _read(source: Source, options: ReadOptions, log: Logger) -> pl.LazyFrame:
    if options.as_of is not None:
        frame = _moment_of_history(source, options.as_of, options.unknown_member)
    else:
        frame = scan(
            source.uri,
            version=options.version,
            timestamp=options.timestamp,
            storage_options=source.storage_options or None,
        )
        if source.definition is not None and source.declaration.has_slices:
            frame = _partitions(source, frame, log)
    # Last, because the columns that decide a partition or a moment need not be among those asked for.
    return choose(frame, options.columns, of=f"`{source.asset.to_user_string()}`")


def _moment_of_history(source: Source, moment: datetime | date | str, member: Mapping[str, Any] | None) -> pl.LazyFrame:
    asked = said_of_history(source, member) | {"storage_options": source.storage_options or None}
    frame: pl.LazyFrame
    if moment == "current":
        frame = current(source.uri, **asked)
    else:
        instant = to_moment(moment) if isinstance(moment, str) else moment
        history = source.declaration.history
        frame = as_of(source.uri, instant, timezone=history.timezone if history else None, **asked)
    return frame


def said_of_history(source: Source, member: Mapping[str, Any] | None) -> dict[str, Any]:
    """What `as_of` and `current` are told of a table, whichever engine reads it.

    Args:
        source: The table.
        member: The unknown member, where it is asked for.

    Raises:
        ConfigError: It is asked for, and nothing declares the keys.
    """
    refuse_without_keys(source, member)
    history = source.declaration.history
    if history is None:
        return {"unknown_member": member}
    own = {name: getattr(history, name) for name in ("valid_from", "valid_to", "is_current")}
    return {"unknown_member": member, "keys": history.keys, **own}


def _partitions(source: Source, frame: pl.LazyFrame, log: Logger) -> pl.LazyFrame:
    definition, by = source.definition, source.declaration.partition_by
    assert definition is not None
    if not source.keys:
        refuse_unwritten(source, set(), log)
        return frame.clear()
    schema = frame.collect_schema()
    narrowed = frame.filter(slice_of(source.keys, definition, by, schema).matches(schema))
    refuse_unwritten(source, present_keys(source.keys, definition, by, narrowed) | source.written, log)
    return narrowed


def refuse_without_keys(source: Source, member: Mapping[str, Any] | None) -> None:
    """Refuse an unknown member where nobody knows the keys of the history.

    Raises:
        ConfigError: There is a member, and the asset declares no history.
    """
    if member is not None and source.declaration.history is None:
        name = source.asset.to_user_string()
        msg = f"`unknown_member` needs the keys of `{name}`, which declares no history. Give the asset, not its name."
        raise ConfigError(msg)


def refuse_unwritten(source: Source, there: Collection[str], log: Logger) -> None:
    """Say how many of the partitions that a step asks for are there.

    Args:
        source: The table, and which partitions of it.
        there: Those that are.
        log: Where it is said that some are not.

    Raises:
        PartitionNotFoundError: One is asked for, and it was never written.
    """
    name, asked = source.asset.to_user_string(), len(source.keys)
    if not asked:
        log.info("`%s`: no partition of it is asked for, so no rows are read.", name)
    elif asked == 1 and not there:
        msg = f"The partition `{source.keys[0]}` of `{name}` was never written. Materialize it first."
        raise PartitionNotFoundError(msg)
    elif len(there) < asked:
        log.info("`%s`: read %d of %d partitions; the others were never written.", name, len(there), asked)
