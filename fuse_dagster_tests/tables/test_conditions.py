"""Conditions in SQL: any column may be named, text is left as it was written, and null is no."""

from __future__ import annotations

import itertools

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_dagster.tables.conditions import Condition, OldAndNew


@pytest.mark.parametrize("name", ["date", "end", "group", "order", "value", "Mixed", "sp ace", 'quo"te', "ünï", "a.b"])
def test_any_column_may_be_named(name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    found = Condition("predicate", f"{quoted} = 1", "a = 1").met(pl.DataFrame({name: [1, 2, None]}))
    assert found.to_list() == [True, False, False]
    pair = OldAndNew("update_when", f"new.{quoted} > OLD.{quoted}")
    assert pair.columns == (("new", name), ("old", name))
    assert pair.met(pl.DataFrame({name: [2, 2, None]}), pl.DataFrame({name: [1, 3, 1]})).to_list() == [
        True,
        False,
        False,
    ]


def test_comments_and_texts_are_no_columns() -> None:
    condition = OldAndNew(
        "update_when", "new.a > old.a -- old.b\n AND /* new.c */ new.d IS DISTINCT FROM old.d AND new.d <> 'new.e'"
    )
    assert list(condition.problems()) == []
    assert condition.columns == (("new", "a"), ("old", "a"), ("new", "d"), ("old", "d"))
    new, old = pl.DataFrame({"a": [2, 2], "d": ["x", "new.e"]}), pl.DataFrame({"a": [1, 1], "d": [None, "y"]})
    assert condition.met(new, old).to_list() == [True, False]


@pytest.mark.parametrize(
    ("sql", "demanded"),
    [
        ("a = 1", [("a", [1])]),
        ("'x' = b AND (a IN (1, 2))", [("b", ["x"]), ("a", [1, 2])]),
        ("a = 1 OR b = 'x'", []),
        ("NOT a = 1", []),
        ("a NOT IN (1, 2)", []),
        ("a = 1.5 AND a > 0 AND a = b", []),
        ("\"A b\" = 'it''s'", [("A b", ["it's"])]),
    ],
)
def test_only_what_every_row_must_hold_is_demanded(sql: str, demanded: list[tuple[str, list[int | str]]]) -> None:
    assert list(Condition("predicate", sql, "a = 1").demands()) == demanded


TRUTHS = [(a, b, c) for a in (True, False, None) for b in (True, False, None) for c in (True, False, None)]

NUMBERS = [None, 0, 1, 2]
MIXED = pl.DataFrame(
    [
        (a, b, x, y, s)
        for a, b, x, y, s in itertools.product([None, True, False], [None, True, False], NUMBERS, NUMBERS, [None, "a"])
    ],
    schema={"a": pl.Boolean, "b": pl.Boolean, "x": pl.Int64, "y": pl.Int64, "s": pl.String},
    orient="row",
)


@pytest.mark.parametrize(
    "sql",
    [
        "a IS DISTINCT FROM b AND c",
        "a IS NOT DISTINCT FROM b OR NOT c",
        "c OR a IS DISTINCT FROM b",
        "(a IS DISTINCT FROM b) IS NOT DISTINCT FROM c AND b",
        "a IS NOT TRUE AND b",
        "NOT (a IS FALSE) AND b IS TRUE",
        "(a AND b) IS NOT FALSE",
        "a AND b OR NOT c",
        "NOT a = b AND c",
        "a IS NULL AND b IS NOT NULL",
        "coalesce(a, b) AND a IN (true, false)",
    ],
)
def test_conditions_mean_what_the_standard_says(sql: str) -> None:
    rows = pl.DataFrame(TRUTHS, schema=dict.fromkeys("abc", pl.Boolean), orient="row")
    said = duckdb.sql(f"SELECT coalesce({sql}, false) AS met FROM rows").fetchall()
    assert Condition("predicate", sql, "a = 1").met(rows).to_list() == [met for (met,) in said]


ATOMS = st.sampled_from(
    [
        *("a", "b", "a = b", "a IS TRUE", "a IS NOT TRUE", "b IS NOT FALSE", "a IS DISTINCT FROM b", "a IS NULL"),
        *("x > y", "x + 1 * 2 >= y", "x <> y", "x BETWEEN 0 AND y", "x NOT IN (0, 2)", "y IS NOT NULL", "-x < y % 2"),
        *("s LIKE 'a%'", "s || 'b' = 'ab'", "s NOT LIKE '%b'", "s IN ('a', 'it''s')", "x IS NOT DISTINCT FROM y"),
    ]
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda part: st.one_of(
        st.builds("{} AND {}".format, part, part),
        st.builds("{} OR {}".format, part, part),
        st.builds("NOT {}".format, part),
        st.builds("({})".format, part),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(CONDITIONS)
def test_another_engine_finds_the_same_rows(sql: str) -> None:
    with duckdb.connect() as connection:
        connection.register("rows_", MIXED)
        said = connection.sql(f"SELECT coalesce({sql}, false) FROM rows_").fetchall()
    assert Condition("predicate", sql, "a = 1").met(MIXED).to_list() == [met for (met,) in said], sql
