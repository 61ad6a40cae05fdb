"""The demo in Dagster's web UI, as a person meets it: seen and clicked in a real browser, with the daemon running."""

from __future__ import annotations

import re
from collections.abc import Callable

import polars as pl
import pytest
from playwright.sync_api import Locator, Page, expect

from fuse_dagster.definitions import defs
from fuse_dagster.definitions.demo.delivery import SHIPPED
from fuse_dagster_tests.ui.server import DagsterDev, until

pytestmark = pytest.mark.ui

HISTORY = "/assets/silver/airport_history"
GROUPS = ["bronze", "public", "silver", "gold"]
LOAD = "/assets/public/flight_changes"
Shot = Callable[[str], None]


def _in_graph(page: Page, words: str) -> Locator:
    return page.locator("svg foreignObject").filter(has_text=words)


def test_the_asset_graph_shows_every_group(page: Page) -> None:
    page.goto("/asset-groups")
    for group in GROUPS:
        expect(_in_graph(page, group).first).to_be_visible()


@pytest.mark.parametrize("group", GROUPS)
def test_the_graph_of_a_group_shows_every_asset_of_it(page: Page, group: str) -> None:
    page.set_viewport_size({"width": 2400, "height": 2000})  # what lies outside is not drawn
    page.goto(f"/locations/fuse_dagster/asset-groups/{group}/lineage")
    for spec in defs.resolve_all_asset_specs():
        if spec.group_name == group:
            expect(_in_graph(page, spec.key.path[-1]).first).to_be_visible()


def test_the_lineage_of_a_gold_table_leads_back_to_the_files(page: Page, shot: Shot) -> None:
    page.goto("/assets/gold/route_punctuality?view=lineage&lineageScope=upstream&lineageDepth=5")
    for name in ("airports", "airport_history", "route_punctuality"):
        expect(_in_graph(page, name).first).to_be_visible()
    expect(_in_graph(page, "100% filled").first).to_be_visible()
    expect(_in_graph(page, "Materialized").first).to_be_visible()
    shot("asset-graph")


def test_the_page_of_the_history_shows_metadata_and_checks(page: Page, shot: Shot) -> None:
    page.goto(HISTORY)
    expect(page.get_by_text("Row count").first).to_be_visible()
    for words in ("valid_from", "delta_version", "inserted", "closed", "preview"):
        expect(page.get_by_text(words, exact=True).first).to_be_attached()
    shot("airport-history")
    page.goto(f"{HISTORY}?view=checks")
    expect(page.get_by_text("Succeeded").first).to_be_visible()
    shot("checks")


def test_the_history_shows_the_status_of_each_partition(page: Page, shot: Shot) -> None:
    page.goto(f"{HISTORY}?view=partitions")
    for release in ("20210425", "20220107", "20240119", "20250204", "20260208", "20260905"):
        expect(page.get_by_text(release).first).to_be_visible()
    expect(page.get_by_text(re.compile(r"Failed \(0\)"))).to_be_visible()
    page.get_by_text("20260905").first.click()
    expect(page.get_by_text("schema_changes").first).to_be_visible()
    shot("partitions")


def test_the_history_shows_its_column_lineage(page: Page, ui: DagsterDev, shot: Shot) -> None:
    assert ("bronze/airports", "icao") in ui.column_lineage("silver", "airport_history")["icao"]
    page.goto(f"{HISTORY}?view=events")
    entry = page.locator("tr").filter(has_text=re.compile("^column_lineage"))
    origin = entry.locator("tr").filter(has_text=re.compile("^elevation"))
    expect(origin).to_contain_text("bronze/airports.elevation")
    origin.scroll_into_view_if_needed()
    shot("column-lineage")


def test_the_chart_of_a_gold_table_is_drawn(page: Page, shot: Shot) -> None:
    page.goto("/assets/gold/airport_changes?view=events")
    page.locator("tr").filter(has_text=re.compile("^chart")).get_by_text("Show Markdown").click()
    chart = page.locator("img[src^='data:image/png']").first
    expect(chart).to_be_visible()
    assert chart.evaluate("image => image.naturalWidth") > 400
    shot("chart")


def test_a_load_shows_how_far_its_source_was_read(page: Page, shot: Shot) -> None:
    page.goto(f"{LOAD}?view=events")
    words = ("rows_loaded", "bytes_loaded", "watermark_before", "watermark_after", "lag_seconds", "drift")
    for word in words:
        expect(page.get_by_text(word, exact=True).first).to_be_attached()
    page.get_by_text("watermark_before", exact=True).first.scroll_into_view_if_needed()
    shot("load")


def test_tables_of_a_source_are_in_a_group_of_its_name(page: Page, shot: Shot) -> None:
    page.goto("/locations/fuse_dagster/asset-groups/public/lineage")
    for name in ("flights", "flight_changes"):
        expect(_in_graph(page, name).first).to_be_visible()
    shot("mirrored-group")


def test_a_check_tells_freshness_by_the_watermark(page: Page, shot: Shot) -> None:
    page.goto(f"{LOAD}?view=checks&checkDetail=watermark_is_fresh")
    expect(page.get_by_text("watermark_is_fresh").first).to_be_visible()
    expect(page.get_by_text("Succeeded").first).to_be_visible()
    shot("watermark-check")


def test_a_click_materializes_an_asset(page: Page, ui: DagsterDev) -> None:
    before = {run["runId"] for run in ui.runs()}
    page.goto("/assets/silver/carriers")
    page.get_by_role("button", name="Materialize").first.click()
    expect(page.get_by_text("Launched run")).to_be_visible()
    run = ui.until_finished(before)
    assert run["status"] == "SUCCESS"
    assert run["assetSelection"] == [{"path": ["silver", "carriers"]}]


def test_a_tick_of_the_schedule_launches_a_run_that_succeeds(page: Page, ui: DagsterDev, shot: Shot) -> None:
    tags = [{"key": "dagster/schedule_name", "value": "every_minute"}]
    _flip(page, "every_minute", on=True)
    until(lambda: ui.runs(tags=tags), "the schedule has launched a run")
    _flip(page, "every_minute", on=False)
    run = ui.until_finished(set(), tags=tags)
    assert run["status"] == "SUCCESS"
    page.goto(f"/runs/{run['runId']}")
    expect(page.get_by_text("Success").first).to_be_visible()
    shot("run")


def test_a_release_that_lands_becomes_a_partition_and_a_run(page: Page, ui: DagsterDev, shot: Shot) -> None:
    release = "20261101"
    assert release not in ui.partitions("silver", "airport_history")
    shipped = pl.read_csv(SHIPPED / "airports" / "airports_20260905.csv.zst", infer_schema=False)
    renamed = shipped.with_columns(
        name=pl.when(pl.col("icao") == "LOWW").then(pl.lit("Vienna, renamed")).otherwise(pl.col("name"))
    )
    arriving = ui.landing / "airports" / f".airports_{release}.csv"
    renamed.write_csv(arriving)
    arriving.rename(ui.landing / "airports" / f"airports_{release}.csv")

    run = ui.until_finished(set(), tags=[{"key": "dagster/partition", "value": release}])
    assert run["status"] == "SUCCESS"
    assert {"key": "dagster/sensor_name", "value": "new_airport_release"} in run["tags"]
    assert release in ui.partitions("silver", "airport_history")
    page.goto(f"{HISTORY}?view=partitions")
    expect(page.get_by_text(release).first).to_be_visible()
    history = pl.read_delta(str(ui.lake / "silver" / "airport_history"))
    vienna = history.filter((pl.col("icao") == "LOWW") & pl.col("is_current"))
    assert vienna["name"].to_list() == ["Vienna, renamed"]
    shot("new-release")


def test_rows_put_aside_show_in_a_failed_check(page: Page) -> None:
    page.goto("/assets/silver/weather?view=checks&checkDetail=nothing_rejected")
    expect(page.get_by_text("nothing_rejected").first).to_be_visible()
    expect(page.get_by_text("Failed").first).to_be_visible()
    expect(page.get_by_text("rejected", exact=True).first).to_be_visible()


def test_a_release_cut_short_shows_as_refused_and_harms_nothing(page: Page, ui: DagsterDev) -> None:
    release, table = "20261201", str(ui.lake / "silver" / "airport_history")
    before = pl.read_delta(table).height
    shipped = pl.read_csv(SHIPPED / "airports" / "airports_20260905.csv.zst", infer_schema=False)
    arriving = ui.landing / "airports" / f".airports_{release}.csv"
    shipped.head(10).write_csv(arriving)
    arriving.rename(ui.landing / "airports" / f"airports_{release}.csv")

    run = ui.until_finished(set(), tags=[{"key": "dagster/partition", "value": release}])
    assert run["status"] == "FAILURE"
    assert pl.read_delta(table).height == before
    page.goto(f"/runs/{run['runId']}")
    expect(page.get_by_text(re.compile("DeleteGuardError")).first).to_be_visible()


def _flip(page: Page, name: str, *, on: bool) -> None:
    """Turn a schedule or sensor on or off, by the switch in its row: its second box, the first one selects the row."""

    def turned() -> bool:
        page.goto("/automation")
        row = page.locator(f"a[href$='/{name}']").locator("xpath=..")
        switch = row.locator("input[type=checkbox]").nth(1)
        switch.wait_for(state="attached")
        page.wait_for_timeout(2000)  # the row is drawn again when its state arrives, and forgets a click before
        if switch.is_checked() is not on:
            switch.evaluate("box => box.click()")  # the box itself is hidden behind what is drawn for it
            page.wait_for_timeout(3000)
        return switch.is_checked() is on

    until(turned, f"`{name}` is {'on' if on else 'off'}")
