"""Many rows through little memory, whatever frame they come in; and folders of files."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import duckdb
import polars as pl
import pytest

from fuse_dagster.core.errors import NotThereError
from fuse_dagster.engines.local.files import Format, file_options, scan_files, write_rows
from fuse_dagster_tests.docs.pages import ROOT

ROWS = pl.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]})

# A process of its own, whose memory at the most is that of this one write.
THROUGH_LITTLE_MEMORY = """
import resource, sys
import polars as pl, pyarrow as pa
from fuse_dagster.engines.local.files import file_options, write_rows

def batches(count):
    for part in range(count):
        text = pa.array([f"{part}-{row}-" + "x" * 100 for row in range(20_000)])
        yield pa.record_batch({"n": pa.array(range(20_000)), "text": text})

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

class Nowhere:
    size, closed = 0, False
    def write(self, data):
        self.size += len(data)
        return len(data)
    def flush(self): ...
    def tell(self): return self.size

schema = pa.schema({"n": pa.int64(), "text": pa.string()})
layout, many = file_options(sys.argv[1], {"compression": "none"}), int(sys.argv[2])
for count in (5, many):
    found = write_rows(pa.RecordBatchReader.from_batches(schema, batches(count)), sink := Nowhere(), layout)
    print(found.rows, sink.size // 2**20, peak())
"""


@pytest.mark.parametrize(("layout", "parts"), [("csv", 100), ("ndjson", 100), ("json", 100), ("parquet", 100)])
def test_a_long_file_takes_no_more_memory_than_a_short_one(layout: str, parts: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", THROUGH_LITTLE_MEMORY, layout, str(parts)],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    (_, _, first), (rows, size, last) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert rows == parts * 20_000
    assert size > 200
    assert last - first < 100, "megabytes"


@pytest.mark.parametrize("layout", ["parquet", "csv", "json", "ndjson", "excel", "avro"])
def test_every_kind_of_frame_is_written(layout: str, tmp_path: Path) -> None:
    arrow = ROWS.to_arrow(compat_level=pl.CompatLevel.oldest())
    connection = duckdb.connect()
    frames = [ROWS, ROWS.lazy(), ROWS.to_pandas(), arrow, arrow.to_reader(max_chunksize=1),
              connection.from_arrow(arrow)]  # fmt: skip
    for frame in frames:
        with (tmp_path / "a").open("wb") as file:
            found = write_rows(frame, file, file_options(layout), sample=2)
        assert (found.rows, found.first.rows()) == (3, [(1, "x"), (2, None)])
        assert scan_files(str(tmp_path / "a"), Format(layout)).collect().equals(ROWS)


def test_what_is_written_can_be_more_than_one_part(tmp_path: Path) -> None:
    frame = pl.select(a=pl.int_range(120_000)).with_columns(b=pl.col("a").cast(pl.String))
    for layout in ("csv", "json", "ndjson", "parquet"):
        with (tmp_path / "a").open("wb") as file:
            assert write_rows(frame.lazy(), file, file_options(layout)).rows == 120_000
        types = frame.schema
        assert scan_files(str(tmp_path / "a"), Format(layout), types=types).collect().equals(frame), layout


def test_categories_become_text(tmp_path: Path) -> None:
    frame = pl.DataFrame({"c": ["a", None]}, schema={"c": pl.Categorical}).with_columns(
        e=pl.col("c").cast(pl.String).cast(pl.Enum(["a"])), n=1
    )
    for layout in ("csv", "parquet", "avro", "excel"):
        with (tmp_path / "a").open("wb") as file:
            found = write_rows(frame, file, file_options(layout))
        assert found.schema == {"c": pl.String, "e": pl.String, "n": pl.Int32}
        read = scan_files(str(tmp_path / "a"), Format(layout)).collect()
        assert read.select("c", "e").rows() == [("a", "a"), (None, None)]


@pytest.mark.parametrize("layout", ["parquet", "csv", "json", "ndjson", "excel", "avro"])
def test_a_folder_of_files_is_read_in_the_order_of_their_names(layout: str, tmp_path: Path) -> None:
    ending = file_options(layout).ending
    for name, rows in (("b", ROWS.tail(1)), ("a [1]", ROWS.head(2))):
        (tmp_path / "day=1").mkdir(exist_ok=True)
        with (tmp_path / "day=1" / f"{name}{ending}").open("wb") as file:
            write_rows(rows, file, file_options(layout))
    (tmp_path / "README").write_text("no rows")
    assert scan_files(str(tmp_path), Format(layout)).collect().equals(ROWS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotThereError, match=f"no file of {layout}"):
        scan_files(str(tmp_path / "empty"), Format(layout))


def test_the_parts_of_a_stream_are_checked_before_they_are_written() -> None:
    frame = pl.concat([pl.select(a=pl.int_range(60_000).cast(pl.Float64)), pl.DataFrame({"a": [float("nan")]})])
    with pytest.raises(ValueError, match=r"`a` is not a number .*1 of 10,001 rows, as nan"):
        write_rows(frame, io.BytesIO(), file_options("ndjson"))
