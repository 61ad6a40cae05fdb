"""Assets as tables of a database: each mode, partitions as slices, metadata, and what comes back."""

# Dagster reads these annotations, so they are not postponed.
import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fuse_dagster import Database, DatabaseIOManager, DuckDB, PostgreSQL
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.orchestration.database_tables import table_name
from fuse_dagster_tests.connectors.databases.writing.systems import asked
from fuse_dagster_tests.orchestration.helpers import RANGE_END, RANGE_START, errors, metadata
from fuse_dagster_tests.servers.postgres import PostgresServer

DAYS = dg.DailyPartitionsDefinition("2024-03-30", end_date="2024-04-02", timezone="Europe/Berlin")
KEPT: dict[str, Any] = {}
BATCH: dict[str, Any] = {}


@pytest.fixture
def duck(tmp_path: Path) -> Database:
    return DuckDB(path=str(tmp_path / "a.duckdb"))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as made:
        yield made


def run(
    database: Database, assets: Sequence[Any], instance: dg.DagsterInstance | None = None, **given: Any
) -> dg.ExecuteInProcessResult:
    options = {name: given.pop(name) for name in ("schema_name", "overwrite") if name in given}
    return dg.materialize(
        assets,
        instance=instance,
        resources={"io_manager": DatabaseIOManager(database=database, **options)},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
        **given,
    )


def rows(database: Database, text: str) -> list[Any]:
    with database.session() as connection:
        return asked(connection, text)


@dg.asset(metadata={"write": {"mode": "upsert", "keys": ["id"]}, "columns": {"name": {"mask": True, "key": True}}})
def planes() -> pl.DataFrame:
    """Planes."""
    return BATCH["planes"]


@dg.asset(ins={"planes": dg.AssetIn(metadata={"columns": ["name", "id"]})})
def seen(planes: pl.DataFrame) -> pd.DataFrame:
    """What came back."""
    KEPT["planes"] = planes
    return planes.select("id").to_pandas()


def test_an_asset_is_a_table_and_comes_back(duck: Database) -> None:
    BATCH["planes"] = pl.DataFrame({"id": [1, 2], "name": ["a", None]})
    first = run(duck, [planes, seen])
    assert first.success, list(errors(first))
    BATCH["planes"] = pl.DataFrame({"id": [2, 3], "name": ["b", "c"]})
    second = run(duck, [planes, seen])
    assert KEPT["planes"].columns == ["name", "id"]
    assert KEPT["planes"].sort("id").rows() == [("a", 1), ("b", 2), ("c", 3)]
    assert rows(duck, "SELECT count(*) FROM seen") == [(3,)]

    said = metadata(second, "planes")
    assert [said[name] for name in ("dagster/row_count", "rows_in", "inserted", "updated")] == [3, 2, 1, 1]
    assert said["dagster/table_name"] == "planes"
    assert said["dagster/storage_kind"] == duck.type
    assert "***" in said["preview"]
    assert "| b |" not in said["preview"]
    columns = {column.name: column for column in said["dagster/column_schema"].columns}
    assert columns["id"].type == "BIGINT"
    assert set(columns["id"].constraints.other) == {"business key", "primary key"}


@dg.asset(partitions_def=DAYS, metadata={"partition_by": "at"})
def flights() -> pl.LazyFrame:
    """Flights."""
    return BATCH["flights"].lazy()


@dg.asset(partitions_def=DAYS, metadata={"partition_by": "at"})
def arrivals(flights: pa.Table) -> pl.DataFrame:
    """What came back."""
    KEPT["flights"] = flights
    return pl.DataFrame(flights)


@pytest.fixture(params=["duckdb", "postgres"])
def either(request: pytest.FixtureRequest, duck: Database) -> Database:
    if request.param == "duckdb":
        return duck
    server: PostgresServer = request.getfixturevalue("postgres")
    name = server.database("assets")
    return PostgreSQL(host=server.host, port=server.port, user=server.user, password=server.password, database=name)


def at(day: int, hour: int, month: int = 3) -> dt.datetime:
    return dt.datetime(2024, month, day, hour, tzinfo=dt.UTC)


def test_a_partition_is_a_slice_that_goes_and_comes(either: Database, instance: dg.DagsterInstance) -> None:
    both = {RANGE_START: "2024-03-30", RANGE_END: "2024-03-31"}
    BATCH["flights"] = pl.DataFrame({"id": [1, 2, 3], "at": [at(29, 23), at(30, 23), at(31, 21)]})
    result = run(either, [flights], instance, tags=both)
    assert result.success, list(errors(result))

    # The day on which summer begins has 23 hours, and its rows alone are replaced.
    BATCH["flights"] = pl.DataFrame({"id": [9], "at": [at(30, 23)]})
    result = run(either, [flights, arrivals], instance, partition_key="2024-03-31")
    assert result.success, list(errors(result))
    assert sorted(rows(either, "SELECT id FROM flights")) == [(1,), (9,)]
    assert KEPT["flights"]["id"].to_pylist() == [9]
    assert metadata(result, "flights")["dagster/partition_row_count"] == 1

    BATCH["flights"] = pl.DataFrame({"id": [8, 7], "at": [at(30, 23), at(31, 22)]})
    result = run(either, [flights], instance, partition_key="2024-03-31")
    assert "do not belong to the partition" in "\n".join(errors(result))
    assert sorted(rows(either, "SELECT id FROM flights")) == [(1,), (9,)]

    result = run(either, [flights, arrivals], instance, partition_key="2024-04-01", selection=[arrivals])
    assert "was never written" in "\n".join(errors(result))


@dg.asset(key_prefix="silver", metadata={"write": {"mode": "append", "once": "batch"}}, partitions_def=DAYS)
def events() -> pl.DataFrame:
    """Events."""
    return pl.DataFrame({"id": [1]})


def test_a_partition_is_appended_once(duck: Database, instance: dg.DagsterInstance) -> None:
    for key in ("2024-03-30", "2024-03-31", "2024-03-30"):
        result = run(duck, [events], instance, partition_key=key, schema_name="main")
        assert result.success, list(errors(result))
    assert metadata(result, "silver/events")["repeated"] is True
    assert rows(duck, "SELECT count(*) FROM main.silver__events") == [(2,)]


def test_what_a_database_can_not_do_is_refused(duck: Database) -> None:
    for write, said in (
        ({"mode": "history", "keys": ["id"]}, "is a history"),
        ({"mode": "upsert", "keys": ["id"], "absent": "delete"}, "declares `absent`"),
        ({"mode": "append", "once": ["id"]}, "declares `once`"),
        ({"mode": "overwrite", "predicate": "id = 1"}, "declares `predicate`"),
    ):

        @dg.asset(metadata={"write": write})
        def some() -> pl.DataFrame:
            return pl.DataFrame({"id": [1]})

        assert said in "\n".join(errors(run(duck, [some])))
    assert not Path(duck.place).exists()


def test_an_asset_is_found_under_its_name() -> None:
    assert table_name(["planes"], None) == "planes"
    assert table_name(["silver", "planes"], None) == "silver.planes"
    assert table_name(["a", "b", "c.d"], "dwh") == 'dwh."a__b__c.d"'
    with pytest.raises(ConfigError, match="3 parts"):
        table_name(["a", "b", "c"], None)
