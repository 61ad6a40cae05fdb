"""Gold: the tables that people look at."""

from pathlib import Path

import dagster as dg
import polars as pl

from fuse_dagster.definitions.demo import words
from fuse_dagster.definitions.demo.board import DAY, KEYS
from fuse_dagster.definitions.demo.charts import changes_chart, delays_chart
from fuse_dagster.definitions.demo.house import FRESH_EVERY_DAY, described, layer, traced
from fuse_dagster.definitions.demo.spine import year_ends_within
from fuse_dagster.definitions.demo.weather import delays
from fuse_dagster.engines.local.sql import query
from fuse_dagster.orchestration.assets import delta_table
from fuse_dagster.orchestration.sql_models import sql_model

GOLD = layer("gold") | {"freshness_policy": FRESH_EVERY_DAY}

SQL = Path(__file__).parent / "sql"

HISTORY = dg.AssetIn(["silver", "airport_history"])


EDGES = [("silver/airport_history", name) for name in ("valid_from", "valid_to")]


@delta_table(
    key=["gold", "year_ends"],
    ins={"history": dg.AssetIn(HISTORY.key, metadata={"columns": ["valid_from", "valid_to"]})},
    columns=described(words.YEAR_ENDS),
    lineage=dict.fromkeys(words.YEAR_ENDS, EDGES),
    pool="gold/year_ends",
    **GOLD,
)
def year_ends(history: pl.DataFrame) -> pl.DataFrame:
    """The moments at which gold looks at the airports: every year end that is known, and the last known moment."""
    return year_ends_within(history)


airports_by_country = sql_model(
    key=["gold", "airports_by_country"],
    sql=SQL / "airports_by_country.sql",
    inputs={"year_ends": "gold/year_ends", "airport_history": HISTORY},
    columns=described(words.BY_COUNTRY, keys={"as_of", "country"}),
    pool="gold/airports_by_country",
    **GOLD,
)


CHANGES = (SQL / "airport_changes.sql").read_text(encoding="utf-8")


@delta_table(
    key=["gold", "airport_changes"],
    ins={"moments": dg.AssetIn(["gold", "year_ends"]), "history": HISTORY},
    columns=described(words.CHANGES, keys={"as_of", "icao", "change"}),
    lineage=traced(
        CHANGES,
        year_ends=("gold/year_ends", words.YEAR_ENDS),
        airport_history=("silver/airport_history", words.HISTORY),
    ),
    pool="gold/airport_changes",
    **GOLD,
)
def airport_changes(moments: pl.DataFrame, history: pl.LazyFrame) -> dg.MaterializeResult[pl.DataFrame]:
    """What became of every airport from one year end to the next: appeared, gone, moved, renamed, other time zone."""
    changes = query(CHANGES, {"year_ends": moments, "airport_history": history})
    chart = changes_chart(changes, moments["as_of"].to_list()[1:])
    return dg.MaterializeResult(value=changes, metadata={"chart": dg.MetadataValue.md(chart)})


ROUTES = (SQL / "route_punctuality.sql").read_text(encoding="utf-8")


@delta_table(
    key=["gold", "route_punctuality"],
    ins={
        "flights": dg.AssetIn(["silver", "flights"]),
        "airports": dg.AssetIn(["silver", "airport_history"], metadata={"as_of": "current"}),
    },
    columns=described(words.ROUTES, keys={"origin", "dest"}),
    lineage=traced(
        ROUTES,
        flights=("silver/flights", words.FLIGHT),
        airports=("silver/airport_history", words.AIRPORT),
    ),
    pool="gold/route_punctuality",
    **GOLD,
)
def route_punctuality(flights: pl.LazyFrame, airports: pl.LazyFrame) -> dg.MaterializeResult[pl.DataFrame]:
    """How punctual each route out of New York was in 2013, with today's name and place of the destination."""
    routes = query(ROUTES, {"flights": flights, "airports": airports})
    unmatched = routes.filter(pl.col("dest_name").is_null())
    return dg.MaterializeResult(
        value=routes,
        metadata={"unmatched_routes": unmatched.height, "unmatched_flights": int(unmatched["flights"].sum())},
    )


@delta_table(
    key=["gold", "delays_by_weather"],
    ins={
        "flights": dg.AssetIn(["silver", "flights"]),
        "hours": dg.AssetIn(["silver", "weather"]),
    },
    columns=described(words.DELAYS, keys={"weather"}),
    lineage={
        "weather": [("silver/weather", name) for name in ("precip", "temp", "visib", "wind_speed")],
        "mean_dep_delay": [("silver/flights", "dep_delay")],
        "cancelled_share": [("silver/flights", "status")],
    },
    pool="gold/delays_by_weather",
    **GOLD,
)
def delays_by_weather(flights: pl.LazyFrame, hours: pl.LazyFrame) -> dg.MaterializeResult[pl.DataFrame]:
    """How late flights left New York, and how many never did, in each kind of weather."""
    compared = delays(flights, hours)
    return dg.MaterializeResult(value=compared, metadata={"chart": dg.MetadataValue.md(delays_chart(compared))})


SOURCES = ("files", "flight board")


@delta_table(
    key=["gold", "flights_by_source"],
    ins={
        "flights": dg.AssetIn(["silver", "flights"]),
        "board": dg.AssetIn(["public", "flights"]),
        "changes": dg.AssetIn(["public", "flight_changes"]),
    },
    columns=described(words.BY_SOURCE, keys={"source"}),
    lineage={
        "flights": [("silver/flights", "flight"), ("public/flight_changes", "flight")],
        "departed": [("silver/flights", "status"), ("public/flights", "status")],
        "cancelled": [("silver/flights", "status"), ("public/flights", "flight"), ("public/flight_changes", "flight")],
        "said": [("silver/flights", "flight"), ("public/flight_changes", "seq")],
    },
    pool="gold/flights_by_source",
    **GOLD,
)
def flights_by_source(
    flights: pl.LazyFrame, board: pl.LazyFrame, changes: pl.LazyFrame
) -> dg.MaterializeResult[pl.DataFrame]:
    """The day that the flight board shows, as the files and the board tell of it."""
    filed = flights.filter(pl.col("flight_date") == DAY).collect()
    shown, told = board.collect(), changes.select(*KEYS, "seq").collect()
    known, left = told.select(KEYS).n_unique(), shown.filter(pl.col("status") != "scheduled").height
    cancelled = filed.filter(pl.col("status") == "cancelled").height
    rows = [
        (SOURCES[0], filed.height, filed.height - cancelled, cancelled, filed.height),
        # What is cancelled is taken off the board.
        (SOURCES[1], known, left, known - shown.height, told.height),
    ]
    return dg.MaterializeResult(value=pl.DataFrame(rows, schema=list(words.BY_SOURCE), orient="row"))
