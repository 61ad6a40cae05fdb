"""The Spark resource starts on first use, and takes what runs already."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest
from dagster_pyspark import LazyPySparkResource
from pyspark.sql import DataFrame

from fuse_dagster import DeltaIOManager, Local, SparkResource, delta_table
from fuse_dagster.core.errors import ConfigError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def run(program: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_definitions_with_spark_load_without_a_jvm(tmp_path: Path) -> None:
    # No `java` can be found: whatever tried to start one would fail.
    out = run(
        """
        import json, sys, dagster as dg
        import fuse_dagster
        before = "pyspark" in sys.modules
        from fuse_dagster import SparkResource

        @dg.asset
        def a(spark: SparkResource) -> None: ...

        @dg.asset
        def b() -> None: ...

        defs = dg.Definitions([a, b], resources={"spark": SparkResource(spark_config={"spark.executor.memory": "8g"})})
        defs.get_repository_def().load_all_definitions()
        job = defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(asset_selection=[dg.AssetKey("b")])
        print(json.dumps([before, result.success]))
        """,
        PATH=str(tmp_path),
        JAVA_HOME="",
    )
    assert json.loads(out) == [False, True]


def test_it_is_a_resource_of_dagster_pyspark_and_its_settings_are_layered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSE_SPARK_CONF", "spark.sql.shuffle.partitions=5 spark.x=1")
    resource = SparkResource(spark_config={"spark.x": 2}, profiles={"p": {"spark.y": 3}}, profile="p")
    assert isinstance(resource, LazyPySparkResource)
    layers = {name: setting.layer for name, setting in resource.settings.resolved().items()}
    assert [layers[name] for name in ("spark.x", "spark.y", "spark.sql.shuffle.partitions", "spark.master")] == [
        "code",
        "profile",
        "environment",
        "platform",
    ]


def test_a_wrong_setting_is_named_when_it_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"`executor.memory` in the settings in code is no Spark setting"):
        _ = SparkResource(spark_config={"executor.memory": "1g"}).spark_session


@pytest.mark.spark
def test_an_asset_computes_with_spark_and_the_next_reads_a_spark_frame(spark: SparkSession, tmp_path: Path) -> None:
    @delta_table()
    def numbers(spark: SparkResource) -> pl.DataFrame:
        return pl.DataFrame(spark.spark_session.range(4).toArrow())

    @delta_table()
    def doubled(numbers: DataFrame) -> DataFrame:
        return numbers.selectExpr("id * 2 AS id")

    lake = tmp_path / "lake"
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [numbers, doubled],
            instance=instance,
            resources={"spark": SparkResource(), "io_manager": DeltaIOManager(lake=Local(root=str(lake)))},
        )
    assert result.success
    assert sorted(pl.read_delta(str(lake / "doubled"))["id"]) == [0, 2, 4, 6]


@pytest.mark.spark
def test_a_ready_session_is_taken_as_it_is(spark: SparkSession) -> None:
    taken: list[Any] = []
    mine = spark.newSession()
    mine.conf.set("spark.sql.shuffle.partitions", "11")

    @dg.asset
    def uses(spark: SparkResource) -> None:
        taken.append(spark.spark_session)

    assert dg.materialize([uses], resources={"spark": SparkResource.of(mine)}).success
    assert taken == [mine]
    assert mine.conf.get("spark.sql.shuffle.partitions") == "11"
