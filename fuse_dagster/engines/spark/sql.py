"""SQL over frames on Spark, in the dialect of the local engine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fuse_dagster.core.errors import ConfigError, first_line
from fuse_dagster.core.naming import listing
from fuse_dagster.engines.spark.frames import to_spark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import DataFrame, SparkSession
    from sqlglot import exp

_REACHING_OUT = {"reflect", "java_method", "try_reflect"}
_MARK = "__fuse_input_"


def query(session: SparkSession, sql: str, tables: Mapping[str, object]) -> DataFrame:
    """Run one SELECT over named frames, on Spark.

    Only `tables` can be read: no file, address or table of the session's catalog, so that what a query depends on
    is what it declares. Nothing stays behind in the session.

    Args:
        session: The session that runs it.
        sql: One SELECT in DuckDB's dialect, which is translated.
        tables: Name in the SQL -> any frame that `to_spark` takes; a name such as `silver.flights` has a schema.

    Returns:
        The rows, not computed yet. What fails on the data fails when they are read.

    Raises:
        ConfigError: The SQL is not one SELECT, can't be translated, names an unknown table or column, or reaches
            outside.
        InputError: A table is no frame, or one that Spark can't hold.
    """
    tree = _parsed(sql)
    frames = {name: to_spark(session, frame) for name, frame in tables.items()}
    if len({name.lower() for name in frames}) < len(frames):
        msg = f"Tables that differ only in case are one to Spark: {listing(frames)}. Rename one."
        raise ConfigError(msg)
    used = _bind(tree, {name.lower(): name for name in frames}, sql)
    text = _translated(tree, sql)
    # pyspark formats the text; what stands in braces are the frames, so braces of the SQL itself are doubled.
    text = text.replace("{", "{{").replace("}", "}}")
    text = re.sub(f"{_MARK}([0-9]+)", r"{" + _MARK + r"\1}", text)
    from pyspark.errors import PySparkException

    names = list(frames)
    try:
        inputs: dict[str, Any] = {f"{_MARK}{names.index(name)}": frames[name] for name in used}
        found = session.sql(text, **inputs)
        found.schema  # noqa: B018 - over Spark Connect, this is what resolves the names
    except PySparkException as error:
        reason = first_line(error).rstrip(".")
        msg = f"The SQL failed: {reason}. Tables it can read: {listing(tables)}. The SQL is: {_shown(sql)}"
        raise ConfigError(msg) from error
    return found


def _parsed(sql: str) -> exp.Query:
    import sqlglot
    from sqlglot import exp

    try:
        trees = [tree for tree in sqlglot.parse(sql, read="duckdb") if tree is not None]
    except sqlglot.errors.SqlglotError as error:
        msg = f"The SQL failed: {first_line(error)}. The SQL is: {_shown(sql)}"
        raise ConfigError(msg) from error
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        msg = f"One SELECT is expected. The SQL is: {_shown(sql)}"
        raise ConfigError(msg)
    return trees[0]


def _bind(tree: exp.Query, known: Mapping[str, str], sql: str) -> set[str]:
    """Put a mark in the place of every table, and say which were used; refuse what is none of them."""
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    numbers = {name: number for number, name in enumerate(known.values())}
    used = set()
    for scope in traverse_scope(tree):
        for source in scope.sources.values():
            if not isinstance(source, exp.Table) or isinstance(source.this, exp.Func):
                continue
            name = known.get(".".join(part.name for part in source.parts).lower())
            if name is None:
                msg = (
                    f"The SQL reads `{source.sql('duckdb')}`, which is not among its tables. "
                    f"Tables it can read: {listing(known.values())}. The SQL is: {_shown(sql)}"
                )
                raise ConfigError(msg)
            used.add(name)
            if not source.alias:
                source.set("alias", exp.TableAlias(this=exp.to_identifier(source.name, quoted=True)))
            source.set("this", exp.to_identifier(f"{_MARK}{numbers[name]}"))
            source.set("db", None)
            source.set("catalog", None)
    for column in tree.find_all(exp.Column):
        column.set("db", None)
        column.set("catalog", None)
    for call in tree.find_all(exp.Func):
        name = (call.name if isinstance(call, exp.Anonymous) else call.sql_name()).lower()
        if name in _REACHING_OUT or name.startswith("read_"):
            msg = f"The SQL calls `{name}`, which reaches outside of its tables. The SQL is: {_shown(sql)}"
            raise ConfigError(msg)
    return used


def _translated(tree: exp.Query, sql: str) -> str:
    from sqlglot import ErrorLevel
    from sqlglot.errors import UnsupportedError

    try:
        return tree.sql("spark", unsupported_level=ErrorLevel.RAISE)
    except UnsupportedError as error:
        msg = f"Spark has nothing for a part of the SQL: {first_line(error)}. The SQL is: {_shown(sql)}"
        raise ConfigError(msg) from error


def _shown(sql: str, *, limit: int = 500) -> str:
    text = " ".join(sql.split())
    return f"`{text[:limit]}{'...' if len(text) > limit else ''}`"
