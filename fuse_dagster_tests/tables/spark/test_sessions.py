"""A session that somebody else made has settings of its own: what is written does not depend on them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest

from fuse_dagster.tables import History, write

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]

THEIRS = {"spark.sql.session.timeZone": "America/New_York", "spark.sql.parquet.outputTimestampType": "INT96"}


@pytest.fixture
def theirs(spark: SparkSession) -> Iterator[SparkSession]:
    before = {name: spark.conf.get(name) for name in THEIRS}
    for name, value in THEIRS.items():
        spark.conf.set(name, value)
    yield spark
    for name, value in before.items():
        spark.conf.set(name, value)


def rows(number: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "k": ["a", "b"],
            "at": [dt.datetime(9999, 12, 31, tzinfo=dt.UTC), dt.datetime(1, 1, 1, tzinfo=dt.UTC)],
            "wall": [dt.datetime(2024, 3, 10, 2, 30), dt.datetime(1, 1, 1)],  # noqa: DTZ001  # wall times
            "n": [number, 1],
        }
    )


def test_times_are_the_same_in_any_zone_and_format(tmp_path: Path, theirs: SparkSession) -> None:
    for number in (1, 2):
        mode = History(keys=["k"], effective_at=dt.datetime(2024, 1, number, tzinfo=dt.UTC))
        ours, expected = (
            write(tmp_path / n, rows(number), mode, spark=s) for n, s in (("spark", theirs), ("local", None))
        )
        assert (ours.inserted, ours.updated) == (expected.inserted, expected.updated)
    found, wanted = (pl.read_delta(str(tmp_path / name)).sort(pl.all()) for name in ("spark", "local"))
    assert found.equals(wanted)


def test_their_settings_are_theirs_again_afterwards(tmp_path: Path, theirs: SparkSession) -> None:
    write(tmp_path / "t", rows(1), History(keys=["k"], effective_at=dt.date(2024, 1, 1)), spark=theirs)
    assert {name: theirs.conf.get(name) for name in THEIRS} == THEIRS
    assert theirs.conf.get("spark.databricks.delta.write.txnAppId", None) is None
