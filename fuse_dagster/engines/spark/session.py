"""Spark sessions: one is made where there is none, and taken where there is one."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fuse_dagster.core.errors import ConfigError, MissingExtraError, first_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import SparkSession

DELTA = "io.delta:delta-spark_4.1_2.13:4.3.0"
"""Maven coordinate of the Delta jar for pyspark 4.1; Ivy downloads it once, at the first session."""

_STARTING = threading.Lock()


def spark_session(conf: Mapping[str, str] | None = None) -> SparkSession:
    """Take the session of this process, or start a local one that reads and writes Delta tables.

    Args:
        conf: Spark settings that go before the defaults.

    Returns:
        A session in UTC.

    Raises:
        MissingExtraError: pyspark or Java is not installed.
        ConfigError: Spark does not start with these settings.
    """
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ModuleNotFoundError as error:
        msg = 'Spark needs the package `pyspark`. Install it with: pip install "fuse-dagster[spark]"'
        raise MissingExtraError(msg) from error
    with _STARTING:
        if SparkSession.getActiveSession() is None:
            _find_java()
        builder = SparkSession.builder
        for name, value in (_local() | dict(conf or {})).items():
            builder = builder.config(name, value)
        try:
            return builder.getOrCreate()
        except PySparkException as error:
            msg = (
                f"Spark does not start: {first_line(error)}. Spark 4 needs Java 17 or newer, and its settings be right."
            )
            raise ConfigError(msg) from error


def _local() -> dict[str, str]:
    scratch = _scratch()
    return {
        "spark.app.name": "fuse_dagster",
        "spark.master": "local[2]",
        "spark.jars.packages": DELTA,
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.driver.memory": "2g",
        "spark.driver.host": "localhost",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={scratch / 'derby'}",
    }


@cache
def _scratch() -> Path:
    folder = tempfile.mkdtemp(prefix="fuse_spark_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _find_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if (Path(home) / "bin" / "java").exists() if home else shutil.which("java"):
        return
    msg = (
        "Spark needs Java 17 or newer, and no `java` is found. Install one, as by "
        "`apt-get install default-jre-headless`, or set `JAVA_HOME` to where it lies."
    )
    raise MissingExtraError(msg)
