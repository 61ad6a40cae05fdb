"""The gold tables say what the history and the flights say, on rows small enough to check by eye."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from fuse_dagster.definitions import demo
from fuse_dagster.definitions.demo.spine import year_ends_within
from fuse_dagster.definitions.demo.weather import delays
from fuse_dagster.engines.local.sql import query

SQL = Path(demo.__file__).parent / "sql"


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def history(*versions: tuple[str, str, str | None, str, float, str]) -> pl.DataFrame:
    """Versions as (icao, from, to, name, latitude, zone), all in Austria."""
    moment = pl.Datetime("us", "UTC")
    return pl.DataFrame(
        [
            {
                "icao": icao, "iata": "", "name": name, "city": None, "country": "AT", "tz": zone,
                "lat": latitude, "lon": 16.0, "valid_from": day(start), "valid_to": day(end) if end else None,
            }
            for icao, start, end, name, latitude, zone in versions
        ],
        schema_overrides={"valid_from": moment, "valid_to": moment, "iata": pl.String, "city": pl.String},
    )  # fmt: skip


VERSIONS = history(
    ("SAME", "2021-04-25", None, "Same", 48.0, "Europe/Vienna"),
    ("GONE", "2021-04-25", "2024-01-19", "Gone", 48.0, "Europe/Vienna"),
    ("COME", "2024-01-19", None, "Come", 48.0, "Europe/Vienna"),
    ("MOVE", "2021-04-25", "2024-01-19", "Move", 48.0, "Europe/Vienna"),
    ("MOVE", "2024-01-19", None, "Move", 49.0, "Europe/Vienna"),
    ("NEAR", "2021-04-25", "2024-01-19", "Near", 48.0, "Europe/Vienna"),
    ("NEAR", "2024-01-19", None, "Near", 48.005, "Europe/Vienna"),
    ("BOTH", "2021-04-25", "2024-01-19", "Old", 48.0, "Europe/Kiev"),
    ("BOTH", "2024-01-19", None, "New", 48.0, "Europe/Kyiv"),
)


def test_the_spine_stays_inside_what_is_known() -> None:
    spine = year_ends_within(VERSIONS)
    assert spine["as_of"].to_list() == [day(at) for at in ("2021-12-31", "2022-12-31", "2023-12-31", "2024-01-19")]
    assert spine["previous"].to_list() == [None, *spine["as_of"].to_list()[:-1]]


def test_a_history_of_one_release_has_one_moment() -> None:
    spine = year_ends_within(history(("A", "2021-04-25", None, "A", 48.0, "UTC")))
    assert spine.rows() == [(day("2021-04-25"), None)]


def test_changes_are_those_between_neighbouring_moments() -> None:
    tables = {"year_ends": year_ends_within(VERSIONS), "airport_history": VERSIONS}
    changes = query((SQL / "airport_changes.sql").read_text(), tables)
    assert changes.select("icao", "change", "old", "new", "km").rows() == [
        ("COME", "appeared", None, "Come", None),
        ("GONE", "gone", "Gone", None, None),
        ("MOVE", "moved", "Move", "Move", pytest.approx(111.2)),
        ("BOTH", "renamed", "Old", "New", None),
        ("BOTH", "time zone", "Europe/Kiev", "Europe/Kyiv", None),
    ]
    assert changes["as_of"].unique().to_list() == [day("2024-01-19")]


def test_countries_are_counted_as_they_stood_at_each_moment() -> None:
    tables = {"year_ends": year_ends_within(VERSIONS), "airport_history": VERSIONS}
    counted = query((SQL / "airports_by_country.sql").read_text(), tables)
    assert counted.select("country", "airports", "time_zones").rows() == [("AT", 5, 2)] * 4


def test_a_moment_that_meets_nothing_keeps_a_row_that_a_check_can_see() -> None:
    early = pl.DataFrame({"as_of": [day("2020-12-31")]}, schema=year_ends_within(VERSIONS).select("as_of").schema)
    tables = {"year_ends": early, "airport_history": VERSIONS}
    counted = query((SQL / "airports_by_country.sql").read_text(), tables)
    assert counted.select("country", "airports").rows() == [(None, 0)]


FLIGHTS = pl.DataFrame(
    {
        "origin": ["JFK"] * 4,
        "dest": ["VIE", "VIE", "XXX", "DUP"],
        "carrier": ["OS", "OS", "OS", "OS"],
        "status": ["flown", "cancelled", "flown", "diverted"],
        "distance": [4200, 4200, 10, 20],
        "dep_delay": [10, None, 0, 0],
        "arr_delay": [20, None, 0, None],
        "scheduled_at": [day("2013-01-01T10:59")] * 3 + [day("2013-01-01T11:00")],
    },
    schema_overrides={"scheduled_at": pl.Datetime("us", "UTC")},
)


def test_a_route_without_an_airport_is_kept_and_a_code_of_two_airports_names_neither() -> None:
    airports = pl.DataFrame(
        {
            "iata": ["VIE", "DUP", "DUP", "", None],
            "name": ["Vienna", "One", "Two", "None", "None"],
            "city": ["Wien", "A", "B", "C", "D"],
            "country": ["AT", "US", "US", "US", "US"],
        }
    )
    routes = query((SQL / "route_punctuality.sql").read_text(), {"flights": FLIGHTS, "airports": airports})
    assert routes.select(
        "dest", "dest_name", "flights", "cancelled", "diverted", "mean_arr_delay", "on_time"
    ).rows() == [
        ("VIE", "Vienna", 2, 1, 0, 20.0, 0.0),
        ("DUP", None, 1, 0, 1, None, None),
        ("XXX", None, 1, 0, 0, 0.0, 1.0),
    ]


def test_a_flight_meets_the_weather_of_its_hour() -> None:
    weather = pl.DataFrame(
        {
            "origin": ["JFK"],
            "time_hour": [day("2013-01-01T10:00")],
            "precip": [0.2],
            "temp": [50.0],
            "visib": [5.0],
            "wind_speed": [30.0],
        },
        schema_overrides={"time_hour": pl.Datetime("us", "UTC")},
    )
    found = delays(FLIGHTS.lazy(), weather.lazy())
    assert found.rows() == [("heavy rain", 3, 5.0, 0.3333), ("not recorded", 1, 0.0, 0.0)]
