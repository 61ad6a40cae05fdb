"""A Spark session for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuse_dagster.engines.spark.session import spark_session
from fuse_dagster.engines.spark.settings import SparkSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyspark.sql import SparkSession

    from fuse_dagster.engines.spark.lakes import Lake
    from fuse_dagster.engines.spark.settings import Conf


def spark_for_tests(conf: Conf | None = None, *, lakes: Iterable[Lake] = ()) -> SparkSession:
    """The one local session of a test process: Delta, UTC, few partitions, no UI, nothing in the current folder.

    Starting it costs many seconds, so it is started once, and ends with the process. The variables `FUSE_SPARK_CONF`
    and `FUSE_PROFILE` of whoever runs the tests don't reach it.

    Args:
        conf: Settings that go before the defaults.
        lakes: Connectors that the session is to reach; the first call decides which drivers there are.

    Raises:
        MissingExtraError: pyspark or Java is not installed.
        ConfigError: Spark does not start with these settings, or runs already with other ones.
    """
    return spark_session(SparkSettings(conf=conf or {}, environ={"FUSE_SPARK_ENVIRONMENT": "local"}), lakes=lakes)
