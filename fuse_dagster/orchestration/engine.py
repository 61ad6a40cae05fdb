"""Which engine an IO manager works with: the local one, unless it is given a Spark resource."""

# Dagster and pydantic read these annotations, so they are not postponed.
from typing import Any, Protocol, runtime_checkable

from dagster import ConfigurableResource
from pydantic import Field

from fuse_dagster.connectors.lake import Lake
from fuse_dagster.core.errors import ConfigError


class NoSpark(ConfigurableResource):  # type: ignore[type-arg]  # it provides itself
    """Stands where no Spark resource is given: everything runs in this process, on polars, DuckDB and delta-rs."""

    # Dagster asks a resource without fields for them in a way that pydantic warns of.
    engine: str = Field(default="local", description="Nothing to choose: where there is no Spark, this is the engine.")


class EngineFrame:
    """As an input's type: a Spark DataFrame where the IO manager has Spark, else a polars LazyFrame."""


@runtime_checkable
class CanReach(Protocol):
    """A Spark resource that lets its session reach a lake."""

    def session_for(self, lake: Lake) -> Any:
        """The session, which reaches the lake."""


def session_of(resource: object, lake: Lake) -> Any:
    """The session of a Spark resource, started if it is not; None where there is no Spark.

    Args:
        resource: `SparkResource`, another with a `spark_session`, or `NoSpark`.
        lake: What the session has to reach; a resource that can tell its session so does.

    Raises:
        ConfigError: It is no Spark resource, or Spark does not start.
    """
    if isinstance(resource, NoSpark):
        return None
    if not hasattr(type(resource), "spark_session"):
        msg = f"`spark` is a `{type(resource).__name__}`, which has no Spark session. Give a `SparkResource`."
        raise ConfigError(msg)
    if isinstance(resource, CanReach):
        return resource.session_for(lake)
    return resource.spark_session  # type: ignore[attr-defined]  # asked of its class above


def session_to_read_with(resource: object, lake: Lake) -> Any:
    """The session for an input that is to be a Spark DataFrame: that of the resource, or one that runs already.

    Raises:
        ConfigError: There is neither.
    """
    given = session_of(resource, lake)
    if given is not None:
        return given
    from pyspark.sql import SparkSession

    running = SparkSession.getActiveSession()
    if running is None:
        msg = (
            "An input is annotated with Spark's DataFrame, but the IO manager has no Spark, and no session runs in "
            "this process. Give it one, as in `DeltaIOManager(lake=..., spark=SparkResource())`, or annotate the input "
            "with another frame."
        )
        raise ConfigError(msg)
    return running
