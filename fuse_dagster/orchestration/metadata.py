"""What a materialization says about its table: the metadata that Dagster's catalog, plots and lineage are made of.

Metadata is written after the commit. What can't be computed is a log line; it never fails a write that happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import polars as pl
from dagster import (
    AssetKey,
    MetadataValue,
    TableColumn,
    TableColumnConstraints,
    TableColumnDep,
    TableColumnLineage,
    TableSchema,
)
from deltalake.schema import ArrayType, MapType, StructType

from fuse_dagster.engines.local.reading import open_table, scan
from fuse_dagster.orchestration.rejecting import rejected_table
from fuse_dagster.orchestration.writing import partition_slice
from fuse_dagster.tables import Overwrite

if TYPE_CHECKING:
    from logging import Logger

    from dagster import OutputContext
    from deltalake import DeltaTable
    from deltalake.schema import DataType

    from fuse_dagster.connectors.lake import Lake
    from fuse_dagster.orchestration.declarations import Declaration
    from fuse_dagster.orchestration.target import Target
    from fuse_dagster.tables import WriteResult

ROW_COUNT = "dagster/row_count"
PARTITION_ROW_COUNT = "dagster/partition_row_count"
COLUMN_SCHEMA = "dagster/column_schema"
COLUMN_LINEAGE = "dagster/column_lineage"
URI = "dagster/uri"
TABLE_NAME = "dagster/table_name"
STORAGE_KIND = "dagster/storage_kind"
LINEAGE_TABLE = "column_lineage"
"""The same as `dagster/column_lineage`, for people: Dagster's open-source web UI does not show that one."""

PREVIEW_ROWS = 10
MASK = "***"


def add_described(context: OutputContext, described: Mapping[str, Any]) -> None:
    """Add metadata to an output. What the function said itself stands: Dagster refuses one key from both."""
    said = context.output_metadata
    context.add_output_metadata({name: value for name, value in described.items() if name not in said})


_CELL = 60


def describe_write(target: Target, result: WriteResult, *, lake: Lake, log: Logger) -> dict[str, Any]:
    """Describe a write as materialization metadata.

    Args:
        target: The table, and which part of it was written.
        result: What happened.
        lake: Where upstream tables lie, for the lineage of columns of the same name.
        log: Where it is said what could not be computed.

    Returns:
        Metadata by its documented name. Counts are ints, so that Dagster plots them.
    """
    found: dict[str, Any] = {
        **_counts(result),
        URI: target.uri,
        TABLE_NAME: ".".join(target.asset.path),
        STORAGE_KIND: "deltalake",
        "delta_version": result.table_version,
        "committed": result.version is not None,
        "files_added": result.files_added,
        "bytes_added": result.bytes_added,
        "seconds": round(result.seconds, 3),
        "schema_changes": "; ".join(result.schema_changes) or "none",
    }
    parts: dict[str, Callable[[], Any]] = {
        PARTITION_ROW_COUNT: lambda: _partition_rows(target, result),
        COLUMN_SCHEMA: lambda: column_schema(_opened(target), target.declaration),
        COLUMN_LINEAGE: lambda: column_lineage(target, lake),
        "rejected_uri": lambda: rejected_table(target, result.rejected),
        "preview": lambda: MetadataValue.md(preview(_rows(target), target.declaration.masked)),
    }
    for name, compute in parts.items():
        try:
            value = compute()
        except Exception as error:  # noqa: BLE001 - the commit has happened, and a description must not undo it
            log.warning("The metadata `%s` of `%s` is left out: %s", name, target.asset.to_user_string(), error)
            continue
        if value is not None:
            found[name] = value
    if COLUMN_LINEAGE in found:
        found[LINEAGE_TABLE] = lineage_table(found[COLUMN_LINEAGE])
    return found


def summary(target: Target, result: WriteResult) -> str:
    """One line for the run's log."""
    what = f"committed version {result.version}" if result.version is not None else "nothing to commit"
    counted = ("inserted", "updated", "unchanged", "closed", "deleted", "duplicates", "rejected")
    counts = ", ".join(f"{getattr(result, name)} {name}" for name in counted if getattr(result, name))
    return (
        f"`{target.asset.to_user_string()}`: {what}; {result.rows_in} rows in ({counts or 'none'}), "
        f"{result.rows_total} in the table at `{target.uri}`, {result.seconds:.2f} s"
    )


def column_schema(table: DeltaTable, declared: Declaration) -> TableSchema:
    """The table's columns with their Delta types, and what the asset declares about them."""
    keys = set(getattr(declared.mode, "keys", ()))
    keys |= {name for name, column in declared.columns.items() if column.key}
    columns = []
    for field in table.schema().fields:
        said = declared.columns.get(field.name)
        notes = ["business key"] if field.name in keys else []
        notes += ["masked"] if field.name in declared.masked else []
        columns.append(
            TableColumn(
                name=field.name,
                type=_type_name(field.type),
                description=(said.description if said else "") or _HISTORY_WORDS.get(_role(declared, field.name)),
                constraints=TableColumnConstraints(nullable=field.nullable, other=notes),
                tags=dict.fromkeys(said.tags, "") if said else None,
            )
        )
    return TableSchema(columns=columns)


def column_lineage(target: Target, lake: Lake) -> TableColumnLineage | None:
    """Where each column comes from, as declared; `*` takes in the upstream columns of the same name."""
    declared = target.declaration.lineage
    if not declared:
        return None
    names = scan(target.uri, storage_options=target.storage_options or None).collect_schema().names()
    found: dict[str, list[tuple[str, str]]] = {column: list(deps) for column, deps in declared.items() if column != "*"}
    for upstream, _ in declared.get("*", ()):
        uri = lake.table_uri(*AssetKey.from_user_string(upstream).path)
        theirs = set(scan(uri, storage_options=lake.storage_options() or None).collect_schema().names())
        for name in names:
            if name in theirs and name not in declared:
                found.setdefault(name, []).append((upstream, name))
    return to_lineage({name: deps for name, deps in found.items() if name in names})


def to_lineage(deps: Mapping[str, list[tuple[str, str]]]) -> TableColumnLineage:
    """Dagster's form of column lineage.

    Args:
        deps: Column -> the (asset key as text, column) pairs that it comes from.
    """
    return TableColumnLineage(
        {
            column: [
                TableColumnDep(asset_key=AssetKey.from_user_string(asset), column_name=name) for asset, name in sources
            ]
            for column, sources in deps.items()
        }
    )


def lineage_table(lineage: TableColumnLineage) -> MetadataValue[str]:
    """Column lineage as a Markdown table."""
    rows = []
    for column, deps in lineage.deps_by_column.items():
        sources = (f"`{dep.asset_key.to_user_string()}`.{_cell(dep.column_name)}" for dep in deps)
        rows.append(f"| {_cell(column)} | {', '.join(sources)} |")
    return MetadataValue.md("\n".join(["| column | comes from |", "| --- | --- |", *rows]))


def preview(frame: pl.DataFrame, masked: frozenset[str]) -> str:
    """The first rows as a Markdown table; masked columns show `***`, long values are cut."""
    shown = frame.head(PREVIEW_ROWS).with_columns(pl.lit(MASK).alias(name) for name in frame.columns if name in masked)
    head = f"| {' | '.join(_cell(name) for name in shown.columns)} |"
    rule = f"|{' --- |' * shown.width}"
    rows = [f"| {' | '.join(_cell(value) for value in row)} |" for row in shown.iter_rows()]
    return "\n".join([head, rule, *rows])


_HISTORY_WORDS = {
    "valid_from": "From when this version holds, inclusive, UTC.",
    "valid_to": "Until when it holds, exclusive, UTC; null while it still holds.",
    "is_current": "Whether this version still holds.",
    "durable_key": "A hash of the business key: one value per key.",
    "surrogate_key": "A hash of the business key and the start: one value per version.",
    None: None,
}


def _role(declared: Declaration, column: str) -> str | None:
    history = declared.history
    roles = ("valid_from", "valid_to", "is_current", "durable_key", "surrogate_key")
    return next((role for role in roles if history and getattr(history, role) == column), None)


def _counts(result: WriteResult) -> dict[str, int]:
    names = ("rows_in", "inserted", "updated", "unchanged", "closed", "deleted", "duplicates", "rejected")
    return {ROW_COUNT: result.rows_total, **{name: getattr(result, name) for name in names}}


def _partition_rows(target: Target, result: WriteResult) -> int | None:
    """Rows of the partition that was written; None where it is no slice of the table."""
    # Of several partitions only the sum is known, and each of their events would show it as its own.
    if len(target.keys) != 1 or not target.declaration.has_slices:
        return None
    if isinstance(target.declaration.mode, Overwrite):
        return result.rows_in - result.duplicates
    frame = scan(target.uri, version=result.table_version, storage_options=target.storage_options or None)
    schema = frame.collect_schema()
    where = partition_slice(target, schema)
    return None if where is None else int(frame.filter(where.matches(schema)).select(pl.len()).collect().item())


def _opened(target: Target) -> DeltaTable:
    return open_table(target.uri, storage_options=target.storage_options or None)


def _rows(target: Target) -> pl.DataFrame:
    frame = scan(target.uri, storage_options=target.storage_options or None)
    schema = frame.collect_schema()
    where = partition_slice(target, schema)
    return (frame if where is None else frame.filter(where.matches(schema))).head(PREVIEW_ROWS).collect()


def _type_name(kind: DataType) -> str:
    """A Delta type as SQL writes it: `long`, `array<string>`, `struct<name: string>`."""
    if isinstance(kind, ArrayType):
        return f"array<{_type_name(kind.element_type)}>"
    if isinstance(kind, MapType):
        return f"map<{_type_name(kind.key_type)}, {_type_name(kind.value_type)}>"
    if isinstance(kind, StructType):
        return f"struct<{', '.join(f'{field.name}: {_type_name(field.type)}' for field in kind.fields)}>"
    return kind.type


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    text = text if len(text) <= _CELL else f"{text[: _CELL - 3]}..."
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("\r", " ")
