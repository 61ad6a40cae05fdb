"""The demo's own promises, through real runs: any order, twice, in parallel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuse_dagster_tests.definitions.conftest import Project

RELEASES = ("20210425", "20240119", "20260905")


def history(project: Project) -> pl.DataFrame:
    """The history without where its rows came from, which depends on what was seen first."""
    frame = pl.read_delta(str(project.places.lake / "silver/airport_history"))
    return frame.select(sorted(frame.columns)).sort("icao", "valid_from")


def load(project: Project, releases: Sequence[str]) -> pl.DataFrame:
    for release in releases:
        project.land_release(release)
        assert project.run("load_release", release).success
    return history(project)


@pytest.fixture
def in_order(project: Project) -> pl.DataFrame:
    return load(project, RELEASES)


def test_the_history_has_the_versions_that_the_releases_say(in_order: pl.DataFrame) -> None:
    boryspil = in_order.filter(icao="UKBB")
    assert boryspil["tz"].to_list() == ["Europe/Kiev", "Europe/Kyiv"]
    assert boryspil["is_current"].to_list() == [False, True]
    assert boryspil["valid_from"].dt.strftime("%Y%m%d").to_list() == ["20210425", "20240119"]
