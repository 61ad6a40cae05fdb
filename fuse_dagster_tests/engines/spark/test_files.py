"""Spark reads files as the local engine does, and its frames become files part by part."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fuse_dagster.core.errors import ConfigError, InputError, NotThereError
from fuse_dagster.engines.local.files import Format, file_options, write_rows
from fuse_dagster.engines.local.files import scan_files as scan_locally
from fuse_dagster.engines.spark.files import parts_of, scan_files
from fuse_dagster.engines.spark.frames import from_spark, to_spark
from fuse_dagster_tests.docs.pages import ROOT

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]

NOW = dt.datetime(2024, 3, 31, 1, 2, 3, 456000, tzinfo=dt.UTC)
FLAT = pl.DataFrame({
    "text": ["", "007", None, "2024-01-01", 'a"b', "a\nb", " x ", "NaN", "\\", "日本", "a,b", "#"],
    "number": [1.5, -0.0, None, 1e300, 5e-324, 0.1 + 0.2, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    "whole": [2**53, -1, None, *range(9)],
    "truth": [True, None, *[False] * 10],
    "day": [dt.date(2024, 2, 29), None, *[dt.date(1900, 3, 1)] * 10],
    "wall": [NOW.replace(tzinfo=None), None, *[dt.datetime.combine(dt.date(9999, 1, 1), dt.time())] * 10],
    "tiny": pl.Series([1, None, *[-128] * 10], dtype=pl.Int8),
})  # fmt: skip
ZONED = FLAT.with_columns(
    instant=pl.Series([NOW, None, *[NOW] * 10]),
    money=pl.Series([Decimal("1.20"), None, *[Decimal("-0.01")] * 10], dtype=pl.Decimal(10, 2)),
)
NESTED = ZONED.with_columns(
    list=pl.Series([[1, None], None, *[[]] * 10], dtype=pl.List(pl.Int64)),
    struct=pl.Series([{"a": 1, "b": "x"}, {"a": None, "b": None}, *[{"a": 2, "b": ""}] * 10]),
)
RICH: dict[str, pl.DataFrame] = {"parquet": NESTED, "csv": ZONED, "json": NESTED, "ndjson": NESTED, "excel": FLAT}
LAYOUTS: list[tuple[str, dict[str, Any]]] = [
    ("parquet", {}),
    ("csv", {}),
    ("csv", {"separator": ";", "null": "NA", "compression": "gzip"}),
    ("csv", {"header": False, "encoding": "utf-16"}),
    ("json", {}),
    ("ndjson", {"compression": "gzip"}),
    ("ndjson", {}),
    ("excel", {}),
]


@pytest.mark.parametrize(("layout", "options"), LAYOUTS, ids=str)
@pytest.mark.parametrize("known", [True, False], ids=["types", "guessed"])
def test_spark_reads_what_the_local_engine_reads(
    spark: SparkSession, tmp_path: Path, layout: str, options: dict[str, Any], *, known: bool
) -> None:
    chosen, frame = file_options(layout, options), RICH[layout]
    if options.get("encoding") == "utf-16":
        frame = frame.drop("text")  # Spark finds the ends of lines in it by bytes
    place = tmp_path / f"ä [1] a=b{chosen.ending}"
    with place.open("wb") as file:
        write_rows(frame, file, chosen)
    types = frame.schema if known else None
    ours = scan_locally(str(place), Format(layout), options=chosen, types=types)
    theirs = scan_files(spark, str(place), Format(layout), options=chosen, types=types)
    as_delta = from_spark(to_spark(spark, ours))
    assert_frame_equal(from_spark(theirs), as_delta)
    if known:
        assert_frame_equal(as_delta, frame)


@pytest.mark.parametrize("layout", [*RICH, "avro"])
def test_a_spark_frame_becomes_one_file_with_its_rows_in_order(
    spark: SparkSession, tmp_path: Path, layout: str
) -> None:
    frame = RICH.get(layout, NESTED)
    with (tmp_path / "a").open("wb") as file:
        found = write_rows(parts_of(to_spark(spark, frame).repartitionByRange(3, "whole").sort("whole")), file,
                           file_options(layout))  # fmt: skip
    assert found.rows == frame.height
    read = scan_locally(str(tmp_path / "a"), Format(layout), types=frame.schema).collect()
    assert_frame_equal(read, frame.sort("whole"))


def test_partitions_come_one_after_the_other(spark: SparkSession) -> None:
    rows = list(parts_of(spark.range(0, 100, 1, 4)).frames)
    assert [part.height for part in rows] == [25] * 4
    assert pl.concat(rows)["id"].to_list() == list(range(100))


def test_what_can_not_be_read_says_why(spark: SparkSession, tmp_path: Path) -> None:
    with pytest.raises(NotThereError, match="nothing at"):
        scan_files(spark, str(tmp_path / "a.csv"), Format.CSV)
    (tmp_path / "a.avro").write_bytes(b"Obj")
    with pytest.raises(InputError, match="can't be read as avro"):
        scan_files(spark, str(tmp_path / "a.avro"), Format.AVRO)
    with (tmp_path / "b.avro").open("wb") as file:
        write_rows(FLAT, file, file_options("avro"))
    with pytest.raises(ConfigError, match=r"can't read Avro\. Start it with the jar, .*spark-avro_2\.13"):
        scan_files(spark, str(tmp_path / "b.avro"), Format.AVRO)


WITH_AVRO = """
import sys
import polars as pl
from polars.testing import assert_frame_equal
from fuse_dagster.engines.local.files import Format, file_options, scan_files as scan_locally, write_rows
from fuse_dagster.engines.spark.environment import DELTA
from fuse_dagster.engines.spark.files import AVRO, scan_files
from fuse_dagster.engines.spark.frames import from_spark, to_spark
from fuse_dagster.engines.spark.session import spark_session
from fuse_dagster_tests.engines.spark.test_files import NESTED

session = spark_session({"spark.jars.packages": f"{DELTA},{AVRO}"})
place = sys.argv[1] + "/a.avro"
with open(place, "wb") as file:
    write_rows(NESTED, file, file_options("avro"))
for types in (None, NESTED.schema):
    ours = scan_locally(place, Format.AVRO, types=types)
    theirs = scan_files(session, place, Format.AVRO, types=types)
    assert_frame_equal(from_spark(theirs), from_spark(to_spark(session, ours)))
assert_frame_equal(from_spark(theirs), NESTED)
print("same")
"""


def test_spark_reads_avro_with_its_jar(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITH_AVRO, str(tmp_path)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stdout.strip() == "same", done.stderr
