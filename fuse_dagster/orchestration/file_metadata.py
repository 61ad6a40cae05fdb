"""What a materialization says about the files that were written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from dagster import AssetKey, MetadataValue, TableColumn, TableColumnConstraints, TableSchema

from fuse_dagster.engines.local.files.types import type_text
from fuse_dagster.orchestration.metadata import (
    COLUMN_LINEAGE,
    COLUMN_SCHEMA,
    LINEAGE_TABLE,
    PARTITION_ROW_COUNT,
    ROW_COUNT,
    STORAGE_KIND,
    TABLE_NAME,
    URI,
    lineage_table,
    preview,
    to_lineage,
)

if TYPE_CHECKING:
    from fuse_dagster.engines.local.files import FileOptions
    from fuse_dagster.orchestration.declarations import Declaration
    from fuse_dagster.orchestration.files import FileWritten

COLUMN_TYPES = "column_types"
"""Column -> type as written, by which formats without types are read back."""


def describe_files(
    asset: AssetKey, files: Sequence[FileWritten], declared: Declaration, options: FileOptions, *, partitioned: bool
) -> dict[str, Any]:
    """Describe files as materialization metadata.

    Args:
        asset: The asset.
        files: What was written: one, or one per partition.
        declared: What the asset says about its columns.
        options: The format.
        partitioned: Whether each file is a partition.

    Returns:
        Metadata by its documented name. Counts are ints, so that Dagster plots them.
    """
    last = files[-1]
    found: dict[str, Any] = {
        TABLE_NAME: ".".join(asset.path),
        STORAGE_KIND: str(options.format),
        COLUMN_SCHEMA: _column_schema(last.schema, declared),
        COLUMN_TYPES: MetadataValue.json({name: type_text(dtype) for name, dtype in last.schema.items()}),
        "bytes_added": sum(file.bytes for file in files),
        "files_added": len(files),
        "rows_in": sum(file.rows for file in files),
        "seconds": round(sum(file.seconds for file in files), 3),
        "preview": MetadataValue.md(preview(last.first, declared.masked)),
    }
    # Of several partitions only the sum is known, and each of their events would show it as its own.
    if len(files) == 1:
        found[URI] = last.uri
        found[PARTITION_ROW_COUNT if partitioned else ROW_COUNT] = last.rows
    lineage = {column: list(deps) for column, deps in declared.lineage.items() if column in last.schema}
    if lineage:
        found[COLUMN_LINEAGE] = to_lineage(lineage)
        found[LINEAGE_TABLE] = lineage_table(found[COLUMN_LINEAGE])
    return found


def _column_schema(schema: Mapping[str, pl.DataType], declared: Declaration) -> TableSchema:
    columns = []
    for name, dtype in schema.items():
        said, text = declared.columns.get(name), type_text(dtype)
        notes = ["business key"] if said and said.key else []
        notes += ["masked"] if name in declared.masked else []
        columns.append(
            TableColumn(
                name=name,
                type=text if isinstance(text, str) else str(dtype),
                description=(said.description or None) if said else None,
                constraints=TableColumnConstraints(other=notes),
                tags=dict.fromkeys(said.tags, "") if said else None,
            )
        )
    return TableSchema(columns=columns)
