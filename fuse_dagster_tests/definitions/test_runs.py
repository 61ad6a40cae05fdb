"""The demo's own promises, through real runs: any order, twice, in parallel."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fuse_dagster.definitions.demo.checks import as_of_finds_airports
from fuse_dagster_tests.definitions.conftest import open_project

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fuse_dagster_tests.definitions.conftest import Project

RELEASES = ("20210425", "20240119", "20260905")


def history(project: Project) -> pl.DataFrame:
    frame = pl.read_delta(str(project.places.lake / "silver/airport_history"))
    return frame.select(sorted(frame.columns)).sort("icao", "valid_from")


def load(project: Project, releases: Sequence[str]) -> pl.DataFrame:
    for release in releases:
        project.land_release(release)
        assert project.run("load_release", release).success
    return history(project)


def test_the_history_has_the_versions_that_the_releases_say(project: Project) -> None:
    boryspil = load(project, RELEASES).filter(icao="UKBB")
    assert boryspil["tz"].to_list() == ["Europe/Kiev", "Europe/Kyiv"]
    assert boryspil["is_current"].to_list() == [False, True]
    assert boryspil["valid_from"].dt.strftime("%Y%m%d").to_list() == ["20210425", "20240119"]


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 2, 0), (0, 2, 1, 0)], ids=lambda order: "-".join(map(str, order)))
def test_releases_in_any_order_give_the_same_history(
    project: Project, another_project: Project, order: tuple[int, ...]
) -> None:
    expected = load(project, RELEASES)
    assert_frame_equal(load(another_project, [RELEASES[place] for place in order]), expected)


def load_in_a_process_of_its_own(root: Path, release: str) -> bool:
    with open_project(root) as opened:
        return opened.run("load_release", release).success


@pytest.mark.slow
def test_a_parallel_backfill_gives_the_same_history(project: Project, another_project: Project) -> None:
    expected = load(project, RELEASES)
    for release in RELEASES:
        another_project.land_release(release)
    # Processes, as Dagster's run launcher starts them. None waits for another: no pool has a limit here.
    load_from = partial(load_in_a_process_of_its_own, another_project.places.landing.parent)
    with ProcessPoolExecutor(len(RELEASES), mp_context=get_context("spawn")) as processes:
        assert list(processes.map(load_from, RELEASES)) == [True] * len(RELEASES)
    assert_frame_equal(history(another_project), expected)


def everything(project: Project) -> list[dg.ExecuteInProcessResult]:
    runs = [("load_release", release) for release in RELEASES]
    runs += [("load_month", month) for month in ("2013-01-01", "2013-05-01")]
    return [project.run(job, partition) for job, partition in [*runs, ("load_board", None), ("refresh", None)]]


def test_a_second_run_of_everything_commits_nothing(project: Project) -> None:
    for release in RELEASES:
        project.land_release(release)
    project.land_the_rest()
    project.play()
    assert all(result.success for result in everything(project))
    before = project.state()
    again = everything(project)
    assert all(result.success for result in again)
    assert project.state() == before
    committed = [
        event.materialization.metadata["committed"].value
        for result in again
        for event in result.get_asset_materialization_events()
    ]
    assert committed
    assert not any(committed)


def test_everything_is_described_where_it_lies(project: Project) -> None:
    for release in RELEASES:
        project.land_release(release)
    project.land_the_rest()
    project.play()
    seen = {}
    for result in everything(project):
        for event in result.get_asset_materialization_events():
            seen[event.materialization.asset_key.to_user_string()] = event.materialization.metadata
    assert set(seen) == {spec.key.to_user_string() for spec in project.defs.resolve_all_asset_specs()}
    for asset, metadata in seen.items():
        schema = metadata["dagster/column_schema"].value
        undescribed = [column.name for column in schema.columns if not column.description]
        mirrored = asset.startswith("public/")  # what their columns mean, the source knows
        assert mirrored or not undescribed, f"{asset} has columns without description"
        if not asset.startswith(("bronze/", "public/")):
            traced = metadata["dagster/column_lineage"].value.deps_by_column
            assert set(traced) <= {column.name for column in schema.columns}
            assert traced, f"{asset} has no column lineage"
    assert "data:image/png;base64," in seen["gold/airport_changes"]["chart"].value
    assert "data:image/png;base64," in seen["gold/delays_by_weather"]["chart"].value
    assert seen["gold/route_punctuality"]["unmatched_flights"].value > 0
    assert seen["silver/flights"]["rejected"].value == 1


def test_the_check_fails_where_a_moment_meets_no_airport(project: Project) -> None:
    counted = pl.DataFrame(
        {"as_of": [datetime(2020, 12, 31, tzinfo=UTC)], "country": [None], "airports": [0]},
        schema_overrides={"country": pl.String},
    )
    result = as_of_finds_airports(counted)
    assert isinstance(result, dg.AssetCheckResult)
    assert not result.passed
    assert "2020-12-31" in (result.description or "")
