"""Spark reads a Delta table as the local engine does, with its errors."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from deltalake import DeltaTable

from fuse_dagster.core.errors import ConfigError, FuseError, TableNotFoundError, TableStateError
from fuse_dagster.engines.local import reading as local
from fuse_dagster.engines.spark.frames import from_spark
from fuse_dagster.engines.spark.reading import scan

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.spark

FIRST = pl.DataFrame({"k": [1, 2], "a.b": ["x", None]})


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three versions, in a folder with signs that both engines have to quote."""
    path = tmp_path_factory.mktemp("lake") / "ü `a` b"
    FIRST.write_delta(str(path))
    pl.DataFrame({"k": [3], "a.b": ["z"]}).write_delta(str(path), mode="append")
    pl.DataFrame({"k": [9], "a.b": ["new"]}).write_delta(str(path), mode="overwrite")
    # delta-rs asks the commit when it was made, Spark the file: here they agree, as they do to a millisecond or two.
    for entry in DeltaTable(str(path)).history():
        log = path / "_delta_log" / f"{entry['version']:020}.json"
        os.utime(log, ns=(0, entry["timestamp"] * 1_000_000))
    return path


def test_the_newest_version_is_read(spark: SparkSession, table: Path) -> None:
    assert from_spark(scan(spark, table)).rows() == [(9, "new")]


def test_a_relative_path_starts_at_the_current_folder(
    spark: SparkSession, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(table.parent)
    assert from_spark(scan(spark, table.name)).rows() == [(9, "new")]


def test_columns_and_rows_are_chosen(spark: SparkSession, table: Path) -> None:
    found = from_spark(scan(spark, str(table), version=1, columns=["a.b", "k"], where="k >= 2"))
    assert sorted(found.rows(), key=str) == [("z", 3), (None, 2)]


def test_a_time_chooses_the_version_that_was_current(spark: SparkSession, table: Path) -> None:
    stamps = {entry["version"]: entry["timestamp"] for entry in DeltaTable(str(table)).history()}
    moment = dt.datetime.fromtimestamp(stamps[1] / 1000, tz=dt.UTC)
    for timestamp in (moment, moment.isoformat()):
        assert (
            from_spark(scan(spark, table, timestamp=timestamp)).height
            == local.scan(table, timestamp=timestamp).collect().height
        )


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"version": 7}, ConfigError),
        ({"version": -1}, ConfigError),
        ({"version": 0, "timestamp": "2024-01-01"}, ConfigError),
        ({"timestamp": "2024-01-01T00:00:00"}, ConfigError),
        ({"timestamp": "2020-01-01"}, TableStateError),
        ({"columns": ["K"]}, ConfigError),
        ({"columns": ["a,b"]}, ConfigError),
    ],
)
def test_both_engines_refuse_alike(
    spark: SparkSession, table: Path, options: dict[str, Any], error: type[FuseError]
) -> None:
    with pytest.raises(error) as ours:
        local.scan(table, **options)
    with pytest.raises(error, match=re.escape(str(ours.value))):
        scan(spark, table, **options)


@pytest.mark.parametrize("prepare", ["absent", "empty folder", "other files"])
def test_no_table_is_told_from_a_broken_one(spark: SparkSession, tmp_path: Path, prepare: str) -> None:
    path = tmp_path / "t"
    if prepare != "absent":
        path.mkdir()
    if prepare == "other files":
        FIRST.write_parquet(path / "a.parquet")
    with pytest.raises(TableNotFoundError, match="There is no Delta table at"):
        scan(spark, path)


def test_a_log_that_does_not_open_is_no_absence(spark: SparkSession, tmp_path: Path) -> None:
    path = tmp_path / "t"
    FIRST.write_delta(str(path))
    for commit in (path / "_delta_log").glob("*.json"):
        commit.unlink()
    with pytest.raises(TableStateError, match="is there, but can't be opened"):
        scan(spark, path)


def test_an_expired_version_names_the_oldest_left(spark: SparkSession, table: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(table, copy)
    DeltaTable(str(copy)).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(TableStateError, match=r"Version `1`.*has expired.*oldest version left is `2`"):
        scan(spark, copy, version=1)
    with pytest.raises(TableStateError, match=r"Version `1`.*has expired.*oldest version left is `2`"):
        local.scan(copy, version=1)
    assert from_spark(scan(spark, copy)).rows() == [(9, "new")]


def test_a_version_without_its_log_has_expired_and_one_with_a_broken_log_has_not(
    spark: SparkSession, tmp_path: Path
) -> None:
    path = tmp_path / "t"
    for number in range(4):
        pl.DataFrame({"k": [number]}).write_delta(str(path), mode="append")
        if number == 2:
            DeltaTable(str(path)).create_checkpoint()
    logs = [path / "_delta_log" / f"{version:020}.json" for version in range(4)]
    kept = logs[1].read_text()
    logs[1].write_text("{broken")
    with pytest.raises(TableStateError, match=r"is there, but can't be opened: (?!.*has expired)"):
        scan(spark, path, version=1)
    logs[1].write_text(kept)
    assert from_spark(scan(spark, path, version=1)).height == 2
    logs[0].unlink()
    logs[1].unlink()
    with pytest.raises(TableStateError, match=r"Version `1`.*has expired.*oldest version left is `2`"):
        scan(spark, path, version=1)
    assert from_spark(scan(spark, path)).height == 4
