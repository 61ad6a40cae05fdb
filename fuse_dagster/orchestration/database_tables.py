"""Which table of a database an asset is, and how what it declares becomes a write, and a read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from fuse_dagster.connectors.databases.comparing import condition
from fuse_dagster.connectors.databases.modes import AppendRows, Comparison, ReplaceRows, RowsMode, UpsertRows
from fuse_dagster.connectors.databases.naming import written
from fuse_dagster.core.errors import ConfigError, NotThereError, PartitionNotFoundError, TableNotFoundError
from fuse_dagster.core.naming import listing
from fuse_dagster.engines.local.streaming import to_stream
from fuse_dagster.orchestration.declarations import Declaration, mode_name
from fuse_dagster.orchestration.partitions import slice_of
from fuse_dagster.tables import Append, Overwrite, Upsert
from fuse_dagster.tables.samples import masking
from fuse_dagster.tables.slices import Equals, Slice, refuse_strays

if TYPE_CHECKING:
    import pyarrow as pa
    from dagster import AssetKey, PartitionsDefinition

    from fuse_dagster.connectors.database import Database

# Options of a mode that a database has, too; another one that is set is refused.
_TAKEN: Mapping[type, frozenset[str]] = {
    Append: frozenset({"once", "batch_id"}),
    Overwrite: frozenset({"skip_if_unchanged"}),
    Upsert: frozenset({"keys", "when_matched", "max_delete_fraction", "allow_empty"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseTable:
    """One asset's table in a database, and which part of it a step works on.

    Attributes:
        asset: The asset.
        name: The table, as `schema.table`.
        declared: What the asset says about it.
        definition: Its partitioning, if it has one.
        keys: The partitions, sorted; empty without partitioning.
    """

    asset: AssetKey
    name: str
    declared: Declaration
    definition: PartitionsDefinition[str] | None = None
    keys: tuple[str, ...] = ()

    def slice(self, schema: Mapping[str, pl.DataType]) -> Slice | None:
        """The rows that the partitions own; None where they are no slice of the table.

        Args:
            schema: Of the batch, or of the table.

        Raises:
            ConfigError: `partition_by` does not fit the partitioning.
            PartitionError: A key can't be a value of the column that decides.
        """
        if self.definition is None or not self.declared.has_slices:
            return None
        return slice_of(self.keys, self.definition, self.declared.partition_by, schema)


def table_name(path: Sequence[str], schema: str | None) -> str:
    """The table of an asset: `planes`, or `silver/planes` as `silver.planes`.

    Args:
        path: Of the asset's key.
        schema: Where all tables go; the parts of the key are then joined by `__`.

    Raises:
        ConfigError: The key has more parts than a schema and a table, and no schema is given.
    """
    if schema:
        return written((schema, "__".join(path)))
    if len(path) > 2:
        msg = (
            f"The key `{'/'.join(path)}` has {len(path)} parts, and a table has a schema and a name. Give the IO "
            "manager a `schema_name`: it then joins the parts by `__`."
        )
        raise ConfigError(msg)
    return written(path)


def rows_mode(table: DatabaseTable, by: Literal["swap", "truncate"], where: Slice | None, run: str) -> RowsMode:
    """What a declared write mode is in a database.

    Args:
        table: The asset's table.
        by: How a whole table is replaced.
        where: The rows that the partitions own.
        run: Names the batch of an append without partitions: the root run.

    Raises:
        ConfigError: The mode, or an option of it, is one that databases don't have.
    """
    mode, name = table.declared.mode, table.asset.to_user_string()
    if type(mode) not in _TAKEN:
        msg = f"`{name}` is a {mode_name(mode)}, which a database can't keep. Keep it by a `DeltaIOManager`."
        raise ConfigError(msg)
    others = [
        entry.name
        for entry in fields(mode)
        if entry.name not in _TAKEN[type(mode)] and getattr(mode, entry.name) != entry.default
    ]
    if isinstance(mode, Append) and mode.once_by_key:
        others.append("once")
    if others:
        msg = f"`{name}` declares {listing(others)}, which writing to databases does not have. Leave it out."
        raise ConfigError(msg)
    if isinstance(mode, Upsert):
        return UpsertRows(keys=mode.keys, when_matched=mode.when_matched)
    if isinstance(mode, Append):
        return AppendRows(once=_batch(table, run) if mode.once_by_batch else None)
    return ReplaceRows(by=by, where=() if where is None else comparisons(where))


def comparisons(where: Slice) -> tuple[tuple[Comparison, ...], ...]:
    """A slice as comparisons with bound values."""
    groups: list[tuple[Comparison, ...]] = []
    for together in where.any_of:
        group: list[Comparison] = []
        for one in together:
            if isinstance(one, Equals):
                group.append(Comparison(one.column, "in", one.values))
            else:
                group += [Comparison(one.column, ">=", one.start), Comparison(one.column, "<", one.end)]
        groups.append(tuple(group))
    return tuple(groups)


def stream_of(table: DatabaseTable, data: object) -> tuple[pa.RecordBatchReader, Slice | None]:
    """What an asset returned as a stream, which breaks off at a row of another partition.

    Raises:
        ConfigError: It is a map.
        InputError: It is no frame.
    """
    import pyarrow as pa

    if isinstance(data, Mapping):
        raise ConfigError(f"`{table.asset.to_user_string()}` returned a map. Return one frame.")
    reader = to_stream(data)
    polars = pl.DataFrame(reader.schema.empty_table()).schema
    where = table.slice(polars)
    if where is None:
        return reader, None

    def looked_through() -> Iterator[Any]:
        for batch in reader:
            with masking(table.declared.masked):
                refuse_strays(pl.DataFrame(batch), where)
            yield batch

    return pa.RecordBatchReader.from_batches(reader.schema, looked_through()), where


def read_table(
    database: Database, table: DatabaseTable, columns: Sequence[str] | None, written_keys: frozenset[str]
) -> pl.LazyFrame:
    """Read an asset's table, narrowed to the partitions.

    Args:
        database: Where it is.
        table: The table, and which partitions of it.
        columns: Columns to read, in this order; None for all.
        written_keys: The partitions that are known to have been written, maybe without rows.

    Raises:
        TableNotFoundError: There is no table.
        PartitionNotFoundError: The one partition asked for was never written.
        SchemaError: There is no such column.
    """
    asset = table.asset.to_user_string()
    try:
        with database.rows(table.name, limit=0) as reader:
            schema = pl.DataFrame(reader.schema.empty_table()).schema
        where = table.slice(schema) if table.keys else None
        with database.session() as connection:
            words = {column.name: column.type for column in database.columns_in(connection, table.name)}
            groups = () if where is None else comparisons(where)
            text, values = condition(database.dialect, groups, words=words)
            asked = database.selecting(connection, table.name, columns=columns, where=text)
            with database.streamed(connection, asked, values) as rows:
                frame = pl.DataFrame(rows.read_all())
    except NotThereError as error:
        msg = f"`{database.place}` has no table `{table.name}`. Materialize `{asset}` first."
        raise TableNotFoundError(msg) from error
    if where is not None and not frame.height and len(table.keys) == 1 and table.keys[0] not in written_keys:
        msg = f"The partition `{table.keys[0]}` of `{asset}` was never written. Materialize it first."
        raise PartitionNotFoundError(msg)
    return frame.lazy()


def _batch(table: DatabaseTable, run: str) -> str:
    if len(table.keys) > 1:
        msg = (
            f"`{table.asset.to_user_string()}` appends each partition once, and {len(table.keys)} are written in one "
            "step. Give the asset `backfill_policy=BackfillPolicy.multi_run(1)`."
        )
        raise ConfigError(msg)
    return table.keys[0] if table.keys else run
