"""SQL over frames, on DuckDB in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.core.naming import listing
from fuse_dagster.engines.local.frames import quoted, to_polars
from fuse_dagster.engines.local.session import connect

if TYPE_CHECKING:
    from collections.abc import Mapping

    import polars as pl


def query(sql: str, tables: Mapping[str, pl.DataFrame | pl.LazyFrame]) -> pl.DataFrame:
    """Run one SELECT over named frames.

    Only `tables` can be read: no file, address or Python variable, so that what a query depends on is what it
    declares. DuckDB pushes filters and columns into a LazyFrame.

    Args:
        sql: One DuckDB statement that returns rows.
        tables: Name in the SQL -> frame; a name such as `silver.flights` has a schema.

    Returns:
        The rows, with HUGEINT (sums over integers) as 64-bit integers.

    Raises:
        ConfigError: The SQL is not one SELECT, names an unknown table or column, or reaches outside.
        InputError: It fails on the data, as by an overflow or a cast.

    Examples:
        >>> import polars as pl
        >>> query("SELECT sum(a) AS total FROM numbers", {"numbers": pl.DataFrame({"a": [1, 2]})}).item()
        3
    """
    with connect() as connection:
        for number, (name, frame) in enumerate(tables.items()):
            _register(connection, f"_input_{number}", name, frame)
        try:
            statements = connection.extract_statements(sql)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                msg = f"One SELECT is expected. The SQL is: {_shown(sql)}"
                raise ConfigError(msg)
            relation = connection.sql(sql)
        except duckdb.Error as error:
            msg = f"The SQL failed: {error}. Tables it can read: {listing(tables)}. The SQL is: {_shown(sql)}"
            raise ConfigError(msg) from error
        try:
            return to_polars(relation)
        except InputError as error:
            msg = f"The SQL failed on its data: {error} The SQL is: {_shown(sql)}"
            raise InputError(msg) from error


def _register(
    connection: duckdb.DuckDBPyConnection, unique: str, name: str, frame: pl.DataFrame | pl.LazyFrame
) -> None:
    schema, _, table = name.rpartition(".")
    if not schema:
        connection.register(table, frame)
        return
    connection.register(unique, frame)
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
    connection.execute(f"CREATE VIEW {quoted(schema)}.{quoted(table)} AS FROM {quoted(unique)}")


def _shown(sql: str, *, limit: int = 500) -> str:
    text = " ".join(sql.split())
    return f"`{text[:limit]}{'...' if len(text) > limit else ''}`"
