"""What an hour of weather is, which hours can't have been, and what weather does to flights."""

from __future__ import annotations

import polars as pl

from fuse_dagster.definitions.demo.parsing import typed
from fuse_dagster.quality.rules import Rule

MISSING = ("", "NA")

STRONGEST_MPH = 253
"""The strongest gust ever recorded outside a tornado: Barrow Island, 10 April 1996 (WMO)."""

TYPES: dict[str, type[pl.DataType] | pl.DataType] = {
    "origin": pl.String,
    "time_hour": pl.Datetime("us", "UTC"),
    "temp": pl.Float64,
    "dewp": pl.Float64,
    "humid": pl.Float64,
    "wind_dir": pl.Int32,
    "wind_speed": pl.Float64,
    "wind_gust": pl.Float64,
    "precip": pl.Float64,
    "pressure": pl.Float64,
    "visib": pl.Float64,
}


def typed_weather(raw: pl.DataFrame) -> pl.DataFrame:
    """Type the hourly weather; station and UTC hour say when and where, so the local parts are left out."""
    return typed(raw, TYPES, missing=MISSING)


RULES = (
    Rule(
        "recorded",
        pl.all_horizontal(pl.col("origin", "time_hour").is_not_null()),
        description="Station and hour are there.",
    ),
    Rule(
        "possible_wind",
        pl.max_horizontal("wind_speed", "wind_gust") <= STRONGEST_MPH,
        description=f"No wind is stronger than {STRONGEST_MPH} mph.",
        nulls="pass",
    ),
    Rule(
        "possible_humidity",
        pl.col("humid").is_between(0, 100),
        description="Relative humidity lies between 0 and 100 percent.",
        nulls="pass",
    ),
)

WEATHERS = {
    "snow or freezing rain": (pl.col("precip") > 0) & (pl.col("temp") <= 34),
    "heavy rain": pl.col("precip") >= 0.1,
    "rain": pl.col("precip") > 0,
    "fog": pl.col("visib") < 1,
    "strong wind": pl.col("wind_speed") >= 25,
}
"""The first that holds names the weather of an hour; `fair` is what is left. Degrees Fahrenheit, inches, miles, mph."""


def name_of_weather() -> pl.Expr:
    """Name the weather of an hour, or say that there is no record of it."""
    name: pl.Expr = pl.lit("fair")
    for weather, holds in reversed(WEATHERS.items()):
        name = pl.when(holds).then(pl.lit(weather)).otherwise(name)
    return pl.when(pl.col("visib").is_null()).then(pl.lit("not recorded")).otherwise(name)


def delays(flights: pl.LazyFrame, weather: pl.LazyFrame) -> pl.DataFrame:
    """Compare how flights fared in each kind of weather at their origin, in the hour of their scheduled departure.

    Args:
        flights: `origin`, `scheduled_at` (UTC), `dep_delay` (minutes) and `status`.
        weather: One row per `origin` and `time_hour`.

    Returns:
        `weather`, `flights`, `mean_dep_delay` (minutes) and `cancelled_share` (0 to 1): one row per kind, worst first.
    """
    return (
        flights.with_columns(pl.col("scheduled_at").dt.truncate("1h").alias("time_hour"))
        .join(weather, on=["origin", "time_hour"], how="left")
        .group_by(name_of_weather().alias("weather"))
        .agg(
            pl.len().cast(pl.Int64).alias("flights"),
            pl.col("dep_delay").mean().round(1).alias("mean_dep_delay"),
            (pl.col("status") == "cancelled").mean().round(4).alias("cancelled_share"),
        )
        .sort("mean_dep_delay", descending=True)
        .collect()
    )
