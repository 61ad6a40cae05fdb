"""What a materialization says about the table of a database that was written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl
from dagster import MetadataValue, TableColumn, TableColumnConstraints, TableSchema

from fuse_dagster.orchestration.metadata import (
    COLUMN_LINEAGE,
    COLUMN_SCHEMA,
    LINEAGE_TABLE,
    PARTITION_ROW_COUNT,
    PREVIEW_ROWS,
    ROW_COUNT,
    STORAGE_KIND,
    TABLE_NAME,
    lineage_table,
    preview,
    to_lineage,
)

if TYPE_CHECKING:
    from logging import Logger

    from fuse_dagster.connectors.database import Database
    from fuse_dagster.connectors.databases.modes import RowsWritten
    from fuse_dagster.orchestration.database_tables import DatabaseTable


def describe_table(database: Database, table: DatabaseTable, written: RowsWritten, log: Logger) -> dict[str, Any]:
    """Describe a write as materialization metadata.

    Args:
        database: Where the table is.
        table: The table, and which part of it was written.
        written: What happened.
        log: Where it is said what could not be found out: a write that happened is never failed by that.

    Returns:
        Metadata by its documented name. Counts are ints, so that Dagster plots them.
    """
    found: dict[str, Any] = {
        TABLE_NAME: table.name,
        STORAGE_KIND: database.type,
        "database": database.place,
        "rows_in": written.rows,
        "inserted": written.inserted,
        "updated": written.updated,
        "created": written.created,
        "repeated": written.repeated,
        "seconds": round(written.seconds, 3),
    }
    if written.deleted is not None:
        found["deleted"] = written.deleted
    if len(table.keys) == 1 and table.declared.has_slices and not written.repeated:
        found[PARTITION_ROW_COUNT] = written.rows
    parts: dict[str, Callable[[], Any]] = {
        ROW_COUNT: lambda: database.count_rows(table.name),
        COLUMN_SCHEMA: lambda: _column_schema(database, table),
        "preview": lambda: MetadataValue.md(_preview(database, table)),
    }
    for name, compute in parts.items():
        try:
            found[name] = compute()
        except Exception as error:  # noqa: BLE001 - the commit has happened, and a description must not undo it
            log.warning("The metadata `%s` of `%s` is left out: %s", name, table.asset.to_user_string(), error)
    columns = {column.name for column in found[COLUMN_SCHEMA].columns} if COLUMN_SCHEMA in found else set()
    lineage = {column: list(deps) for column, deps in table.declared.lineage.items() if column in columns}
    if lineage:
        found[COLUMN_LINEAGE] = to_lineage(lineage)
        found[LINEAGE_TABLE] = lineage_table(found[COLUMN_LINEAGE])
    return found


def _preview(database: Database, table: DatabaseTable) -> str:
    with database.rows(table.name, limit=PREVIEW_ROWS) as rows:
        return preview(pl.DataFrame(rows.read_all()), table.declared.masked)


def _column_schema(database: Database, table: DatabaseTable) -> TableSchema:
    declared, keys = table.declared, set(getattr(table.declared.mode, "keys", ()))
    columns = []
    for column in database.columns(table.name):
        said = declared.columns.get(column.name)
        notes = ["business key"] if column.name in keys or (said and said.key) else []
        notes += ["primary key"] if column.key else []
        notes += ["masked"] if column.name in declared.masked else []
        columns.append(
            TableColumn(
                name=column.name,
                type=column.type,
                description=(said.description or None) if said else None,
                constraints=TableColumnConstraints(nullable=column.nullable, other=notes),
                tags=dict.fromkeys(said.tags, "") if said else None,
            )
        )
    return TableSchema(columns=columns)
