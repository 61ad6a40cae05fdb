"""What a flight is, and which flights can't have happened."""

from __future__ import annotations

import polars as pl

from fuse_dagster.definitions.demo.parsing import PROVENANCE, typed
from fuse_dagster.quality.rules import Rule

MISSING = ("", "NA")

FASTEST_MPH = 600
"""No airliner of 2013 averaged more from take-off to landing; the fastest credible flight in the data has 591."""

TYPES: dict[str, type[pl.DataType] | pl.DataType] = {
    "year": pl.Int32,
    "month": pl.Int8,
    "day": pl.Int8,
    "carrier": pl.String,
    "flight": pl.Int32,
    "tailnum": pl.String,
    "origin": pl.String,
    "dest": pl.String,
    "sched_dep_time": pl.Int32,
    "dep_time": pl.Int32,
    "dep_delay": pl.Int32,
    "sched_arr_time": pl.Int32,
    "arr_time": pl.Int32,
    "arr_delay": pl.Int32,
    "air_time": pl.Int32,
    "distance": pl.Int32,
    "minute": pl.Int32,
    "time_hour": pl.Datetime("us", "UTC"),
}


LINEAGE = {
    "flight_date": [("bronze/flights", name) for name in ("year", "month", "day")],
    "scheduled_at": [("bronze/flights", name) for name in ("time_hour", "minute")],
    "departed_at": [("bronze/flights", name) for name in ("time_hour", "minute", "dep_delay")],
    "status": [("bronze/flights", name) for name in ("dep_time", "arr_delay")],
}
"""Where the columns come from that the supplier does not have under their name."""


def typed_flights(raw: pl.DataFrame) -> pl.DataFrame:
    """Type the supplier's flights and say of each how it ended.

    Args:
        raw: Rows of `bronze/flights`, with `_month`, the month that their file is for.

    Returns:
        One row per row of `raw`. `scheduled_at` and `departed_at` are moments in UTC; `status` is `flown`, `diverted`
        (it landed elsewhere, so there is no delay at the destination) or `cancelled` (it never left).
    """
    scheduled_at = pl.col("time_hour") + pl.duration(minutes=pl.col("minute"))
    return (
        typed(raw, TYPES, missing=MISSING)
        .with_columns(
            raw["_month"],
            # By way of text, because 31 February must become a null that a rule rejects, not an error.
            pl.format("{}-{}-{}", "year", "month", "day").str.to_date("%Y-%m-%d", strict=False).alias("flight_date"),
            scheduled_at.alias("scheduled_at"),
            (scheduled_at + pl.duration(minutes=pl.col("dep_delay"))).alias("departed_at"),
            pl.when(pl.col("dep_time").is_null())
            .then(pl.lit("cancelled"))
            .when(pl.col("arr_delay").is_null())
            .then(pl.lit("diverted"))
            .otherwise(pl.lit("flown"))
            .alias("status"),
        )
        .select(
            *("flight_date", "carrier", "flight", "tailnum", "origin", "dest", "status", "scheduled_at", "departed_at"),
            *("sched_dep_time", "dep_time", "dep_delay", "sched_arr_time", "arr_time", "arr_delay"),
            *("air_time", "distance"),
            *PROVENANCE,
            "_month",
        )
    )


def _clock(name: str) -> pl.Expr:
    """Minutes after midnight of a clock time written as 517 or 2400."""
    return pl.col(name) // 100 * 60 + pl.col(name) % 100


def _is_clock(name: str) -> pl.Expr:
    return pl.col(name).is_null() | (pl.col(name).is_between(1, 2400) & (pl.col(name) % 100 < 60))


def _agrees(delay: str, actual: str, scheduled: str) -> pl.Expr:
    """Whether a delay is the difference of two clock times, whatever day the second one falls on."""
    return (_clock(actual) - _clock(scheduled) - pl.col(delay)) % 1440 == 0


RULES = (
    Rule(
        "identified",
        pl.all_horizontal(pl.col("flight_date", "carrier", "flight", "origin", "dest", "scheduled_at").is_not_null()),
        description="A date that exists, carrier, number, both airports and the scheduled departure are known.",
    ),
    Rule(
        "in_its_month",
        pl.col("flight_date").dt.month_start() == pl.col("_month"),
        description="The flight belongs to the month that its file is for.",
        nulls="pass",
    ),
    Rule(
        "clock_times",
        pl.all_horizontal(_is_clock(name) for name in ("sched_dep_time", "dep_time", "sched_arr_time", "arr_time")),
        description="Clock times lie between 0001 and 2400 and have less than 60 minutes.",
    ),
    Rule(
        "departure_delay_agrees",
        _agrees("dep_delay", "dep_time", "sched_dep_time"),
        description="The departure delay is the difference between the actual and the scheduled departure.",
        nulls="pass",
    ),
    Rule(
        "arrival_delay_agrees",
        _agrees("arr_delay", "arr_time", "sched_arr_time"),
        description="The arrival delay is the difference between the actual and the scheduled arrival.",
        nulls="pass",
    ),
    Rule(
        "landed_after_leaving",
        pl.col("arr_time").is_null() | pl.col("dep_time").is_not_null(),
        description="What never departed does not arrive.",
    ),
    Rule(
        "goes_somewhere",
        (pl.col("origin") != pl.col("dest")) & (pl.col("distance") > 0),
        description="The destination is another airport than the origin, and some miles away.",
    ),
    Rule(
        "possible_speed",
        (pl.col("air_time") > 0) & (pl.col("distance") * 60 <= FASTEST_MPH * pl.col("air_time")),
        description=f"The average speed over ground, take-off to landing, is at most {FASTEST_MPH} mph.",
        nulls="pass",
    ),
)
