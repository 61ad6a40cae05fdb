from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.engines.local.sql import query

NUMBERS = pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})


def test_a_query_reads_the_tables_it_is_given() -> None:
    joined = query(
        "SELECT n.b, m.c FROM n JOIN m ON n.a = m.a",
        {"n": NUMBERS, "m": pl.LazyFrame({"a": [2], "c": [True]})},
    )
    assert joined.rows() == [("y", True)]


def test_filters_and_columns_reach_a_lazy_frame() -> None:
    seen: list[tuple[list[str], int]] = []

    def look(frame: pl.DataFrame) -> pl.DataFrame:
        seen.append((frame.columns, frame.height))
        return frame

    lazy = NUMBERS.lazy().map_batches(look, predicate_pushdown=True, projection_pushdown=True)
    assert query("SELECT sum(a) AS s FROM n WHERE a > 1", {"n": lazy}).item() == 5
    assert seen == [(["a"], 2)]


def test_times_are_utc() -> None:
    got = query("SELECT TIMESTAMPTZ '2024-01-01 00:00:00+00' AS t", {})
    assert got.schema == {"t": pl.Datetime("us", "UTC")}
    assert got.item() == datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("SELECT * FROM nope", "nope does not exist.*Tables it can read: `n`"),
        ("SELECT zz FROM n", '"zz" not found'),
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM NUMBERS", "does not exist"),
        ("SELECT * FROM read_csv('/etc/hosts')", "Cannot access file"),
        ("CREATE TABLE t AS SELECT 1", "One SELECT is expected"),
        ("SELECT 1; SELECT 2", "One SELECT is expected"),
    ],
)
def test_what_fails_is_an_error_that_shows_the_query(sql: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s){why}.*The SQL is: `{sql[:5]}"):
        query(sql, {"n": NUMBERS})


def test_a_value_that_does_not_cast_is_a_fault_of_the_data() -> None:
    with pytest.raises(InputError, match=r"(?s)Could not convert string 'x'.*The SQL is: `SELECT"):
        query("SELECT b::INT AS i FROM n", {"n": NUMBERS})


def test_a_name_with_a_dot_has_a_schema() -> None:
    lazy = pl.LazyFrame({"a": [2, 3]})
    assert query("SELECT s.n.a FROM s.n JOIN s.m USING (a)", {"s.n": NUMBERS, "s.m": lazy})["a"].to_list() == [2, 3]
