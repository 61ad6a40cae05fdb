"""Where Spark runs, told from the marks that each platform leaves in public, and what it takes for granted there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.engines.spark.lakes import GUARDED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

OVERRIDE = "FUSE_SPARK_ENVIRONMENT"
"""Environment variable that names the environment where its marks are not there, as on EMR Serverless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SparkEnvironment:
    """One place where Spark runs.

    Attributes:
        name: What users and messages call it.
        manages_session: Whether the platform decides master, jars, extensions and memory; then a session only gets
            what changes no meaning.
        variable: An environment variable that it sets, not empty.
        file: A file that it leaves on the driver.
        unless: (variable, value) that says that there is no Spark in spite of the marks.
    """

    name: str
    manages_session: bool = True
    variable: str = ""
    file: str = ""
    unless: tuple[str, str] | None = None


LOCAL = SparkEnvironment(name="local", manages_session=False)

ENVIRONMENTS: Mapping[str, SparkEnvironment] = {
    one.name: one
    for one in (
        SparkEnvironment(name="databricks", variable="DATABRICKS_RUNTIME_VERSION"),
        # Fabric's notebooks without Spark have the same file, and say so.
        SparkEnvironment(
            name="fabric",
            file="/home/trusted-service-user/.trident-context",
            unless=("MSNOTEBOOKUTILS_RUNTIME_TYPE", "jupyter"),
        ),
        SparkEnvironment(name="emr", file="/mnt/var/lib/info/job-flow.json"),
        SparkEnvironment(name="dataproc", variable="DATAPROC_IMAGE_VERSION"),
        LOCAL,
    )
}


def detect(environ: Mapping[str, str] = os.environ, exists: Callable[[str], bool] = os.path.exists) -> SparkEnvironment:
    """Say where this process runs.

    Args:
        environ: Environment variables.
        exists: Says whether a path exists.

    Returns:
        The one that `FUSE_SPARK_ENVIRONMENT` names, else the first whose mark is there, else `local`.

    Raises:
        ConfigError: `FUSE_SPARK_ENVIRONMENT` names no environment.

    Examples:
        >>> detect({"DATABRICKS_RUNTIME_VERSION": "17.3"}, lambda path: False).name
        'databricks'
    """
    named = environ.get(OVERRIDE)
    if named:
        if named not in ENVIRONMENTS:
            msg = f"`{OVERRIDE}` names `{named}`, which is no environment. {did_you_mean(named, ENVIRONMENTS)}"
            raise ConfigError(msg)
        return ENVIRONMENTS[named]
    for one in ENVIRONMENTS.values():
        marked = bool(one.variable and environ.get(one.variable)) or bool(one.file and exists(one.file))
        if marked and not (one.unless and environ.get(one.unless[0], "").lower() == one.unless[1]):
            return one
    return LOCAL


def platform_defaults(environment: SparkEnvironment, *, scratch: Path, packages: Sequence[str] = ()) -> dict[str, str]:
    """The lowest layer of settings: what makes Spark mean the same everywhere, and locally what makes it start.

    Args:
        environment: Where the session will be.
        scratch: A folder for what Spark would otherwise leave in the current one.
        packages: Maven coordinates of drivers, beside Delta; a platform brings its own.
    """
    if environment.manages_session:
        return dict(_EVERYWHERE)
    java = (
        f"-Dderby.system.home={scratch / 'derby'}",
        f"-Dlog4j2.configurationFile={(scratch / 'log4j2.properties').as_uri()}",
    )
    return (
        _EVERYWHERE
        | _LOCALLY
        | {
            "spark.jars.packages": ",".join((DELTA, *packages)),
            "spark.sql.warehouse.dir": str(scratch / "warehouse"),
            "spark.driver.extraJavaOptions": " ".join(java),
        }
    )


DELTA = "io.delta:delta-spark_4.1_2.13:4.3.0"
"""Maven coordinate of the Delta jar for pyspark 4.1; Ivy downloads it once, at the first session."""

# What the Delta jar asks for and Spark brings along, in its own versions: not downloaded a second time.
_SHIPPED_WITH_SPARK = (
    "com.fasterxml.jackson.core", "com.fasterxml.jackson.datatype", "com.github.luben", "com.google.code.findbugs",
    "commons-codec", "commons-logging", "commons-pool", "io.airlift", "io.netty", "javax.annotation",
    "org.apache.hadoop.thirdparty", "org.apache.httpcomponents", "org.apache.logging.log4j", "org.apache.parquet",
    "org.locationtech.jts", "org.roaringbitmap", "org.slf4j", "org.xerial.snappy",
)  # fmt: skip

_LEFT_OUT = (
    "org.apache.hadoop:hadoop-client-api", "org.apache.hadoop:hadoop-client-runtime", "org.apache.hadoop:hadoop-common",
    "software.amazon.awssdk:bundle",  # 600 MB, of which S3A needs 9, which the connector names
)  # fmt: skip

LOG_STORE = Path(__file__).with_name("logstore") / "fuse-dagster-logstore.jar"
"""The jar with our one class for Spark's driver; its source lies beside it."""

# What changes values; everything else may differ between platforms. By default Spark writes timestamps as INT96, of
# which other readers make nanoseconds: a `9999-12-31` that ends a version would come back as 2262.
_EVERYWHERE = {
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.session.timeZone": "UTC",
}

# For tables of a few million rows on one machine. Two partitions rather than 200 (shuffles) and 50 (reading the log)
# save seconds on each small query; batches of 10,000 rows would make a task of each.
_LOCALLY = {
    "spark.app.name": "fuse_dagster",
    "spark.master": "local[2]",
    "spark.driver.memory": "2g",
    "spark.driver.host": "localhost",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.jars": str(LOG_STORE),
    "spark.jars.excludes": ",".join((*(f"{group}:*" for group in _SHIPPED_WITH_SPARK), *_LEFT_OUT)),
    "spark.delta.logStore.s3.impl": GUARDED,
    "spark.delta.logStore.s3a.impl": GUARDED,
    # Spark's own, and what it does not know of: keys and signatures of Azure's accounts.
    "spark.redaction.regex": "(?i)secret|password|token|access[.]?key|account[.]key|credential|[.]sas[.]",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "200000",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
}
