from __future__ import annotations

import pytest

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.sql.lineage import ColumnSources, column_lineage, tables_read

SCHEMAS = {"t": ["x", "k", "z"], "s.u": ["k", "q", "Mixed Case"]}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT x FROM t", {"x": [("t", "x")]}),
        ("SELECT x AS y, 1 AS one FROM t", {"y": [("t", "x")], "one": []}),
        ("SELECT a.x + b.q AS sum FROM t a JOIN s.u b ON a.k = b.k", {"sum": [("s.u", "q"), ("t", "x")]}),
        ("SELECT q FROM t JOIN s.u USING (k)", {"q": [("s.u", "q")]}),
        ("WITH c AS (SELECT x AS y FROM t), d AS (SELECT y FROM c) SELECT y FROM d", {"y": [("t", "x")]}),
        ("SELECT y FROM (SELECT x + z AS y FROM t)", {"y": [("t", "x"), ("t", "z")]}),
        ("SELECT * FROM t", {"x": [("t", "x")], "k": [("t", "k")], "z": [("t", "z")]}),
        ("SELECT * EXCLUDE (k) FROM t", {"x": [("t", "x")], "z": [("t", "z")]}),
        ("SELECT count(*) AS n, max(x) AS m FROM t GROUP BY k", {"n": [], "m": [("t", "x")]}),
        ("SELECT sum(x) OVER (PARTITION BY k) AS w FROM t", {"w": [("t", "k"), ("t", "x")]}),
        ("SELECT x FROM t UNION ALL SELECT q FROM s.u", {"x": [("s.u", "q"), ("t", "x")]}),
        ("SELECT CASE WHEN x > 1 THEN z END AS c FROM t", {"c": [("t", "x"), ("t", "z")]}),
        ('SELECT "Mixed Case" AS m FROM s.u', {"m": [("s.u", "Mixed Case")]}),
        ("SELECT X, T.Z FROM T", {"x": [("t", "x")], "z": [("t", "z")]}),
        ("SELECT x FROM t WHERE k IN (SELECT k FROM s.u)", {"x": [("t", "x")]}),
        ("SELECT (SELECT max(q) FROM s.u) AS m FROM t", {"m": [("s.u", "q")]}),
        ("WITH t AS (SELECT q AS x FROM s.u) SELECT x FROM t", {"x": [("s.u", "q")]}),
    ],
)
def test_each_column_is_followed_to_its_tables(sql: str, expected: ColumnSources) -> None:
    assert column_lineage(sql, SCHEMAS) == expected


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT zz FROM t", "can't be traced.*zz"),
        ("SELECT * FROM tt", "unknown table `tt`. Did you mean `t`|unknown table `tt`"),
        ("SELECT 1; SELECT 2", "One SELECT"),
        ("SELECT (", "does not parse"),
        ("UPDATE t SET x = 1", "One SELECT"),
    ],
)
def test_what_cannot_be_followed_is_an_error(sql: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){why}"):
        column_lineage(sql, SCHEMAS)


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT 1", ()),
        ("WITH c AS (SELECT * FROM t) SELECT * FROM c JOIN s.u USING (k)", ("s.u", "t")),
        ("SELECT * FROM t WHERE k IN (SELECT k FROM v)", ("t", "v")),
        ("SELECT * FROM a UNION SELECT * FROM b", ("a", "b")),
        ("SELECT * FROM range(3)", ()),
    ],
)
def test_the_tables_that_are_read_are_those_from_outside(sql: str, tables: tuple[str, ...]) -> None:
    assert tables_read(sql) == tables
