"""Bad files fail their run with a message that helps, leave every table as it was, and the next good file works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest

from fuse_dagster_tests.definitions.conftest import why

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuse_dagster_tests.definitions.conftest import Project

GOOD, NEXT = "20240119", "20260905"


def with_changed_field(lines: list[str], row: int, old: str, new: str) -> list[str]:
    assert old in lines[row]
    return [*lines[:row], lines[row].replace(old, new, 1), *lines[row + 1 :]]


def damaged(project: Project, lines: list[str]) -> None:
    import gzip

    whole = gzip.compress("\n".join(lines).encode())
    (project.places.landing / f"airports/airports_{NEXT}.csv").unlink()
    project.land(f"airports/airports_{NEXT}.csv.gz", whole[: len(whole) // 2])


def empty(project: Project, lines: list[str]) -> None:
    assert lines
    project.land(f"airports/airports_{NEXT}.csv", b"")


def duplicate_key(project: Project, lines: list[str]) -> None:
    project.land(f"airports/airports_{NEXT}.csv", [*lines, lines[5].replace('"US"', '"CA"')])


def null_key(project: Project, lines: list[str]) -> None:
    key = lines[7].partition(",")[0]
    project.land(f"airports/airports_{NEXT}.csv", with_changed_field(lines, 7, key, '""'))


def text_in_latitude(project: Project, lines: list[str]) -> None:
    latitude = lines[9].split(",")[-4]
    project.land(f"airports/airports_{NEXT}.csv", with_changed_field(lines, 9, latitude, "north"))


def ten_rows(project: Project, lines: list[str]) -> None:
    project.land(f"airports/airports_{NEXT}.csv", lines[:11])


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (damaged, [f"airports_{NEXT}.csv.gz", "damaged or cut off", "re-run"]),
        (empty, [f"airports_{NEXT}.csv", "is empty", "re-run"]),
        (duplicate_key, ["icao", f"airports_{NEXT}.csv", "5"]),
        (null_key, ["icao", f"airports_{NEXT}.csv", "7"]),
        (text_in_latitude, ["`lat`", f"airports_{NEXT}.csv", "row 9: `north`"]),
        (ten_rows, ["max_delete_fraction", f"airports_{NEXT}.csv"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_bad_release_fails_and_changes_no_history(
    project: Project, spoil: Callable[[Project, list[str]], None], says: list[str]
) -> None:
    project.land_release(GOOD)
    assert project.run("load_release", GOOD).success
    before = project.state()["silver/airport_history"]

    lines = project.land_release(NEXT)
    spoil(project, lines)
    message = why(project.run("load_release", NEXT))
    for words in says:
        assert words in message
    assert project.state()["silver/airport_history"] == before

    for path in (project.places.landing / "airports").glob(f"*{NEXT}*"):
        path.unlink()
    project.land_release(NEXT)
    assert project.run("load_release", NEXT).success
    history = pl.read_delta(str(project.places.lake / "silver/airport_history"))
    assert history.filter("is_current").height == len(lines) - 1


@pytest.mark.parametrize("spoil", [damaged, empty], ids=lambda spoil: spoil.__name__)
def test_an_unreadable_release_changes_no_table_at_all(
    project: Project, spoil: Callable[[Project, list[str]], None]
) -> None:
    project.land_release(GOOD)
    assert project.run("load_release", GOOD).success
    before = project.state()
    spoil(project, project.land_release(NEXT))
    why(project.run("load_release", NEXT))
    assert project.state() == before


def test_a_missing_file_says_which_one_is_missing(project: Project) -> None:
    assert "flights_2013-01" in why(project.run("load_month", "2013-01-01"))
    assert project.state() == {}


def test_a_number_that_became_text_fails_the_month_and_names_the_row(project: Project) -> None:
    project.land_the_rest()
    assert project.run("load_month", "2013-01-01").success
    before = project.state()
    path = project.places.landing / "flights/flights_2013-01.csv"
    lines = path.read_text().splitlines()
    project.land("flights/flights_2013-01.csv", with_changed_field(lines, 3, "2013,1,1,542", "2013,1,1,5h42"))
    message = why(project.run("load_month", "2013-01-01"))
    assert "`dep_time`" in message
    assert "row 3: `5h42`" in message
    assert project.state()["silver/flights"] == before["silver/flights"]


def test_an_impossible_flight_is_put_aside_with_its_reason_and_the_month_goes_on(project: Project) -> None:
    project.land_the_rest()
    assert project.run("load_month", "2013-05-01").success
    quarantine = pl.read_delta(str(project.places.lake / "silver/flights_quarantine"))
    assert quarantine.select("carrier", "flight").rows() == [("EV", 4292)]
    assert quarantine["_rejection_reasons"].to_list() == [["possible_speed"]]
    flights = pl.read_delta(str(project.places.lake / "silver/flights"))
    assert flights.filter(flight=4292, carrier="EV", flight_date=quarantine["flight_date"][0]).is_empty()
    assert flights.height + quarantine.height == 100
