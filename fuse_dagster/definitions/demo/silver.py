"""Silver: typed, clean, with history. What the supplier said stays readable in bronze."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from fuse_dagster.definitions.demo import airports, flights, reference, weather, words
from fuse_dagster.definitions.demo.house import described, layer, table_out
from fuse_dagster.definitions.demo.parsing import PROVENANCE
from fuse_dagster.definitions.demo.partitions import MONTHS, RELEASES
from fuse_dagster.definitions.demo.quarantine import NOTHING_REJECTED, sort_out
from fuse_dagster.orchestration.assets import delta_table, history_table
from fuse_dagster.tables import Upsert

FLIGHTS = dg.AssetKey(["silver", "flights"])
FLIGHTS_QUARANTINE = dg.AssetKey(["silver", "flights_quarantine"])
WEATHER = dg.AssetKey(["silver", "weather"])
WEATHER_QUARANTINE = dg.AssetKey(["silver", "weather_quarantine"])

SILVER = layer("silver", kinds={"polars"})


@history_table(
    key=["silver", "airport_history"],
    ins={"raw": dg.AssetIn(["bronze", "airports"])},
    partitions_def=RELEASES,
    keys=["icao"],
    effective_format="%Y%m%d",
    ignore=PROVENANCE,
    columns=described(words.AIRPORT, words.ORIGIN, keys={"icao"}),
    lineage={"*": [("bronze/airports", "*")]},
    pool="silver/airport_history",
    **SILVER,
)
def airport_history(raw: pl.DataFrame) -> pl.DataFrame:
    """Every airport as it was at any time since April 2021: one row per version (SCD2)."""
    return airports.typed_airports(raw)


@delta_table(
    key=["silver", "planes"],
    ins={"raw": dg.AssetIn(["bronze", "planes"])},
    mode=Upsert(keys=["tailnum"]),
    columns=described(words.PLANE, keys={"tailnum"}),
    lineage={"*": [("bronze/planes", "*")]},
    pool="silver/planes",
    **SILVER,
)
def planes(raw: pl.DataFrame) -> pl.DataFrame:
    """Planes as last heard of (SCD1); one that is no longer delivered stays."""
    return reference.typed_planes(raw)


@delta_table(
    key=["silver", "carriers"],
    ins={"raw": dg.AssetIn(["bronze", "carriers"])},
    mode=Upsert(keys=["carrier"]),
    columns=described(words.CARRIER, keys={"carrier"}),
    lineage={"*": [("bronze/carriers", "*")]},
    pool="silver/carriers",
    **SILVER,
)
def carriers(raw: pl.DataFrame) -> pl.DataFrame:
    """Airlines as last heard of (SCD1)."""
    return reference.typed_carriers(raw)


@dg.multi_asset(
    name="sorted_flights",
    ins={"raw": dg.AssetIn(["bronze", "flights"])},
    partitions_def=MONTHS,
    outs={
        "quarantine": table_out(
            FLIGHTS_QUARANTINE,
            "Flights that can't have happened, with the rules that they break.",
            partition_by="_month",
            columns=described(words.FLIGHT, words.ORIGIN, words.REJECTED, words.MONTH),
            lineage={"*": [("bronze/flights", "*")], **flights.LINEAGE},
            **SILVER,
        ),
        "valid": table_out(
            FLIGHTS,
            "All flights out of New York in 2013: typed, without copies, without impossible ones.",
            partition_by="flight_date",
            columns=described(words.FLIGHT, words.ORIGIN),
            lineage={"*": [("bronze/flights", "*")], **flights.LINEAGE},
            **SILVER,
        ),
    },
    check_specs=[dg.AssetCheckSpec(NOTHING_REJECTED, asset=FLIGHTS)],
    pool="silver/flights",
)
def sorted_flights(raw: pl.DataFrame) -> Iterator[dg.Output[pl.DataFrame] | dg.AssetCheckResult]:
    """Take the flights of a month apart: the possible ones, and the others with their reasons."""
    yield from sort_out(flights.typed_flights(raw), flights.RULES, asset=FLIGHTS, drop=["_month"])


@dg.multi_asset(
    name="sorted_weather",
    ins={"raw": dg.AssetIn(["bronze", "weather"])},
    outs={
        "quarantine": table_out(
            WEATHER_QUARANTINE,
            "Hours of weather that can't have been, with the rules that they break.",
            columns=described(words.WEATHER, words.ORIGIN, words.REJECTED),
            lineage={"*": [("bronze/weather", "*")]},
            **SILVER,
        ),
        "valid": table_out(
            WEATHER,
            "Hourly weather at the three airports of New York, 2013: typed, without impossible hours.",
            columns=described(words.WEATHER, words.ORIGIN, keys={"origin", "time_hour"}),
            lineage={"*": [("bronze/weather", "*")]},
            **SILVER,
        ),
    },
    check_specs=[dg.AssetCheckSpec(NOTHING_REJECTED, asset=WEATHER)],
    pool="silver/weather",
)
def sorted_weather(raw: pl.DataFrame) -> Iterator[dg.Output[pl.DataFrame] | dg.AssetCheckResult]:
    """Take the weather apart: the possible hours, and the others with their reasons."""
    yield from sort_out(weather.typed_weather(raw), weather.RULES, asset=WEATHER)
