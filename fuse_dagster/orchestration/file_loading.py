"""Reads the files of an upstream asset: one, or those of the partitions that a step asks for, as one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from fuse_dagster.connectors.base import CanList, CanRead
from fuse_dagster.core.errors import ConfigError, SchemaError, TableNotFoundError
from fuse_dagster.engines.local.addresses import is_of_spark
from fuse_dagster.engines.local.files import FileOptions, Format
from fuse_dagster.engines.local.reading import choose
from fuse_dagster.orchestration.access import Access
from fuse_dagster.orchestration.declarations import read_declaration
from fuse_dagster.orchestration.file_metadata import COLUMN_TYPES
from fuse_dagster.orchestration.file_names import file_path
from fuse_dagster.orchestration.files import opener_of, scan_file
from fuse_dagster.orchestration.loading import ReadOptions, Source, refuse_unwritten, refuse_versions

if TYPE_CHECKING:
    from logging import Logger

    from dagster import InputContext

    from fuse_dagster.connectors.lake import Lake


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The files of an upstream asset that a step reads.

    Attributes:
        source: The asset, and which partitions of it.
        lake: Where its files lie.
        options: Their format.
        columns: Columns to read; None for all.
        types: Column -> type as text, which formats without types are read with.
        log: Where it is said how many of the partitions there are.
    """

    source: Source
    lake: Lake
    options: FileOptions
    columns: tuple[str, ...] | None
    types: Mapping[str, Any]
    log: Logger

    @property
    def name(self) -> str:
        """The asset, for messages."""
        return self.source.asset.to_user_string()


def asked_of_files(context: InputContext, lake: Lake, options: FileOptions, wanted: ReadOptions) -> Asked:
    """Describe what an input reads.

    Raises:
        ConfigError: The input is no asset, or asks for what files don't have.
    """
    if not context.has_asset_key:
        msg = f"The input `{context.name}` is no asset. Files belong to assets: give it another IO manager."
        raise ConfigError(msg)
    refuse_versions(wanted, of="files", do="Store the asset by a `DeltaIOManager`.")
    upstream = context.upstream_output
    partitioned = context.has_asset_partitions
    source = Source(
        asset=context.asset_key,
        uri=lake.uri(*context.asset_key.path),
        access=Access(lake),
        declaration=read_declaration((upstream.definition_metadata if upstream else None) or {}),
        definition=context.asset_partitions_def if partitioned else None,
        keys=tuple(sorted(context.asset_partition_keys)) if partitioned else (),
    )
    return Asked(
        source=source,
        lake=lake,
        options=options,
        columns=None if wanted.columns is None else tuple(wanted.columns),
        types={} if options.format is Format.PARQUET else _types_written(context),
        log=context.log,
    )


def read_asset_files(asked: Asked) -> pl.LazyFrame:
    """Read them lazily, as far as their format allows.

    Raises:
        TableNotFoundError: The asset has no file at all.
        PartitionNotFoundError: The one partition asked for was never written.
        SchemaError: The files of several partitions have different columns.
        ConfigError: An unknown column.
    """
    paths, is_empty = _paths(asked)
    frames = {path: _scanned(asked, path) for path in paths}
    frame = _as_one(asked, frames)
    return choose(frame.clear() if is_empty else frame, asked.columns, of=f"`{asked.name}`")


def read_asset_files_with_spark(session: Any, asked: Asked) -> Any:
    """Read them as a Spark DataFrame.

    Raises:
        TableNotFoundError: The asset has no file at all.
        PartitionNotFoundError: The one partition asked for was never written.
        SchemaError: The files of several partitions have different columns.
        ConfigError: An unknown column.
    """
    from fuse_dagster.engines.spark.frames import to_spark
    from fuse_dagster.engines.spark.names import quoted

    paths, is_empty = _paths(asked)
    frames = {path: _scanned(asked, path) for path in paths}
    schema = _as_one(asked, frames).collect_schema()
    names = choose(pl.LazyFrame(schema=schema), asked.columns, of=f"`{asked.name}`").collect_schema().names()
    whole = None
    for path, scanned in frames.items():
        fetched = is_of_spark(asked.lake.uri(*path.split("/")))
        frame = (
            to_spark(session, scanned.select(pl.col(name).cast(dtype) for name, dtype in schema.items()))
            if fetched
            else _by_spark(session, asked, path, schema)
        )
        frame = frame.select(*map(quoted, names))
        whole = frame if whole is None else whole.unionAll(frame)
    return whole.filter("false") if is_empty and whole is not None else whole


def _by_spark(session: Any, asked: Asked, path: str, schema: Mapping[str, Any]) -> Any:
    from fuse_dagster.engines.spark.files import scan_files

    return scan_files(
        session,
        asked.lake.uri(*path.split("/")),
        asked.options.format,
        options=asked.options,
        types=schema,
        storage_options=asked.source.storage_options,
        opener=opener_of(asked.lake),
    )


def _scanned(asked: Asked, path: str) -> pl.LazyFrame:
    return scan_file(asked.lake, path, asked.options, types=asked.types, storage_options=asked.source.storage_options)


def _paths(asked: Asked) -> tuple[list[str], bool]:
    """The files to read; and whether only their columns are wanted, as none of the partitions asked for is there."""
    source, ending = asked.source, asked.options.ending
    path = tuple(source.asset.path)
    if source.definition is None:
        whole = file_path(path, None, "", ending)
        if not _exists(asked.lake, whole):
            raise _no_file(asked, whole)
        return [whole], False
    wanted = {key: file_path(path, source.definition, key, ending) for key in source.keys}
    there = _files_of(asked, list(wanted.values()))
    present = {key: each for key, each in wanted.items() if each in there}
    if not there and len(source.keys) != 1:
        raise _no_file(asked, "/".join(path))
    refuse_unwritten(source, present, asked.log)
    return (list(present.values()), False) if present else (sorted(there)[:1], True)


def _files_of(asked: Asked, wanted: list[str]) -> set[str]:
    """The asset's files, listed at once where that can be; else those wanted that are there."""
    if isinstance(asked.lake, CanList) and len(wanted) != 1:
        found = asked.lake.list("/".join(asked.source.asset.path))
        return {entry.path for entry in found if entry.path.endswith(asked.options.ending)}
    return {path for path in wanted if _exists(asked.lake, path)}


def _exists(lake: Lake, path: str) -> bool:
    if not isinstance(lake, CanRead):
        msg = f"A `{lake.type}` connector reads no files. Take one that does: `fuse connectors list` names them."
        raise ConfigError(msg)
    return lake.exists(path)


def _no_file(asked: Asked, path: str) -> TableNotFoundError:
    uri = asked.lake.uri(*path.split("/"))
    return TableNotFoundError(f"`{asked.name}` has no file of {asked.options.format} at `{uri}`. Materialize it first.")


def _as_one(asked: Asked, frames: Mapping[str, pl.LazyFrame]) -> pl.LazyFrame:
    (first, whole), *others = frames.items()
    if not others:
        return whole
    wanted: dict[str, pl.DataType] = dict(whole.collect_schema())
    for path, frame in others:
        schema = frame.collect_schema()
        differing = _differing(wanted, schema)
        if differing:
            msg = (
                f"The files `{first}` and `{path}` of `{asked.name}` have different columns: {'; '.join(differing)}. "
                "Materialize the older partitions again, or ask for one at a time."
            )
            raise SchemaError(msg)
        wanted = {name: schema[name] if dtype == pl.Null else dtype for name, dtype in wanted.items()}
    return pl.concat([frame.select(pl.col(name).cast(dtype) for name, dtype in wanted.items())
                      for frame in frames.values()])  # fmt: skip


def _differing(wanted: Mapping[str, pl.DataType], schema: Mapping[str, pl.DataType]) -> list[str]:
    found = [f"`{name}` is missing in the second" for name in wanted if name not in schema]
    found += [f"`{name}` is missing in the first" for name in schema if name not in wanted]
    return found + [
        f"`{name}` is {wanted[name]}, then {dtype}"
        for name, dtype in schema.items()
        if name in wanted and pl.Null not in (dtype, wanted[name]) and dtype != wanted[name]
    ]


def _types_written(context: InputContext) -> Mapping[str, Any]:
    """The types that the newest materialization wrote, without those of columns that held nothing."""
    event = context.instance.get_latest_materialization_event(context.asset_key)
    written = event.asset_materialization.metadata.get(COLUMN_TYPES) if event and event.asset_materialization else None
    types = written.value if written is not None else {}
    return {name: text for name, text in types.items() if text != "null"} if isinstance(types, Mapping) else {}
