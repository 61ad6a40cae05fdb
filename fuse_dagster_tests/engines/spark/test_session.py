"""A session starts with Delta and in UTC, is taken where it runs, and what is missing is said."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fuse_dagster.core.errors import ConfigError, MissingExtraError
from fuse_dagster.engines.spark.session import spark_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark


def test_a_running_session_is_taken(spark: SparkSession) -> None:
    assert spark_session() is spark
    assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
    assert spark.conf.get("spark.sql.catalog.spark_catalog") == "org.apache.spark.sql.delta.catalog.DeltaCatalog"


def test_another_thread_is_given_the_same_session(spark: SparkSession) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(spark_session).result() is spark
        with pytest.raises(ConfigError, match=r"`spark.driver.memory` can't change"):
            pool.submit(spark_session, {"spark.driver.memory": "7g"}).result()


def test_a_setting_that_can_change_changes_in_a_running_session(spark: SparkSession) -> None:
    spark_session({"spark.sql.shuffle.partitions": 3})
    assert spark.conf.get("spark.sql.shuffle.partitions") == "3"
    spark_session({"spark.sql.shuffle.partitions": 2})


def test_a_setting_that_cannot_change_is_not_silently_ignored(spark: SparkSession) -> None:
    with pytest.raises(ConfigError, match=r"runs already, and `spark.driver.memory` can't change"):
        spark_session({"spark.driver.memory": "7g"})


def test_what_is_no_connect_server_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"`localhost:15002` is no Spark Connect server. Valid: `sc://host:port`"):
        spark_session(remote="localhost:15002")


def test_a_missing_databricks_connect_is_an_install_line() -> None:
    with pytest.raises(MissingExtraError, match="pip install databricks-connect"):
        spark_session(remote="databricks")


def _program(statement: str, tmp_path: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", statement], capture_output=True, text=True, cwd=tmp_path, env=environ, check=False
    )


@pytest.mark.parametrize("home", ["", "/nowhere"])
def test_a_missing_java_is_said_before_spark_starts(tmp_path: Path, home: str) -> None:
    statement = "from fuse_dagster.engines.spark.session import spark_session; spark_session()"
    environ = {"PATH": str(tmp_path)} | ({"JAVA_HOME": home} if home else {})
    done = _program(statement, tmp_path, **environ)
    assert "MissingExtraError: Spark needs Java 17 or newer, and no `java` is found" in done.stderr
    assert (home or "here") in done.stderr.splitlines()[-1]


def test_a_missing_pyspark_is_an_install_line(tmp_path: Path) -> None:
    statement = (
        "import sys; sys.modules['pyspark'] = None\n"
        "from fuse_dagster.engines.spark.session import spark_session; spark_session()"
    )
    done = _program(statement, tmp_path)
    assert 'pip install "fuse-dagster[spark]"' in done.stderr.splitlines()[-1]
