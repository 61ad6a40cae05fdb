"""Names and values in SQL: quoted and bound, whatever is in them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from fuse_dagster.connectors.databases.dialects import (
    BIGQUERY,
    DUCKDB,
    MSSQL,
    MYSQL,
    POSTGRES,
    SNOWFLAKE,
    SQLITE,
    STANDARD,
    Dialect,
    bound,
)
from fuse_dagster.connectors.databases.naming import parts_of, written
from fuse_dagster.connectors.databases.postgresql import literal
from fuse_dagster.core.errors import ConfigError, InputError

ALL = [POSTGRES, MYSQL, MSSQL, SNOWFLAKE, BIGQUERY, DUCKDB, SQLITE, STANDARD]
ODD = [
    'a"; DROP TABLE b; --',
    "a`b",
    "a]b; --",
    "it's",
    "a.b",
    "a b",
    "Ä日本",
    "select",
    "a%sb",
    "a:b",
    "a?b",
    "$1",
    "{0}",
]


@pytest.mark.parametrize("dialect", ALL, ids=lambda one: one.name)
@pytest.mark.parametrize("name", ODD)
def test_a_quoted_name_is_one_name_to_the_parser(dialect: Dialect, name: str) -> None:
    if dialect is BIGQUERY and set(name) & set("`."):
        with pytest.raises(ConfigError):
            dialect.quoted(name)
        return
    text = dialect.select([dialect.quoted(name)], dialect.path(["s", name]), limit=3)
    (parsed,) = sqlglot.parse(text, read=dialect.name)
    assert [column.name for column in parsed.find_all(exp.Column)] == [name]
    assert [table.name for table in parsed.find_all(exp.Table)] == [name]


@pytest.mark.parametrize("dialect", ALL, ids=lambda one: one.name)
def test_a_name_that_no_system_takes_is_refused(dialect: Dialect) -> None:
    for name in ("", "a\0b", "a" * 70_000):
        with pytest.raises(ConfigError, match="can't be a name"):
            dialect.quoted(name)


def test_postgres_counts_bytes_and_mysql_signs() -> None:
    with pytest.raises(ConfigError):
        POSTGRES.quoted("ä" * 32)
    assert POSTGRES.quoted("ä" * 31)
    assert MYSQL.quoted("ä" * 64)


@pytest.mark.parametrize(
    ("dialect", "text", "said", "values"),
    [
        (POSTGRES, "a = :x AND b = :x AND c = :y", "a = $1 AND b = $1 AND c = $2", [1, 2]),
        (SQLITE, "a = :x AND b = :y AND c = :x", "a = ? AND b = ? AND c = ?", [1, 2, 1]),
        (BIGQUERY, "a = :x AND b = :y", "a = @p1 AND b = @p2", [1, 2]),
        (MYSQL, "a LIKE '%:x' AND b = :x AND c = :y # :z", "a LIKE '%%:x' AND b = %s AND c = %s # :z", [1, 2]),
        (MYSQL, r"a = 'it\'s :y' AND b = :x OR :y", r"a = 'it\'s :y' AND b = %s OR %s", [1, 2]),
        (POSTGRES, r"a = E'\':y' AND b = :x OR :y", r"a = E'\':y' AND b = $1 OR $2", [1, 2]),
        (POSTGRES, r"a = '\' OR b = :x OR c=':y' OR :y", r"a = '\' OR b = $1 OR c=':y' OR $2", [1, 2]),
        (POSTGRES, "a::int = :x /* :n\n */ OR :y -- :z", "a::int = $1 /* :n\n */ OR $2 -- :z", [1, 2]),
        (POSTGRES, "a = :x OR $q$ :y $q$ = :y", "a = $1 OR $q$ :y $q$ = $2", [1, 2]),
        (MSSQL, '[:y]]:y] = :x OR ":y" = :y', '[:y]]:y] = ? OR ":y" = ?', [1, 2]),
        (POSTGRES, "a[1:2] = :x AND t = '10:30' OR :y", "a[1:2] = $1 AND t = '10:30' OR $2", [1, 2]),
    ],
)  # fmt: skip
def test_parameters_stand_where_values_do(dialect: Dialect, text: str, said: str, values: list[int]) -> None:
    assert bound(dialect, text, {"x": 1, "y": 2}) == (said, values)


def test_numbers_and_times_may_be_written_and_texts_never() -> None:
    text = "a > :x AND b = ':x' AND c < :y AND d > :x"
    said = "a > CAST('1' AS int8) AND b = ':x' AND c < CAST('2024-06-01T02:00:00+00:00' AS timestamptz) AND d > "
    at = dt.datetime(2024, 6, 1, 4, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert bound(POSTGRES, text, {"x": 1, "y": at}, literal=literal) == (f"{said}CAST('1' AS int8)", [])
    # One text, and everything is bound.
    assert bound(POSTGRES, "a > :x AND b = :y", {"x": 1, "y": "z"}, literal=literal) == ("a > $1 AND b = $2", [1, "z"])
    with pytest.raises(InputError, match="`z` are given"):
        bound(POSTGRES, "a > :x", {"x": 1, "z": 2}, literal=literal)


def test_what_only_looks_like_a_number_is_no_literal() -> None:
    class Number(int):
        def __str__(self) -> str:
            return "1' AS int8); DROP TABLE t; --"

    class Moment(dt.datetime):
        def isoformat(self, *_: object, **__: object) -> str:
            return "'); DROP TABLE t; --"

    first = dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5)))
    strange = [Number(1), Moment(2024, 1, 1), "1", b"1", None, [1], dt.time(1), dt.timedelta(1), 2**63, first]
    assert [literal(one) for one in [*strange, float("nan"), float("inf"), Decimal("sNaN")]] == [None] * 13


def test_parameters_and_text_have_to_agree() -> None:
    with pytest.raises(InputError, match=r"leaves `:since` open.* Did you mean `sinse`"):
        bound(POSTGRES, "a > :since", {"sinse": 1})
    with pytest.raises(InputError, match="`b` are given"):
        bound(POSTGRES, "a > :a", {"a": 1, "b": 2})


@given(parts=st.lists(st.text(min_size=1).filter(lambda one: "\0" not in one), min_size=1, max_size=3))
def test_a_name_reads_back_as_it_was_written(parts: list[str]) -> None:
    assert parts_of(written(parts), most=3) == tuple(parts)


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", 'a"b', '"a', '"a"b', "a.b.c.d", 'a"; DROP TABLE b; --'])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a table"):
        parts_of(name, most=3)
