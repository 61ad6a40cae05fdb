"""The arrival sensor launches one run for new content, and says why it leaves files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.orchestration.arriving import arrival_sensor
from fuse_dagster_tests.ingest.landing.folders import Folder

PARTS = dg.DynamicPartitionsDefinition(name="carriers")


@dg.op
def work() -> None:
    """Nothing: what is launched is not run here."""


@dg.job
def loading() -> None:
    work()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def look(sensor: dg.SensorDefinition, cursor: str | None = None) -> dg.SensorResult:
    with dg.DagsterInstance.ephemeral() as instance:
        result: Any = sensor(dg.build_sensor_context(instance=instance, cursor=cursor))
    assert isinstance(result, dg.SensorResult)
    return result


def test_new_content_launches_one_run_and_a_touch_none(folder: Folder) -> None:
    sensor = arrival_sensor(folder.source(), name="landing", job=loading)
    folder.put("a.csv", "id\n1\n")
    folder.put("b.csv", "id\n2\n")
    folder.put("c.csv.part", "id")
    first = look(sensor)
    (request,) = first.run_requests or []
    assert request.tags["fuse/landing_files"] == "2"
    second = look(sensor, first.cursor)
    assert not second.run_requests
    assert "`c.csv.part` is left alone" in str(second.skip_reason)
    for name in ("a.csv", "b.csv"):
        (folder.root / name).rename(folder.root / f"again-{name}")
    (renamed,) = look(sensor, first.cursor).run_requests or []
    assert renamed.run_key == request.run_key
    folder.put("d.csv", "id\n3\n")
    (new,) = look(sensor, first.cursor).run_requests or []
    assert new.run_key != request.run_key


def test_each_partition_in_names_gets_its_run(folder: Folder) -> None:
    source = folder.source(name="{carrier}_{day:%Y%m%d}.csv")
    sensor = arrival_sensor(source, name="landing", partitions=PARTS, partition_by="carrier", job=loading)
    for name in ("AA_20240101.csv", "AA_20240102.csv", "BB_20240101.csv", "readme.csv"):
        folder.put(name, f"id\n{name}\n")
    found = look(sensor)
    assert sorted(str(request.partition_key) for request in found.run_requests or []) == ["AA", "BB"]
    assert len(list(found.dynamic_partitions_requests or [])) == 1
    assert not look(sensor, found.cursor).run_requests


def test_partitions_need_a_column_of_the_name(folder: Folder) -> None:
    with pytest.raises(ConfigError, match="`partition_by` is `carrier`"):
        arrival_sensor(folder.source(), name="x", partitions=PARTS, partition_by="carrier", job=loading)
