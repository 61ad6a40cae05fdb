"""One SQL, two engines, the same rows."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.engines.local import sql as local
from fuse_dagster.engines.spark.frames import from_spark
from fuse_dagster.engines.spark.sql import query

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

FLIGHTS = pl.DataFrame(
    {
        "carrier": ["UA", "UA", "AA", None],
        "delay": [4, None, -2, 7],
        "day": [dt.date(2013, 1, day) for day in (1, 2, 31, 4)],
        "note": ["it's {x}", "", "a;b", None],
    }
)
CARRIERS = pl.DataFrame({"carrier": ["UA", "AA"], "name": ["United", "American"]})
TABLES = {"silver.flights": FLIGHTS, "carriers": CARRIERS.lazy()}


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM silver.flights",
        "FROM carriers",
        "SELECT carriers.name, f.delay FROM silver.flights AS f JOIN carriers USING (carrier)",
        "SELECT silver.flights.carrier, delay FROM silver.flights WHERE note = 'it''s {x}' OR delay IS NULL",
        "WITH carriers AS (SELECT 'ZZ' AS carrier) SELECT carrier FROM carriers",
        "WITH late AS (SELECT * FROM silver.flights WHERE delay > 0) SELECT count(*) AS n FROM late",
        "SELECT carrier, sum(delay) AS total, avg(delay) AS mean FROM silver.flights GROUP BY ALL ORDER BY carrier",
        "SELECT delay FROM silver.flights ORDER BY delay",
        "SELECT delay // 3 AS whole, delay / 2 AS half FROM silver.flights WHERE delay > 0",
        "SELECT carrier FROM carriers UNION ALL SELECT carrier FROM silver.flights",
        "SELECT date_trunc('month', day)::DATE AS month, count(*) AS n FROM silver.flights GROUP BY 1",
        "SELECT carrier, count(*) FILTER (WHERE delay > 0) AS late FROM silver.flights GROUP BY carrier",
        "SELECT *, row_number() OVER (PARTITION BY carrier ORDER BY day) AS nr FROM silver.flights",
        "SELECT carrier FROM silver.flights QUALIFY row_number() OVER (ORDER BY day DESC) = 1",
        "SELECT (SELECT max(delay) FROM silver.flights) AS top, name FROM carriers",
    ],
)
def test_both_engines_give_the_same_rows(spark: SparkSession, sql: str) -> None:
    ours = local.query(sql, TABLES)
    theirs = from_spark(query(spark, sql, TABLES))
    assert theirs.columns == ours.columns
    _, ordered, rest = sql.lower().rpartition("order by")
    assert_frame_equal(theirs, ours, check_row_order=bool(ordered) and ")" not in rest, check_dtypes=False)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM nowhere", "reads `nowhere`.*Tables it can read: `silver.flights`, `carriers`"),
        ("SELECT * FROM flights", "reads `flights`"),
        ("SELECT nope FROM carriers", "UNRESOLVED_COLUMN.*nope"),
        ("SELECT * FROM read_csv('/etc/passwd')", "calls `read_csv`, which reaches outside"),
        ("SELECT * FROM '/etc/passwd'", "reads"),
        ("SELECT reflect('java.lang.System', 'getenv') AS x", "calls `reflect`, which reaches outside"),
        ("SELECT 1; SELECT 2", "One SELECT is expected"),
        ("DROP TABLE carriers", "One SELECT is expected"),
        ("SELEKT 1", "The SQL failed|One SELECT is expected"),
        ("", "One SELECT is expected"),
    ],
)
def test_what_is_not_one_select_over_the_tables_is_refused(spark: SparkSession, sql: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        query(spark, sql, TABLES)


def test_tables_of_the_session_are_out_of_reach_and_nothing_is_left_behind(spark: SparkSession) -> None:
    spark.range(1).createOrReplaceTempView("private")
    with pytest.raises(ConfigError, match="reads `private`"):
        query(spark, "SELECT * FROM private", TABLES)
    before = {found.name for found in spark.catalog.listTables()}
    assert query(spark, "SELECT * FROM carriers", TABLES).count() == 2
    assert {found.name for found in spark.catalog.listTables()} == before
    spark.catalog.dropTempView("private")


def test_what_fails_on_the_data_says_so(spark: SparkSession) -> None:
    sql = "SELECT CAST(carrier AS INT) AS n FROM carriers"
    with pytest.raises(InputError):
        local.query(sql, TABLES)
    with pytest.raises(InputError, match="can't be computed"):
        from_spark(query(spark, sql, TABLES))


def test_tables_that_differ_in_case_only_are_refused(spark: SparkSession) -> None:
    frame = pl.DataFrame({"a": [1]})
    with pytest.raises(ConfigError, match="differ only in case"):
        query(spark, "SELECT * FROM one", {"one": frame, "One": frame})
