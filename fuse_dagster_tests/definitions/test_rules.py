"""Which flights and winds are impossible, and which are only unusual."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest

from fuse_dagster.definitions.demo import flights, weather
from fuse_dagster.definitions.demo.quarantine import without_copies
from fuse_dagster.quality.rules import split

FLIGHT = {
    "year": "2013", "month": "1", "day": "31", "dep_time": "2355", "sched_dep_time": "2350", "dep_delay": "5",
    "arr_time": "2400", "sched_arr_time": "10", "arr_delay": "-10", "carrier": "B6", "flight": "1", "tailnum": "N1",
    "origin": "JFK", "dest": "BOS", "air_time": "40", "distance": "187", "hour": "23", "minute": "50",
    "time_hour": "2013-02-01T04:00:00Z", "_file_name": "f.csv", "_row_number": 1,
    "_month": date(2013, 1, 1),
}  # fmt: skip

CANCELLED = dict.fromkeys(("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"), "NA")


def broken(**said: str) -> list[str]:
    """Names of the rules that a flight breaks which is like FLIGHT except for this."""
    parts = split(flights.typed_flights(pl.DataFrame([FLIGHT | said])), flights.RULES)
    return parts.rejected["_rejection_reasons"].to_list()[0] if parts.rejected.height else []


@pytest.mark.parametrize(
    "said",
    [
        {},
        CANCELLED,
        {"arr_delay": "NA", "air_time": "NA"},  # diverted
        {"tailnum": "NA"},
        {"dep_time": "2400", "dep_delay": "10"},
        {"dep_time": "2350", "dep_delay": "1440"},  # a day late
        {"dep_time": "15", "dep_delay": "25"},  # past midnight
    ],
)
def test_a_possible_flight_is_kept(said: dict[str, str]) -> None:
    assert broken(**said) == []


@pytest.mark.parametrize(
    ("said", "rules"),
    [
        ({"carrier": "NA"}, ["identified"]),
        ({"day": "NA"}, ["identified"]),
        ({"month": "2", "day": "28"}, ["in_its_month"]),
        ({"month": "2"}, ["identified"]),  # 31 February
        ({"sched_dep_time": "2361", "dep_time": "NA", "dep_delay": "NA"}, ["clock_times", "landed_after_leaving"]),
        ({"dep_delay": "6"}, ["departure_delay_agrees"]),
        ({"arr_delay": "10"}, ["arrival_delay_agrees"]),
        ({"dep_time": "NA", "dep_delay": "NA"}, ["landed_after_leaving"]),
        ({"dest": "JFK"}, ["goes_somewhere"]),
        ({"distance": "0"}, ["goes_somewhere"]),
        ({"air_time": "18"}, ["possible_speed"]),
        ({"air_time": "0"}, ["possible_speed"]),
    ],
)
def test_an_impossible_flight_is_rejected_by_exactly_its_rules(said: dict[str, str], rules: list[str]) -> None:
    assert broken(**said) == rules


@pytest.mark.parametrize(
    ("said", "status"),
    [({}, "flown"), (CANCELLED, "cancelled"), ({"arr_delay": "NA", "air_time": "NA"}, "diverted")],
)
def test_a_flight_s_status_says_how_it_ended(said: dict[str, str], status: str) -> None:
    typed = flights.typed_flights(pl.DataFrame([FLIGHT | said]))
    assert typed["status"].to_list() == [status]


def test_times_are_moments_in_utc() -> None:
    row = flights.typed_flights(pl.DataFrame([FLIGHT])).row(0, named=True)
    assert row["flight_date"].isoformat() == "2013-01-31"
    assert row["scheduled_at"].isoformat() == "2013-02-01T04:50:00+00:00"
    assert row["departed_at"].isoformat() == "2013-02-01T04:55:00+00:00"


def test_only_rows_that_say_the_same_are_copies() -> None:
    rows: list[dict[str, Any]] = [
        FLIGHT,
        FLIGHT | {"_row_number": 2},
        FLIGHT | {"flight": "2", "_row_number": 3},
    ]
    kept = without_copies(flights.typed_flights(pl.DataFrame(rows)))
    assert kept["_row_number"].to_list() == [1, 3]


@pytest.mark.parametrize(
    ("wind", "gust", "kept"), [("10.4", "NA", 1), ("NA", "NA", 1), ("1048.36", "NA", 0), ("10", "254", 0)]
)
def test_a_wind_beyond_the_record_is_rejected(wind: str, gust: str, kept: int) -> None:
    hour = dict.fromkeys(weather.TYPES, "50") | {
        "origin": "EWR", "time_hour": "2013-02-12T08:00:00Z", "wind_speed": wind, "wind_gust": gust,
        "_file_name": "w.csv", "_row_number": 1,
    }  # fmt: skip
    assert split(weather.typed_weather(pl.DataFrame([hour])), weather.RULES).valid.height == kept
