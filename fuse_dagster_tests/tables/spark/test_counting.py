"""What the workers count has to add up over all buckets, before anything is committed."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from fuse_dagster.core.errors import InputError
from fuse_dagster.tables import Upsert
from fuse_dagster.tables.spark.buckets import Planned
from fuse_dagster.tables.spark.upsert import judge
from fuse_dagster.tables.spark.worker import Report
from fuse_dagster.tables.tally import Tally

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]

MEASURE = {"known": 0, "absent": 0, "shown": [], "keys": 2}


@pytest.mark.parametrize(
    ("second", "is_whole"),
    [
        (Tally(inserted=1, applied=1, duplicates=1), True),
        (Tally(inserted=1, applied=1), False),
        (Tally(inserted=1, applied=2, duplicates=1), False),
        (Tally(inserted=2, applied=1, duplicates=1), False),
    ],
)
def test_an_upsert_counts_each_row_once(spark: SparkSession, second: Tally, is_whole: bool) -> None:
    tallies = (Tally(inserted=1, updated=1, applied=2), second)
    reports = tuple(Report(tally=asdict(tally), measures=[MEASURE], rows=2) for tally in tallies)
    planned = Planned(spark.range(0), tallies[0] + tallies[1], reports)
    if is_whole:
        judge(planned, Upsert(keys=["k"]))
        return
    with pytest.raises(InputError, match=r"rows were lost or made: of 4 rows in the batch, .* nothing was written"):
        judge(planned, Upsert(keys=["k"]))
