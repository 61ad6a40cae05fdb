"""Types of DuckDB: which Arrow holds as they are, and what the others are cast to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.databases.arrow import named
from fuse_dagster.connectors.databases.dialects import DUCKDB
from fuse_dagster.connectors.databases.limits import in_utc, within_limits
from fuse_dagster.connectors.databases.projecting import around
from fuse_dagster.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 65_536

CASTS = {
    "hugeint": "DECIMAL(38,0)",
    "uhugeint": "DECIMAL(38,0)",
    "uuid": "VARCHAR",
    "json": "VARCHAR",
    "interval": "VARCHAR",
    "enum": "VARCHAR",
    "bit": "VARCHAR",
    "bignum": "VARCHAR",
    "time with time zone": "VARCHAR",
    "union": "VARCHAR",
    "timestamp_s": "TIMESTAMP",
    "geometry": "VARCHAR",
    "variant": "VARCHAR",
    "null": "VARCHAR",
}
"""DuckDB's name of a type, in small letters -> the type that it is read as; all others are read as they are."""


def target(kind: Any) -> str:
    """The type that a column is read as, in DuckDB's SQL; of lists, structs and maps each part by itself.

    Args:
        kind: DuckDB's description of the type.
    """
    text = str(kind)
    base = text.partition("(")[0].lower().strip()
    if kind.id in {"list", "array"}:
        children = dict(kind.children)
        size = f"[{children['size']}]" if kind.id == "array" else "[]"
        return f"{target(children['child'])}{size}"
    if kind.id == "struct":
        parts = ", ".join('"' + name.replace('"', '""') + f'" {target(child)}' for name, child in kind.children)
        return f"STRUCT({parts})"
    if kind.id == "map":
        children = dict(kind.children)
        return f"MAP({target(children['key'])}, {target(children['value'])})"
    if kind.id in CASTS:
        return CASTS[kind.id]
    return CASTS.get(base, text.removeprefix('"').removesuffix('"').replace('"', ""))


@contextmanager
def opened(connection: Any, text: str, values: Sequence[Any]) -> Iterator[pa.RecordBatchReader]:
    """Ask, and read the answer in batches that DuckDB makes as they are read.

    Args:
        connection: To a database, in a transaction.
        text: One SELECT with `$1`, ... where values are bound.
        values: Of those.

    Raises:
        InputError: It is another statement, or several; or two columns have one name.
    """
    import duckdb
    import pyarrow as pa

    statements = connection.extract_statements(text)
    if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
        raise InputError("One SELECT is expected: reading changes nothing.")
    asked = connection.sql(text, params=list(values) or None)
    named(asked.columns)
    casts = [None if (to := target(kind)) == str(kind) else f"CAST({{}} AS {to})" for kind in asked.types]
    if any(casts):
        asked = connection.sql(around(DUCKDB, text, asked.columns, casts), params=list(values) or None)
    reader = asked.to_arrow_reader(_ROWS)
    schema = in_utc(reader.schema)
    try:
        yield pa.RecordBatchReader.from_batches(schema, (one.cast(schema) for one in within_limits(reader)))
    finally:
        reader.close()  # closing the connection waits for an answer that is still on its way
