from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.tables import History, write
from fuse_dagster.testing import airports, assert_frames_equal, changes, flights, releases, snapshots


def test_every_release_has_its_key_once_and_keeps_namibia() -> None:
    assert len(releases()) == 6
    for release in releases():
        found = airports(release=release)
        assert found["icao"].is_unique().all()
        assert found["icao"].null_count() == 0
        assert found.filter(pl.col("country") == "NA").height > 50
        assert found.schema["elevation"] == pl.Float64
    assert airports().equals(airports(release=releases()[-1].isoformat()))


def test_flights_of_a_month_are_of_that_month() -> None:
    found = flights(month=2)
    assert found["month"].unique().to_list() == [2]
    assert found.schema["time_hour"] == pl.Datetime("us", "UTC")
    assert found["dep_time"].null_count() > 0


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no release `2020-01-01`. Valid: `2021-04-25`"):
        airports(release=dt.date(2020, 1, 1))
    with pytest.raises(ConfigError, match=r"no month `13`. Valid: 1 to 12"):
        flights(month=13)
    with pytest.raises(ConfigError, match=r"`gone` is `2`"):
        list(snapshots(gone=2))
    with pytest.raises(ConfigError, match=r"`keys` is `0`"):
        changes(keys=0)


def test_snapshots_change_come_and_go_as_asked(tmp_path: Path) -> None:
    results = [
        write(tmp_path / "t", frame, History(keys="key", source="snapshot", effective_at=moment))
        for moment, frame in snapshots(keys=200, changes=0.1, new=0.02, gone=0.01, count=4)
    ]
    assert results[0].inserted == 200
    for result in results[1:]:
        assert (result.inserted, result.closed) == (4, 2)
        assert 18 <= result.updated <= 22


def test_the_same_arguments_give_the_same_rows() -> None:
    for (first, one), (second, other) in zip(snapshots(), snapshots(), strict=True):
        assert first == second
        assert_frames_equal(one, other, keys="key")
    assert changes(seed=1).equals(changes(seed=1))
    assert not changes(seed=1).equals(changes(seed=2))


def test_a_feed_has_its_deletes_and_is_taken_as_changes(tmp_path: Path) -> None:
    feed = changes(keys=50, events=400, deletes=0.1)
    assert 20 < feed.filter(pl.col("op") == "D").height < 60
    mode = History(keys="key", source="changes", effective_column="at", sequence_by="seq", delete_when="op = 'D'")
    assert write(tmp_path / "t", feed, mode).rows_in == 400
