"""What must hold of the tables as a whole; of single rows, rules say it before the write."""

import dagster as dg
import polars as pl

from fuse_dagster.definitions.demo import bronze, gold, mirrored, silver
from fuse_dagster.definitions.demo.board import BOARD, KEYS, LOG
from fuse_dagster.definitions.demo.charts import CHANGES
from fuse_dagster.orchestration.checks import history_checks, table_checks
from fuse_dagster.quality.expectations import (
    accepted_values,
    in_range,
    not_null,
    row_count,
    unique,
)

FULL = 100
"""Rows that a quarantine may hold: beyond this, the feed is broken rather than a row of it."""


@dg.asset_check(asset=gold.airports_by_country, description="Every year end meets airports.", blocking=True)
def as_of_finds_airports(airports_by_country: pl.DataFrame) -> dg.AssetCheckResult:
    """Fail where the join with the history matches nothing: the moment lies outside of what is known."""
    found = airports_by_country.group_by("as_of").agg(pl.col("airports").sum())
    empty = found.filter(pl.col("airports") == 0)["as_of"].dt.to_string().sort().to_list()
    return dg.AssetCheckResult(
        passed=not empty and not found.is_empty(),
        description=f"No airport holds at {', '.join(empty)}." if empty else None,
        metadata={"moments": found.height, "empty_moments": empty},
    )


@dg.asset_check(asset=gold.route_punctuality, description="Every destination is one airport of today.")
def destinations_are_airports(route_punctuality: pl.DataFrame) -> dg.AssetCheckResult:
    """Warn about destinations that no airport, or more than one, has as its IATA code."""
    unmatched = route_punctuality.filter(pl.col("dest_name").is_null())
    return dg.AssetCheckResult(
        passed=unmatched.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"unmatched": sorted(unmatched["dest"].unique()), "flights": int(unmatched["flights"].sum())},
    )


@dg.asset_check(asset=gold.flights_by_source, description="Files and flight board tell of the same flights.")
def sources_agree(flights_by_source: pl.DataFrame) -> dg.AssetCheckResult:
    """Warn where the two sources count differently."""
    counted = flights_by_source.select("flights", "departed", "cancelled")
    return dg.AssetCheckResult(
        passed=flights_by_source.height == len(gold.SOURCES) and counted.n_unique() == 1,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={source: str(row) for source, row in zip(flights_by_source["source"], counted.rows(), strict=True)},
    )


CHECKS = [
    table_checks(bronze.airports, unique("_release", "icao")),
    table_checks(bronze.flights, not_null("_month", "_file_hash", "_row_number")),
    table_checks(bronze.planes, not_null("tailnum", "_file_hash"), row_count()),
    table_checks(bronze.carriers, not_null("carrier", "_file_hash"), row_count()),
    table_checks(bronze.weather, not_null("origin", "time_hour", "_file_hash"), row_count()),
    table_checks(mirrored.TABLES[BOARD], unique(*KEYS), row_count()),
    history_checks(mirrored.TABLES[LOG]),
    mirrored.FRESH,
    history_checks(silver.airport_history),
    table_checks(
        silver.airport_history,
        not_null("name", "country", "tz"),
        in_range("lat", minimum=-90, maximum=90),
        in_range("lon", minimum=-180, maximum=180),
    ),
    table_checks(silver.sorted_flights, unique("flight_date", "carrier", "flight", "origin"), key=silver.FLIGHTS),
    table_checks(silver.sorted_flights, row_count(minimum=0, maximum=FULL), key=silver.FLIGHTS_QUARANTINE),
    table_checks(silver.sorted_weather, unique("origin", "time_hour"), key=silver.WEATHER),
    table_checks(silver.sorted_weather, row_count(minimum=0, maximum=FULL), key=silver.WEATHER_QUARANTINE),
    table_checks(silver.planes, not_null("tailnum", "model"), in_range("year", minimum=1903, maximum=2013)),
    table_checks(silver.carriers, not_null("carrier", "name")),
    table_checks(gold.year_ends, unique("as_of"), row_count()),
    as_of_finds_airports,
    table_checks(gold.airports_by_country, unique("as_of", "country")),
    table_checks(gold.airport_changes, accepted_values("change", CHANGES)),
    destinations_are_airports,
    table_checks(gold.route_punctuality, unique("origin", "dest"), row_count()),
    sources_agree,
    table_checks(gold.flights_by_source, unique("source"), row_count()),
    table_checks(gold.delays_by_weather, in_range("cancelled_share", minimum=0, maximum=1), row_count()),
]
