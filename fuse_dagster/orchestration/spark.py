"""Spark as a Dagster resource."""

import threading
from typing import Any, Self

from pydantic import Field, PrivateAttr

from fuse_dagster.connectors.lake import Lake
from fuse_dagster.core.errors import MissingExtraError
from fuse_dagster.engines.spark.environment import detect
from fuse_dagster.engines.spark.lakes import packages
from fuse_dagster.engines.spark.session import spark_session
from fuse_dagster.engines.spark.settings import SparkSettings

try:
    from dagster_pyspark import LazyPySparkResource
except ModuleNotFoundError as error:
    msg = f'`SparkResource` needs the package `{error.name}`. Install it with: pip install "fuse-dagster[spark]"'
    raise MissingExtraError(msg) from error


class SparkResource(LazyPySparkResource):
    """A Spark session that starts on first use: locally, on a platform, or behind Spark Connect.

    It is a `LazyPySparkResource` of dagster-pyspark, so it fits where one is asked for. Loading definitions starts
    nothing, and a run that needs no Spark starts none. The session outlives the run in its process, as the next step
    may want it.

    Settings come in layers: platform default < profile < environment variable `FUSE_SPARK_CONF` < `spark_config`.
    `settings.explain()` shows each value with its layer.

    Examples:
        >>> from fuse_dagster import SparkResource
        >>> spark = SparkResource(spark_config={"spark.sql.shuffle.partitions": "8"})
        >>> spark.settings.resolved()["spark.sql.shuffle.partitions"].layer
        'code'
    """

    spark_config: dict[str, Any] = Field(
        default={}, description="Settings that go before all others, by name; null takes a default away."
    )
    profiles: dict[str, dict[str, Any]] = Field(
        default={}, description="Settings by profile, for what differs between a laptop, tests and production."
    )
    profile: str = Field(
        default="", description="The profile to use; else the one that the environment variable FUSE_PROFILE names."
    )
    remote: str = Field(
        default="",
        description="A Spark Connect server (sc://host:port), or `databricks` for Databricks Connect; by default Spark "
        "runs in this process.",
    )
    _running: Any = PrivateAttr(default=None)
    _starting: Any = PrivateAttr(default_factory=threading.Lock)

    @classmethod
    def of(cls, session: Any) -> Self:
        """A resource around a session that is there already, as of a notebook or Databricks Connect.

        Args:
            session: A session, classic or Connect. Its settings are left as they are.
        """

        # Dagster makes resources anew from their configuration for each run; a class of its own keeps the session.
        class Taken(cls):  # type: ignore[valid-type,misc]
            @property
            def spark_session(self) -> Any:
                return session

            def session_for(self, lake: Lake) -> Any:
                del lake  # the session is left as it is
                return session

        return Taken()

    @classmethod
    def reaching(cls, *lakes: Lake, **fields: Any) -> Self:
        """A resource whose session reaches several lakes at once, each with its own credentials.

        An IO manager tells the session of its own lake by itself. This is for what the code reads and writes beside it,
        and where IO managers of several kinds of stores share a session: its jars are chosen when it starts.

        Args:
            *lakes: Connectors. Their secrets are resolved when the session is first used.
            **fields: Those of the resource.

        Examples:
            >>> from fuse_dagster import S3
            >>> spark = SparkResource.reaching(S3(bucket="raw"), S3(bucket="gold", region="eu-west-3"), profile="big")
            >>> [package.split(":")[1] for package in spark.settings.packages]
            ['hadoop-aws', 's3', 's3-transfer-manager', 'sts']
        """

        # As above: what is no configuration belongs to a class of its own.
        class Reaching(cls):  # type: ignore[valid-type,misc]
            @property
            def lakes(self) -> tuple[Lake, ...]:
                return lakes

        return Reaching(**fields)

    @property
    def lakes(self) -> tuple[Lake, ...]:
        """What the session reaches from its start."""
        return ()

    @property
    def settings(self) -> SparkSettings:
        """The layered settings that the session is started with.

        Raises:
            ConfigError: A name or value that is no Spark setting, or a profile that is not there.
        """
        return SparkSettings(
            conf=self.spark_config,
            profiles=self.profiles,
            profile=self.profile or None,
            packages=packages(self.lakes),
        )

    @property
    def spark_session(self) -> Any:
        """The session, started when it is first asked for.

        Raises:
            MissingExtraError: pyspark, databricks-connect or Java is not installed.
            ConfigError: Spark does not start or connect with these settings.
        """
        with self._starting:
            if self._running is None:
                self._running = spark_session(self.settings, remote=self.remote, lakes=self.lakes)
            return self._running

    def session_for(self, lake: Lake) -> Any:
        """The session, which reaches a lake besides those that it reaches anyway.

        On a platform and behind a server, only the lakes given to `reaching` are handed to the session: they have
        credentials of their own.

        Args:
            lake: The connector.

        Raises:
            MissingExtraError: pyspark, databricks-connect or Java is not installed.
            ConfigError: Spark does not start, or reaches the same place in another way already.
            FuseError: A secret of the lake can't be resolved.
        """
        if self.remote or detect().manages_session:
            return self.spark_session
        with self._starting:
            self._running = spark_session(self.settings, lakes=(*self.lakes, lake))
            return self._running

    @property
    def spark_context(self) -> Any:
        """The context of a classic session; Spark Connect has none."""
        return self.spark_session.sparkContext
