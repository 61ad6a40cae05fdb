"""The landing sensor launches one run per complete new file, and says why it leaves others alone."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from fuse_dagster.connectors.local import Local
from fuse_dagster.definitions.demo.arrivals import PARTITION, arrivals, file_tags, new_airport_release
from fuse_dagster.definitions.demo.jobs import load_release
from fuse_dagster.definitions.demo.landing import AIRPORTS, sha256
from fuse_dagster.definitions.demo.partitions import RELEASES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "airports_20240119.csv"
CONTENT = b"icao,iata\nLOWW,VIE\n"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def land(tmp_path: Path, name: str = NAME, content: bytes = CONTENT, *, seconds_ago: float = 60) -> None:
    path = tmp_path / "airports" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    modified = datetime.now(UTC).timestamp() - seconds_ago
    os.utime(path, (modified, modified))


def tick(tmp_path: Path, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    context = dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"landing": Local(root=str(tmp_path))}
    )
    result = new_airport_release(context)
    assert isinstance(result, dg.SensorResult)
    return result


def load(instance: dg.DagsterInstance, content: bytes, part: str = "20240119", *, fails: bool = False) -> None:
    """Leave the run behind that loaded a release, or failed to."""

    @dg.op
    def work() -> None:
        if fails:
            raise ValueError("the file is damaged")

    @dg.job(name=load_release.name)
    def loaded() -> None:
        work()

    tags = {PARTITION: part, **file_tags(sha256(content))}
    loaded.execute_in_process(instance=instance, tags=tags, raise_on_error=False)


def requested(result: dg.SensorResult) -> list[tuple[str | None, str | None]]:
    return [(request.partition_key, request.run_key) for request in result.run_requests or ()]


def test_a_new_file_becomes_a_partition_and_one_run_named_by_its_delivery(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    land(tmp_path)
    first = tick(tmp_path, instance)
    assert first.run_requests is not None
    (request,) = first.run_requests
    assert request.partition_key == "20240119"
    modified = datetime.fromtimestamp((tmp_path / "airports" / NAME).stat().st_mtime, UTC)
    assert request.run_key == f"20240119:{sha256(CONTENT)}:{modified.isoformat()}:first"
    assert first.dynamic_partitions_requests == [RELEASES.build_add_request(["20240119"])]


def test_the_same_file_is_not_looked_at_again_and_a_corrected_one_is(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    land(tmp_path)
    first = tick(tmp_path, instance)
    second = tick(tmp_path, instance, first.cursor)
    assert not second.run_requests
    land(tmp_path, content=CONTENT.replace(b"VIE", b"VIX"))
    third = tick(tmp_path, instance, second.cursor)
    assert third.run_requests is not None
    assert first.run_requests is not None
    assert third.run_requests[0].run_key != first.run_requests[0].run_key


def test_bytes_that_the_newest_run_has_loaded_are_not_loaded_again_whatever_the_cursor_says(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    land(tmp_path)
    load(instance, CONTENT)
    result = tick(tmp_path, instance)
    assert not result.run_requests
    assert result.skip_reason is not None
    assert "the newest run of its partition has loaded these bytes" in str(result.skip_reason.skip_message)


def test_a_file_that_is_only_touched_is_not_loaded_again(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    land(tmp_path, seconds_ago=120)
    cursor = tick(tmp_path, instance).cursor
    load(instance, CONTENT)
    land(tmp_path, seconds_ago=60)
    assert requested(tick(tmp_path, instance, cursor)) == []


@pytest.mark.parametrize("times", [(300, 200, 100), (300, 200, 300)], ids=["new times", "its old time again"])
def test_content_that_comes_back_is_loaded_again(
    tmp_path: Path, instance: dg.DagsterInstance, times: tuple[int, ...]
) -> None:
    start = datetime.now(UTC).timestamp()
    corrected = CONTENT.replace(b"VIE", b"VIX")
    cursor, keys = None, []
    for seconds, content in zip(times, [CONTENT, corrected, CONTENT], strict=True):
        land(tmp_path, content=content)
        os.utime(tmp_path / "airports" / NAME, (start - seconds, start - seconds))
        result = tick(tmp_path, instance, cursor)
        ((part, run_key),) = requested(result)
        assert part == "20240119"
        cursor = result.cursor
        keys.append(run_key)
        load(instance, content)
    assert len(set(keys)) == 3, "Dagster launches one run per key"


def test_a_release_with_the_bytes_of_an_older_one_is_loaded(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    land(tmp_path)
    cursor = tick(tmp_path, instance).cursor
    load(instance, CONTENT)
    land(tmp_path, "airports_20250101.csv")
    assert [part for part, _ in requested(tick(tmp_path, instance, cursor))] == ["20250101"]


def test_a_file_whose_run_failed_is_loaded_when_it_is_delivered_again(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    land(tmp_path, seconds_ago=120)
    cursor = tick(tmp_path, instance).cursor
    load(instance, CONTENT, fails=True)
    land(tmp_path, seconds_ago=60)
    assert [part for part, _ in requested(tick(tmp_path, instance, cursor))] == ["20240119"]


@pytest.mark.parametrize(
    ("name", "seconds_ago", "reason"),
    [
        (".airports_20240119.csv.part", 60, "still being written"),
        ("airports_20240119.csv.tmp", 60, "still being written"),
        ("airports_20240119.csv", -3600, "may still grow"),
        ("airports-2024.csv", 60, "does not follow `airports_20260905.csv.zst`"),
        ("airports_20240119.xlsx", 60, "does not follow"),
    ],
)
def test_a_file_that_is_left_alone_gets_a_reason(
    tmp_path: Path, instance: dg.DagsterInstance, name: str, seconds_ago: float, reason: str
) -> None:
    land(tmp_path, name, seconds_ago=seconds_ago)
    result = tick(tmp_path, instance)
    assert not result.run_requests
    assert result.skip_reason is not None
    assert f"`airports/{name}` is skipped" in str(result.skip_reason.skip_message)
    assert reason in str(result.skip_reason.skip_message)


def test_a_growing_file_is_taken_once_it_is_quiet(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    land(tmp_path, seconds_ago=0)
    landing = Local(root=str(tmp_path))
    assert [found.part for found in arrivals(landing, AIRPORTS, {}, now=now)] == [None]
    later = now + timedelta(hours=1)
    assert [found.part for found in arrivals(landing, AIRPORTS, {}, now=later)] == ["20240119"]


def test_no_landing_folder_is_nothing_new(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    result = tick(tmp_path / "absent", instance)
    assert not result.run_requests
    assert "Nothing new" in str(result.skip_reason)
