"""Whether a unique index guards a key, asked of each system's own catalog."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuse_dagster.connectors.database import TableColumn
    from fuse_dagster.connectors.databases.links import Link

_POSTGRES = """
SELECT i.indexrelid::text, a.attname::text FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])
WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
  AND i.indexprs IS NULL AND array_position(i.indkey::int2[], a.attnum) < i.indnkeyatts
"""
_MYSQL = """
SELECT index_name, column_name FROM information_schema.statistics
WHERE table_schema = COALESCE(%s, DATABASE()) AND table_name = %s AND non_unique = 0 AND sub_part IS NULL
"""
_SQLITE = """
SELECT l.name, i.name FROM pragma_index_list(?) l JOIN pragma_index_info(l.name) i
WHERE l."unique" = 1 AND l.partial = 0
"""
_DUCKDB = """
SELECT constraint_text, unnest(constraint_column_names) FROM duckdb_constraints()
WHERE database_name = current_database() AND schema_name = $1 AND table_name = $2
  AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')
"""
_TSQL = """
SELECT i.index_id, c.name FROM sys.indexes i
JOIN sys.index_columns k ON k.object_id = i.object_id AND k.index_id = i.index_id AND k.is_included_column = 0
JOIN sys.columns c ON c.object_id = k.object_id AND c.column_id = k.column_id
WHERE i.object_id = OBJECT_ID(?) AND i.is_unique = 1 AND i.has_filter = 0 AND i.is_disabled = 0
"""


def is_guarded(link: Link, table: Sequence[str], columns: Sequence[TableColumn], keys: Sequence[str]) -> bool:
    """Whether a unique index is on exactly these columns.

    Args:
        link: The connection.
        table: The table's name.
        columns: Of the table.
        keys: The columns of the key.
    """
    if link.dialect.name == "snowflake":  # it enforces no key, and locks the table for a MERGE
        return True
    if {column.name for column in columns if column.key} == set(keys):
        return True
    found: dict[object, set[str]] = {}
    for index, column in _asked(link, table):
        found.setdefault(index, set()).add(str(column))
    return set(keys) in found.values()


def _asked(link: Link, table: Sequence[str]) -> list[tuple[object, ...]]:
    schema, name = (table[-2] if len(table) > 1 else None), table[-1]
    match link.dialect.name:
        case "postgres":
            return link.ask(_POSTGRES.replace("$1", link.dialect.mark(1)), [link.path(table)])
        case "mysql":
            return link.ask(_MYSQL, [schema, name])
        case "sqlite":
            return link.ask(_SQLITE, [name])
        case "duckdb":
            return link.ask(_DUCKDB, [schema or "main", name])
        case "tsql":
            return link.ask(_TSQL, [link.path(table)])
        case _:
            return []
