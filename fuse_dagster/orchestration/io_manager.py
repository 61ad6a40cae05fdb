"""The IO manager, and the same as a resource: a Dagster context in, a call, the result to metadata."""

# Dagster and pydantic read these annotations, so they are not postponed.
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from logging import Logger
from typing import Any

import polars as pl
from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    ConfigurableIOManager,
    ConfigurableResource,
    InputContext,
    MaterializeResult,
    OutputContext,
    ResourceDependency,
    get_dagster_logger,
)

from fuse_dagster.connectors.lake import Lake
from fuse_dagster.engines.local.frames import frame_kind
from fuse_dagster.orchestration.deltalake_arguments import taken_over
from fuse_dagster.orchestration.engine import EngineFrame, NoSpark, session_of, session_to_read_with
from fuse_dagster.orchestration.loading import (
    ReadOptions,
    load_source,
    read_options,
    read_source,
    source_of_input,
    source_of_key,
)
from fuse_dagster.orchestration.loads import Load, describe_load, load_of, load_target
from fuse_dagster.orchestration.metadata import add_described, describe_write, summary
from fuse_dagster.orchestration.reconciling import describe_reconciled, reconcile_target
from fuse_dagster.orchestration.spark_loading import read_source_with_spark
from fuse_dagster.orchestration.target import Target, target_of_asset, target_of_output
from fuse_dagster.orchestration.writing import refuse_nested, write_target


def _land(target: Target, data: object, lake: Lake, log: Logger) -> dict[str, Any]:
    """Write a frame, or load a source, and describe what happened."""
    wanted = load_of(data)
    if wanted is not None and target.compare_keys:
        return _reconcile(target, wanted, lake, log)
    loaded = None if wanted is None else load_target(target, wanted)
    result = write_target(target, data) if loaded is None else loaded.written
    log.info(summary(target, result))
    if loaded is not None and result.table_version < 0:
        return describe_load(loaded)  # nothing was there to make a table of
    described = describe_write(target, result, lake=lake, log=log)
    return described if loaded is None else {**described, **describe_load(loaded)}


def _reconcile(target: Target, wanted: Load, lake: Lake, log: Logger) -> dict[str, Any]:
    """End what is gone from a source, and describe what happened."""
    found, reached = reconcile_target(target, wanted.source)
    log.info(summary(target, found.written))
    described = describe_reconciled(found, reached)
    if found.written.table_version < 0:
        return described
    return {**describe_write(target, found.written, lake=lake, log=log), **described}


class DeltaIOManager(ConfigurableIOManager):
    """Stores assets as Delta tables: each at `lake.table_uri(*asset_key.path)`, written the way the asset declares.

    What a function returns may be a polars DataFrame or LazyFrame, a pandas DataFrame, an Arrow Table, RecordBatch or
    RecordBatchReader, a DuckDB relation or a Spark DataFrame; the annotation of an input chooses among the same (a
    LazyFrame without one). With `spark`, tables are written through its session, which also reads what is annotated
    with Spark's DataFrame. The write mode is that of the asset's metadata or decorator; by default the asset's
    partition, or the table, is replaced. A function may also return a source, as `ingest.TableSource`: what is new in
    it since the last load that landed is then brought to the table (see `load_table`). What an input may ask for:
    `ReadOptions`.

    Examples:
        >>> import dagster as dg
        >>> from fuse_dagster import DeltaIOManager, Local
        >>> defs = dg.Definitions(resources={"io_manager": DeltaIOManager(lake=Local(root="lake"))})
    """

    lake: ResourceDependency[Lake]
    spark: ResourceDependency[ConfigurableResource]  # type: ignore[type-arg]  # any with a `spark_session`

    def __init__(self, **data: Any) -> None:
        # Dagster takes neither a default nor an optional type for a resource within another.
        super().__init__(**{"spark": NoSpark(), **taken_over(data)})

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        """Write what an asset returned, and describe it as metadata of the materialization.

        Raises:
            ConfigError: The asset's declaration can't work.
            InputError: The data is refused; nothing was written.
        """
        target = target_of_output(context, self.lake, session_of(self.spark, self.lake))
        refuse_nested(target, self.lake)
        described = _land(target, obj, self.lake, context.log)
        add_described(context, described)

    def load_input(self, context: InputContext) -> Any:
        """Read an upstream asset as the type that the input's annotation names.

        Raises:
            ConfigError: The annotation is no frame, or the input's metadata can't work.
            TableNotFoundError: The upstream table is not there.
            PartitionNotFoundError: The one upstream partition asked for was never written.
        """
        wanted, session = context.dagster_type.typing_type, None
        if wanted is EngineFrame:
            wanted, session = pl.LazyFrame, session_of(self.spark, self.lake)
        elif frame_kind(wanted) == "pyspark.DataFrame":
            session = session_to_read_with(self.spark, self.lake)
        source, options = source_of_input(context, self.lake), read_options(context.definition_metadata or {})
        if session is not None:
            return read_source_with_spark(session, source, options, context.log)
        return load_source(source, options, wanted, context.log)


class DeltaTables(ConfigurableResource):  # type: ignore[type-arg]  # it provides itself
    """The same without an IO manager: functions that write and read the tables of assets by themselves.

    Examples:
        >>> import dagster as dg, polars as pl
        >>> from fuse_dagster import DeltaTables
        >>> @dg.asset(metadata={"write": {"mode": "upsert", "keys": ["tailnum"]}})
        ... def planes(context: dg.AssetExecutionContext, tables: DeltaTables) -> dg.MaterializeResult:
        ...     return tables.write(context, pl.DataFrame({"tailnum": ["N10156"], "seats": [55]}))
    """

    lake: ResourceDependency[Lake]
    spark: ResourceDependency[ConfigurableResource]  # type: ignore[type-arg]  # any with a `spark_session`

    def __init__(self, **data: Any) -> None:
        super().__init__(**{"spark": NoSpark(), **taken_over(data)})

    def write(
        self, context: AssetExecutionContext, data: Any, *, asset: AssetKey | None = None
    ) -> MaterializeResult[None]:
        """Write a frame to the table of the asset that is being executed, the way the asset declares.

        Args:
            context: The context of the asset's function.
            data: A frame of any accepted type.
            asset: Which of a multi-asset's assets; not needed for one.

        Returns:
            What the function has to return: the materialization with its metadata.

        Raises:
            ConfigError: The asset's declaration can't work.
            InputError: The data is refused; nothing was written.
        """
        target = target_of_asset(context, self.lake, asset, session_of(self.spark, self.lake))
        refuse_nested(target, self.lake)
        described = _land(target, data, self.lake, context.log)
        return MaterializeResult(asset_key=target.asset, metadata=described)

    def read(
        self,
        asset: AssetKey | AssetsDefinition | str,
        *,
        columns: Sequence[str] | None = None,
        version: int | None = None,
        timestamp: datetime | date | str | None = None,
        as_of: datetime | date | str | None = None,
        unknown_member: Mapping[str, Any] | None = None,
    ) -> pl.LazyFrame:
        """Read the table of an asset, all partitions of it.

        Args:
            asset: The asset, its key, or the key's text form `bronze/planes`.
            columns: Columns to read, in this order; all by default.
            version: Delta version to read.
            timestamp: Read the version that was current then.
            as_of: For a history: only the versions that held then, or `current` for the open ones. Other names of its
                columns than the default ones are known where the asset itself is given.
            unknown_member: With `as_of`, and where the asset itself is given: values by column of a row to add, for
                facts without a row here to refer to.

        Returns:
            A lazy frame: filters and columns that follow are pushed down to the files.

        Raises:
            TableNotFoundError: There is no table.
            ConfigError: The options do not fit the table.
        """
        options = ReadOptions(
            columns=columns, version=version, timestamp=timestamp, as_of=as_of, unknown_member=unknown_member
        )
        return read_source(source_of_key(asset, self.lake), options, get_dagster_logger())

    def read_with_spark(self, asset: AssetKey | AssetsDefinition | str, options: ReadOptions | None = None) -> Any:
        """The same as a Spark DataFrame.

        Args:
            asset: As in `read`.
            options: What of the table is read; all of it by default.

        Raises:
            TableNotFoundError: There is no table.
            ConfigError: There is no Spark, or the options do not fit the table.
        """
        session, source = session_to_read_with(self.spark, self.lake), source_of_key(asset, self.lake)
        return read_source_with_spark(session, source, options or ReadOptions(), get_dagster_logger())
