"""The IO manager for files: each asset, or each partition of it, is one file that others can open."""

# Dagster and pydantic read these annotations, so they are not postponed.
from collections.abc import Mapping
from typing import Any

import polars as pl
from dagster import ConfigurableIOManager, ConfigurableResource, InputContext, OutputContext, ResourceDependency
from pydantic import Field

from fuse_dagster.connectors.lake import Lake
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.engines.local.files import FileOptions, file_options
from fuse_dagster.engines.local.frames import frame_kind, from_polars
from fuse_dagster.orchestration.declarations import read_declaration
from fuse_dagster.orchestration.engine import EngineFrame, NoSpark, session_of, session_to_read_with
from fuse_dagster.orchestration.file_loading import asked_of_files, read_asset_files, read_asset_files_with_spark
from fuse_dagster.orchestration.file_metadata import describe_files
from fuse_dagster.orchestration.file_names import file_path
from fuse_dagster.orchestration.file_writing import frames_by_partition, refuse_shared_file
from fuse_dagster.orchestration.files import write_file
from fuse_dagster.orchestration.loading import read_options
from fuse_dagster.orchestration.metadata import add_described


class FileIOManager(ConfigurableIOManager):
    """Stores assets as files for others: each at `<key>.<ending>`, or a partition at `<key>/<partition>.<ending>`.

    Files are for interchange: each is replaced whole, and there is no history, no merge and no check against several
    writers. For tables, take `DeltaIOManager`. What a function returns, and what annotates an input, may be the same
    frames as there; for several partitions at once, a map from partition key to frame. An input may ask for `columns`.

    Examples:
        >>> import dagster as dg
        >>> from fuse_dagster import FileIOManager, Local
        >>> reports = FileIOManager(lake=Local(root="lake"), format="csv", options={"separator": ";"})
        >>> defs = dg.Definitions(resources={"reports": reports})
    """

    lake: ResourceDependency[Lake]
    spark: ResourceDependency[ConfigurableResource]  # type: ignore[type-arg]  # any with a `spark_session`
    format: str = Field(default="parquet", description="Of the files: parquet, csv, json, ndjson, excel or avro.")
    options: dict[str, Any] = Field(
        default={}, description="Options of the format, as `separator` of csv, or `compression`; by default its own."
    )

    def __init__(self, **data: Any) -> None:
        # Dagster takes neither a default nor an optional type for a resource within another.
        super().__init__(**{"spark": NoSpark(), **data})
        if type(self.format) is str:  # not a variable that is looked up later
            file_options(self.format, self.options)

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        """Write what an asset returned, and describe it as metadata of the materialization.

        Raises:
            ConfigError: The output is no asset, its name can't be one of a file, or frames for partitions are missing.
            InputError: The format can't hold the data; the file is as it was.
        """
        if not context.has_asset_key:
            msg = f"The output `{context.name}` is no asset. Files belong to assets: give it another `io_manager_key`."
            raise ConfigError(msg)
        declared, options = read_declaration(context.definition_metadata), self._chosen()
        asset, partitioned = context.asset_key, context.has_asset_partitions
        definition = context.asset_partitions_def if partitioned else None
        keys = tuple(sorted(context.asset_partition_keys)) if partitioned else ()
        frames = frames_by_partition(asset.to_user_string(), keys, obj)
        paths = {key: file_path(tuple(asset.path), definition, key, options.ending) for key in frames}
        refuse_shared_file(context, asset, definition, keys)
        written = {}
        for key, frame in frames.items():
            written[key] = write_file(
                self.lake, paths[key], frame, layout=options.format, options=options, masked=declared.masked
            )
            context.log.info("`%s`: %d rows at `%s`", asset.to_user_string(), written[key].rows, written[key].uri)
        described = describe_files(asset, list(written.values()), declared, options, partitioned=partitioned)
        add_described(context, described)

    def load_input(self, context: InputContext) -> Any:
        """Read an upstream asset as the type that the input's annotation names.

        Raises:
            ConfigError: The annotation is no frame, or the input's metadata can't work.
            TableNotFoundError: The upstream asset has no file.
            PartitionNotFoundError: The one upstream partition asked for was never written.
            SchemaError: The files of several partitions have different columns.
        """
        wanted, session = context.dagster_type.typing_type, None
        if wanted is EngineFrame:
            wanted, session = pl.LazyFrame, session_of(self.spark, self.lake)
        elif frame_kind(wanted) == "pyspark.DataFrame":
            session = session_to_read_with(self.spark, self.lake)
        asked = asked_of_files(context, self.lake, self._chosen(), read_options(context.definition_metadata or {}))
        if session is not None:
            return read_asset_files_with_spark(session, asked)
        return from_polars(read_asset_files(asked), wanted)

    def _chosen(self) -> FileOptions:
        given: Mapping[str, Any] = self.options
        return file_options(self.format, given)
