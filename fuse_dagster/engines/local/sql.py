"""SQL over frames, on DuckDB in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.core.naming import listing
from fuse_dagster.engines.local.frames import to_polars
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
        tables: Name in the SQL -> frame.

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
        for name, frame in tables.items():
            connection.register(name, frame)
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


def _shown(sql: str, *, limit: int = 500) -> str:
    text = " ".join(sql.split())
    return f"`{text[:limit]}{'...' if len(text) > limit else ''}`"
