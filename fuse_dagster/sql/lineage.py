"""Column lineage from SQL: which columns of which tables each column of a query is made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeGuard

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import traverse_scope

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean

ColumnSources = dict[str, list[tuple[str, str]]]


def tables_read(sql: str, *, dialect: str = "duckdb") -> tuple[str, ...]:
    """Name the tables that a query reads, without its own CTEs.

    Args:
        sql: One SELECT.
        dialect: SQL dialect, as sqlglot names it.

    Returns:
        Names as written, with dots, sorted, each once.

    Raises:
        ConfigError: The SQL does not parse, or is not one SELECT.
    """
    found = {
        _name(source)
        for scope in traverse_scope(parse(sql, dialect=dialect))
        for source in scope.sources.values()
        if _is_named(source)
    }
    return tuple(sorted(found))


def column_lineage(sql: str, schemas: Mapping[str, Sequence[str]], *, dialect: str = "duckdb") -> ColumnSources:
    """Say where each column of a query comes from, through aliases, subqueries and CTEs.

    Only what a column's value is computed from counts; what merely filters, joins or groups the rows does not.

    Args:
        sql: One SELECT.
        schemas: Table as named in the SQL -> its columns. They resolve `*` and columns without a table.
        dialect: SQL dialect, as sqlglot names it.

    Returns:
        Column of the result (in lower case, in order) -> the (table, column) pairs that it is made of, sorted; none
        for a constant or a count of rows.

    Raises:
        ConfigError: The SQL does not parse, or names a table or column that is not there.

    Examples:
        >>> column_lineage("SELECT a.x + b.y AS z FROM a JOIN b ON a.k = b.k", {"a": ["x", "k"], "b": ["y", "k"]})
        {'z': [('a', 'x'), ('b', 'y')]}
    """
    query = parse(sql, dialect=dialect)
    for table in tables_read(sql, dialect=dialect):
        if _as_given(table, schemas) not in schemas:
            msg = f"The SQL reads an unknown table `{table}`. {did_you_mean(table, schemas)}"
            raise ConfigError(msg)
    nested = _nested(schemas)
    try:
        qualified = qualify(query, schema=nested, dialect=dialect, validate_qualify_columns=True)
        names = [column.alias_or_name for column in qualified.selects]
        return {
            name: sorted(_leaves(lineage(name, qualified, schema=nested, dialect=dialect), schemas)) for name in names
        }
    except SqlglotError as error:
        msg = f"The SQL's columns can't be traced: {error}. Check its names against the tables that it reads."
        raise ConfigError(msg) from error


def parse(sql: str, *, dialect: str = "duckdb") -> exp.Query:
    """Parse one SELECT.

    Raises:
        ConfigError: The SQL does not parse, or is not one SELECT.
    """
    try:
        statements = sqlglot.parse(sql, dialect=dialect)
    except SqlglotError as error:
        msg = f"The SQL does not parse: {error}."
        raise ConfigError(msg) from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        msg = f"One SELECT is expected. The SQL is: `{' '.join(sql.split())[:200]}`."
        raise ConfigError(msg)
    return statements[0]


def _leaves(node: Node, schemas: Mapping[str, Sequence[str]]) -> set[tuple[str, str]]:
    found = set()
    for each in node.walk():
        if _is_named(each.source) and not each.downstream:
            table = _as_given(_name(each.source), schemas)
            found.add((table, _as_given(exp.to_column(each.name).name, schemas[table])))
    return found


def _as_given(name: str, names: Iterable[str]) -> str:
    """A name as the caller wrote it: DuckDB does not tell upper from lower case."""
    return next((given for given in names if given.lower() == name.lower()), name)


def _is_named(source: object) -> TypeGuard[exp.Table]:
    """Whether this is a table with a name, rather than a subquery or a function such as `range(3)`."""
    return isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier)


def _name(table: exp.Table) -> str:
    return ".".join(part.name for part in table.parts)


def _nested(schemas: Mapping[str, Sequence[str]]) -> dict[str, object]:
    """The form in which sqlglot takes schemas: `silver.flights` becomes `{"silver": {"flights": {...}}}`."""
    depth = max((name.count(".") for name in schemas), default=0)
    root: dict[str, object] = {}
    for name, columns in schemas.items():
        *path, table = ["", *[""] * depth, *name.split(".")][-(depth + 1) :]
        place = root
        for part in path:
            place = place.setdefault(part, {})  # type: ignore[assignment]
        place[table] = dict.fromkeys(columns, "unknown")
    return root
