"""SQL models through real runs: what they read, what they say of their columns, what is refused."""

from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from fuse_dagster import delta_table, history_table, sql_model
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.tables import Append
from fuse_dagster_tests.orchestration.helpers import Lake, StepFailedError, metadata


@delta_table(key=["silver", "flights"])
def flights() -> pl.DataFrame:
    return pl.DataFrame({"origin": ["JFK", "LGA", "JFK"], "Delay": [10, 20, 30], "dest": ["x", "y", "x"]})


@delta_table()
def places() -> pl.DataFrame:
    return pl.DataFrame({"dest": ["x", "y"], "name": ["Xanten", "Ypern"]})


def lineage(said: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    found = said["dagster/column_lineage"].deps_by_column
    return {
        column: [(dep.asset_key.to_user_string(), dep.column_name) for dep in deps] for column, deps in found.items()
    }


def test_a_model_reads_the_assets_that_its_sql_names(lake: Lake) -> None:
    model = sql_model(
        "busiest",
        """
        -- Flights per place.
        -- With the mean delay.
        WITH named AS (SELECT *, delay AS minutes FROM silver.flights JOIN places USING (dest))
        SELECT name AS "Place", count(*) AS flights, avg(minutes) AS mean FROM named GROUP BY ALL ORDER BY 1
        """,
        group_name="gold",
    )
    assert {key.to_user_string() for key in model.dependency_keys} == {"silver/flights", "places"}
    (spec,) = model.specs
    assert (spec.group_name, spec.kinds) == ("gold", {"deltalake", "duckdb"})
    assert spec.description == "Flights per place. With the mean delay."
    said = metadata(lake.run([flights, places, model]), "busiest")
    assert lake.rows("busiest").rows() == [("Xanten", 2, 20.0), ("Ypern", 1, 20.0)]
    assert lineage(said) == {
        "Place": [("places", "name")],
        "flights": [],
        "mean": [("silver/flights", "Delay")],
    }


def test_inputs_rename_and_narrow_what_is_read(lake: Lake) -> None:
    @history_table(keys=["dest"], partitions_def=dg.StaticPartitionsDefinition(["20240101"]), effective_format="%Y%m%d")
    def place_history() -> pl.DataFrame:
        return pl.DataFrame({"dest": ["x"], "name": ["Xanten"]})

    model = sql_model(
        "joined",
        "SELECT f.origin, p.name FROM f LEFT JOIN p USING (dest) ORDER BY ALL",
        inputs={"f": "silver/flights", "p": dg.AssetIn("place_history", metadata={"as_of": "current"})},
    )
    lake.run([flights])
    lake.run([place_history], partition="20240101")
    said = metadata(lake.run([flights, place_history, model], select=[model]), "joined")
    assert lake.rows("joined").rows() == [("JFK", "Xanten"), ("JFK", "Xanten"), ("LGA", None)]
    assert lineage(said) == {"origin": [("silver/flights", "origin")], "name": [("place_history", "name")]}


def test_a_model_may_lie_in_a_file(tmp_path: Path, lake: Lake) -> None:
    file = tmp_path / "delays.sql"
    file.write_text("-- All delays.\nSELECT sum(delay) AS total FROM silver.flights", encoding="utf-8")
    model = sql_model(sql=file, key=["gold", "delays"])
    lake.run([flights, model])
    assert lake.rows("gold", "delays").schema == {"total": pl.Int64}
    assert next(iter(model.specs)).description == "All delays."


def test_a_model_has_partitions_and_a_mode_like_any_table(lake: Lake) -> None:
    definition = dg.StaticPartitionsDefinition(["JFK", "LGA"])

    @delta_table(partitions_def=definition, partition_by="origin")
    def by_origin(context) -> pl.DataFrame:  # type: ignore[no-untyped-def]
        return pl.DataFrame({"origin": [context.partition_key], "n": [1]})

    model = sql_model(
        "doubled", "SELECT origin, n * 2 AS n FROM by_origin", partitions_def=definition, partition_by="origin"
    )
    log = sql_model("log", "SELECT * FROM places", mode=Append())
    for key in definition.get_partition_keys():
        lake.run([by_origin, model], partition=key)
    for _ in range(2):
        lake.run([places, log])
    assert lake.rows("doubled").rows() == [("JFK", 2), ("LGA", 2)]
    assert lake.rows("log").height == 4


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"sql": "SELECT 1; SELECT 2"}, "One SELECT is expected"),
        ({"sql": "SELEC"}, "One SELECT is expected"),
        ({"sql": "SELECT (1"}, "does not parse"),
        ({"sql": "DROP TABLE x"}, "One SELECT is expected"),
        ({"sql": "SELECT * FROM a", "inputs": {"b": "c"}}, "`inputs` names `b`, but the SQL reads `a`"),
        ({"sql": "SELECT 1", "ownrs": []}, "`ownrs` is no option"),
    ],
)
def test_a_model_that_cannot_work_fails_when_it_is_made(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s)sql_model `m`.*{why}"):
        sql_model("m", **options)


def test_a_model_reads_no_file(lake: Lake) -> None:
    model = sql_model("leak", "SELECT * FROM read_csv('/etc/hosts')")
    with pytest.raises(StepFailedError, match="Cannot access file"):
        lake.run([model])


def test_a_model_that_fails_shows_its_sql(lake: Lake) -> None:
    model = sql_model("wrong", "SELECT nam FROM places")
    with pytest.raises(StepFailedError, match=r"(?s)nam.*The SQL is: `SELECT nam FROM places`"):
        lake.run([places, model])
