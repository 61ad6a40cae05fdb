"""What files are on every connector that reads, writes and lists them; inherited by the test of each."""

from __future__ import annotations

import datetime as dt
import io
import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest

from fuse_dagster import FileIOManager, read_file, write_file
from fuse_dagster.app.previewing import Wanted, preview
from fuse_dagster.core.errors import FuseError, InputError, NotThereError, SchemaError
from fuse_dagster.engines.local.files import file_options, write_rows
from fuse_dagster_tests.house.source import ROOT

if TYPE_CHECKING:
    from fuse_dagster.connectors.lake import Lake

FORMATS = ["parquet", "csv", "json", "ndjson", "excel", "avro"]
ROWS = pl.DataFrame({
    "text": ["", "007", None, "日本"],
    "whole": [2**53, -1, None, 0],
    "number": [0.1 + 0.2, -0.0, None, 1e300],
    "day": [dt.date(2024, 2, 29), None, dt.date(1900, 3, 1), dt.date(9999, 12, 31)],
    "truth": [True, None, False, True],
})  # fmt: skip
DAYS = dg.StaticPartitionsDefinition(["2024-01-01", "ä/b=c%", "later"])
KEPT: dict[str, pl.DataFrame] = {}


@dg.asset(partitions_def=DAYS, key_prefix="files")
def daily(context) -> pl.DataFrame:  # type: ignore[no-untyped-def]  # Dagster would read a string annotation
    """A file for each partition."""
    return ROWS.with_columns(key=pl.lit(context.partition_key))


@dg.asset(ins={"daily": dg.AssetIn(key=["files", "daily"])})
def collected(daily) -> pl.DataFrame:  # type: ignore[no-untyped-def]
    """All of them in one."""
    KEPT["rows"] = daily.collect()
    return KEPT["rows"].select("text", "key").drop_nulls()


# Writes one file over and over, each time with another number in all of its rows.
OVER_AND_OVER = """
import json, sys
import polars as pl
from fuse_dagster import write_file
from fuse_dagster.connectors import connectors

lake = connectors.load(sys.argv[1])(**json.load(sys.stdin))
number = 0
while True:
    number += 1
    write_file(lake, "one/file.csv", pl.select(n=pl.repeat(number, 20_000)))
    print(number, flush=True)
"""


class FilesContract:
    """Inherit it, and give the fixture `connector` (empty storage)."""

    @pytest.mark.parametrize("layout", FORMATS)
    def test_a_file_of_every_format_comes_back(self, connector: Lake, layout: str) -> None:
        path = f"files/a b=ä{file_options(layout).ending}"
        written = write_file(connector, path, ROWS)
        assert (written.rows, written.uri) == (4, connector.uri(*path.split("/")))
        read = read_file(connector, path, types=ROWS.schema).collect()
        assert read.equals(ROWS)
        assert str(read["number"].to_list()) == str(ROWS["number"].to_list())

    def test_what_is_there_is_replaced_whole_or_stays(self, connector: Lake) -> None:
        write_file(connector, "files/a.csv", ROWS)
        with pytest.raises(SchemaError, match="no nested values"):
            write_file(connector, "files/a.csv", pl.DataFrame({"l": [[1]]}))
        with pytest.raises(InputError, match="can't be computed"):
            write_file(connector, "files/a.csv", pl.LazyFrame({"a": ["x"]}).select(pl.col("a").cast(pl.Int64)))
        assert read_file(connector, "files/a.csv", types=ROWS.schema).collect().equals(ROWS)
        write_file(connector, "files/a.csv", ROWS.head(1))
        assert read_file(connector, "files/a.csv", types=ROWS.schema).collect().equals(ROWS.head(1))

    @pytest.mark.parametrize("layout", FORMATS)
    def test_what_is_no_such_file_says_so(self, connector: Any, layout: str) -> None:
        ending = file_options(layout).ending
        with pytest.raises(NotThereError, match="nothing at"):
            read_file(connector, f"files/absent{ending}")
        sink = io.BytesIO()
        write_rows(ROWS, sink, file_options("avro" if layout == "excel" else "excel"))
        connector.write(f"files/wrong{ending}", sink.getvalue())
        with pytest.raises((FuseError, pl.exceptions.PolarsError)):
            read_file(connector, f"files/wrong{ending}").collect()

    @pytest.mark.parametrize("layout", ["parquet", "csv", "excel"])
    def test_partitions_of_an_asset_lie_there_as_files(self, connector: Lake, layout: str) -> None:
        resources = {"io_manager": FileIOManager(lake=connector, format=layout)}
        instance = dg.DagsterInstance.ephemeral()
        for key in ("2024-01-01", "ä/b=c%"):
            done = dg.materialize([daily], partition_key=key, resources=resources, instance=instance)
            assert done.success
        name = f"2024-01-01{file_options(layout).ending}"
        assert read_file(connector, f"files/daily/{name}").collect().height == 4
        done = dg.materialize([daily, collected], selection=[collected], resources=resources, instance=instance)
        assert done.success
        assert KEPT["rows"].drop("key").equals(pl.concat([ROWS, ROWS]))
        assert KEPT["rows"]["key"].to_list() == ["2024-01-01"] * 4 + ["ä/b=c%"] * 4

    @pytest.mark.slow
    def test_a_killed_writer_leaves_a_whole_file(self, connector: Lake) -> None:
        for _ in range(3):
            worker = subprocess.Popen(
                [sys.executable, "-c", OVER_AND_OVER, connector.type],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            )  # fmt: skip
            assert worker.stdin is not None
            assert worker.stdout is not None
            with worker:
                worker.stdin.write(json.dumps(connector.model_dump(exclude={"type"})))
                worker.stdin.close()
                known = int(worker.stdout.readline())
                time.sleep(0.05)
                worker.send_signal(signal.SIGKILL)
                known = max([known, *map(int, worker.stdout.read().split())])
            found = read_file(connector, "one/file.csv").collect()
            assert found.height == 20_000
            (number,) = found["n"].unique()
            assert number in {known, known + 1}, "the last one that was said to be written, or the one after it"


class ShownFilesContract(FilesContract):
    """Inherit it where a file is opened by its address, without the connector."""

    @pytest.mark.parametrize("layout", FORMATS)
    def test_a_file_of_every_format_is_shown(self, connector: Lake, layout: str) -> None:
        written = write_file(connector, f"files/a b=ä{file_options(layout).ending}", ROWS)
        shown = preview(written.uri, Wanted(limit=2), storage_options=connector.storage_options())
        assert (shown.format, shown.rows.columns, shown.rows.height) == (layout, ROWS.columns, 2)
        assert shown.rows["text"].to_list() == ["", "007"]
