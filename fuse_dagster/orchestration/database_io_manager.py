"""The IO manager for databases: each asset is a table, written the way the asset declares, in one transaction."""

# Dagster and pydantic read these annotations, so they are not postponed.
from typing import Any, Literal

from dagster import ConfigurableIOManager, InputContext, OutputContext, ResourceDependency
from pydantic import Field

from fuse_dagster.connectors.base import CanWriteRows
from fuse_dagster.connectors.database import Database
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.engines.local.frames import from_polars
from fuse_dagster.orchestration.database_metadata import describe_table
from fuse_dagster.orchestration.database_tables import DatabaseTable, read_table, rows_mode, stream_of, table_name
from fuse_dagster.orchestration.declarations import raise_together, read_declaration
from fuse_dagster.orchestration.loading import read_options, refuse_versions
from fuse_dagster.orchestration.metadata import add_described


class DatabaseIOManager(ConfigurableIOManager):
    """Stores assets as tables of a database: `silver/planes` as `silver.planes`.

    What a function returns, and what annotates an input, may be the same frames as with `DeltaIOManager`; a LazyFrame
    and a RecordBatchReader are written as they are computed. The write mode is that of the asset's metadata or
    decorator: `overwrite` (by default), `append` or `upsert`. A partition that is overwritten goes and comes in one
    transaction. An input may ask for `columns`.

    Examples:
        >>> import dagster as dg
        >>> from fuse_dagster import DatabaseIOManager, DuckDB
        >>> warehouse = DatabaseIOManager(database=DuckDB(path="warehouse.duckdb"))
        >>> defs = dg.Definitions(resources={"io_manager": warehouse})
    """

    database: ResourceDependency[Database]
    schema_name: str | None = Field(
        default=None,
        description="Where all tables go. The parts of an asset's key are then joined by `__`; else a key of two parts "
        "is a schema and a table.",
    )
    overwrite: Literal["swap", "truncate"] = Field(
        default="swap",
        description="How a whole table is replaced: `swap` keeps readers waiting least, and is refused where something "
        "about the table would be lost; `truncate` keeps the table itself.",
    )

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        """Write what an asset returned, and describe it as metadata of the materialization.

        Raises:
            ConfigError: The output is no asset, its declaration can't work, or the database takes no rows.
            InputError: The data is refused; nothing was written.
        """
        if not context.has_asset_key:
            msg = f"The output `{context.name}` is no asset. Tables belong to assets: give it another `io_manager_key`."
            raise ConfigError(msg)
        database: Database = self.database
        if not isinstance(database, CanWriteRows):
            raise ConfigError(f"A `{database.type}` connector takes no rows. Take one that does.")
        partitioned = context.has_asset_partitions
        table = DatabaseTable(
            asset=context.asset_key,
            name=table_name(context.asset_key.path, self.schema_name),
            declared=read_declaration(context.definition_metadata),
            definition=context.asset_partitions_def if partitioned else None,
            keys=tuple(sorted(context.asset_partition_keys)) if partitioned else (),
        )
        asset = table.asset.to_user_string()
        if partitioned:
            raise_together(table.declared.partition_problems(), f"`{asset}`")
        run = context.step_context.dagster_run
        reader, where = stream_of(table, obj)
        how = rows_mode(table, self.overwrite, where, run.root_run_id or run.run_id)
        written = database.write_rows(table.name, reader, how)
        context.log.info("`%s`: %s of `%s`: %s", asset, table.name, database.place, written)
        described = describe_table(database, table, written, context.log)
        add_described(context, described)

    def load_input(self, context: InputContext) -> Any:
        """Read an upstream asset as the type that the input's annotation names.

        Raises:
            ConfigError: The annotation is no frame, or the input's metadata can't work.
            TableNotFoundError: The upstream table is not there.
            PartitionNotFoundError: The one upstream partition asked for was never written.
        """
        if not context.has_asset_key:
            msg = f"The input `{context.name}` is no asset. Tables belong to assets: give it another IO manager."
            raise ConfigError(msg)
        options = read_options(context.definition_metadata or {})
        refuse_versions(options, of="tables of a database")
        upstream, partitioned = context.upstream_output, context.has_asset_partitions
        table = DatabaseTable(
            asset=context.asset_key,
            name=table_name(context.asset_key.path, self.schema_name),
            declared=read_declaration((upstream.definition_metadata if upstream else None) or {}),
            definition=context.asset_partitions_def if partitioned else None,
            keys=tuple(sorted(context.asset_partition_keys)) if partitioned else (),
        )
        known = context.instance.get_materialized_partitions(context.asset_key) if partitioned else set()
        frame = read_table(self.database, table, options.columns, frozenset(known))
        return from_polars(frame, context.dagster_type.typing_type)
