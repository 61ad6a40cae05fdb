"""What an hour of weather is, and which hours can't have been."""

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
