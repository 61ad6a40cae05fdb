"""What an airport is."""

from __future__ import annotations

import polars as pl

from fuse_dagster.definitions.demo.parsing import typed

TYPES: dict[str, type[pl.DataType] | pl.DataType] = {
    "icao": pl.String,
    "iata": pl.String,
    "name": pl.String,
    "city": pl.String,
    "subd": pl.String,
    "country": pl.String,
    "elevation": pl.Float64,
    "lat": pl.Float64,
    "lon": pl.Float64,
    "tz": pl.String,
    "lid": pl.String,
}

DECIMALS = 4
"""Of a degree: 11 m. Some releases write all coordinates with other numbers of digits, and an airport that is written
differently has not moved; without this, two of the six releases would make a new version of nearly every airport."""


def typed_airports(raw: pl.DataFrame) -> pl.DataFrame:
    """Type one release: empty text becomes null, coordinates are kept to 11 m."""
    return typed(raw, TYPES).with_columns(pl.col("lat", "lon").round(DECIMALS))
