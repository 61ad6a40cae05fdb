"""What a format can't hold, options that are none, and files that can't be read."""

from __future__ import annotations

import datetime as dt
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fuse_dagster.core.errors import ConfigError, InputError, NotThereError, SchemaError
from fuse_dagster.engines.local.files import Format, file_options, scan_files, write_rows

DAY = dt.date(2024, 1, 1)


@pytest.mark.parametrize(
    ("layout", "options", "values", "says"),
    [
        ("excel", {}, [[1]], "`x` is List.*no nested values"),
        ("excel", {}, [Decimal("1.1")], "`x` is Decimal.*64-bit float"),
        ("excel", {}, [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)], "no time zone"),
        ("excel", {}, [2**53 + 1], "beyond 2\\^53"),
        ("excel", {}, [-(2**53) - 1], "beyond 2\\^53"),
        ("excel", {}, [float("nan")], "not a number"),
        ("excel", {}, [dt.date(1900, 2, 28)], "before 1900-03-01"),
        ("excel", {}, [dt.datetime.combine(DAY, dt.time(0, 0, 0, 1))], "milliseconds"),
        ("excel", {}, ["x" * 32_768], "32,767 signs"),
        ("excel", {}, ["😀" * 16_384], "32,767 signs"),
        ("excel", {}, ["\uffff"], "U\\+FFFE"),
        ("excel", {}, [b"x"], "no bytes.*base64"),
        ("excel", {}, [None], "last row is null in every column"),
        ("csv", {}, [[1]], "no nested values"),
        ("csv", {}, [{"a": 1}], "no nested values"),
        ("csv", {}, [b"x"], "no bytes"),
        ("csv", {}, ["a\0b"], "null bytes"),
        ("csv", {}, [1, None], "is null, which would be an empty line"),
        ("csv", {"null": "NA"}, ["NA"], "`null` stands for"),
        ("csv", {"encoding": "latin-1"}, ["日"], "`latin-1` lacks"),
        ("json", {}, [float("inf")], "not a number or infinite"),
        ("ndjson", {}, [[float("nan")]], "not a number or infinite.* within"),
        ("ndjson", {}, [[DAY]], "no Date within"),
        ("ndjson", {}, [b"x"], "no bytes"),
        ("avro", {}, [pl.Series([2**64 - 1], dtype=pl.UInt64)], "no such integers|no nested"),
        ("avro", {}, [dt.timedelta(1)], "no such type"),
    ],
)
def test_what_would_come_back_as_something_else_is_refused_with_what_to_do(
    layout: str, options: dict[str, Any], values: list[Any], says: str
) -> None:
    with pytest.raises(InputError, match=rf"(?s){says}"):
        write_rows(pl.DataFrame({"x": values}), io.BytesIO(), file_options(layout, options))


def test_all_columns_that_are_wrong_are_named_at_once() -> None:
    frame = pl.DataFrame({"a": [[1]], "b": [b""], "c": [1]})
    with pytest.raises(SchemaError, match=r"nothing was written:\n- `a` is .*\n- `b` is ") as caught:
        write_rows(frame, io.BytesIO(), file_options("csv"))
    assert "`c`" not in str(caught.value)


def test_names_are_checked_where_a_format_has_rules_for_them() -> None:
    frame = pl.DataFrame({"a b": [1], "s": [{"x-y": 1}]})
    with pytest.raises(SchemaError, match=r"(?s)`a b` is no name in Avro.*`x-y` is no name"):
        write_rows(frame, io.BytesIO(), file_options("avro"))
    for layout in ("csv", "excel", "ndjson"):
        with pytest.raises(SchemaError, match="has no name"):
            write_rows(pl.DataFrame({"": [1]}), io.BytesIO(), file_options(layout))


def test_a_frame_without_columns_is_no_file() -> None:
    with pytest.raises(SchemaError, match="no columns"):
        write_rows(pl.DataFrame(), io.BytesIO(), file_options("parquet"))


def test_a_lazy_frame_that_fails_says_so() -> None:
    frame = pl.LazyFrame({"a": ["x"]}).select(pl.col("a").cast(pl.Int64))
    with pytest.raises(InputError, match="rows can't be computed"):
        write_rows(frame, io.BytesIO(), file_options("csv"))


@pytest.mark.parametrize(
    ("layout", "options", "says"),
    [
        ("cvs", {}, "Did you mean `csv`"),
        ("delta", {}, "no format of files"),
        ("csv", {"seperator": ";"}, "Did you mean `separator`"),
        ("csv", {"separator": ";;"}, "one ASCII sign"),
        ("csv", {"separator": 1}, "Valid: text"),
        ("csv", {"header": "yes"}, "Valid: true or false"),
        ("csv", {"encoding": "utf9"}, "`utf9`, which Python does not know"),
        ("csv", {"null": "0"}, "which is a value"),
        ("csv", {"null": "nan"}, "which is a value"),
        ("parquet", {"compression": "zip"}, "Valid: `zstd`"),
        ("excel", {"sheet": "a/b"}, "up to 31 signs"),
    ],
)
def test_options_are_one_vocabulary(layout: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        file_options(layout, options)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"", "empty CSV"),
        ("a.csv", b"a,a\n1,2\n", r"names columns twice: \['a'\]"),
        ("a.csv", b"a,b\n1,2,3\n", "more fields"),
        ("a.parquet", b"a,b\n1,2\n", "can't be read as parquet"),
        ("a.parquet", b"PAR1", "can't be read as parquet"),
        ("a.json", b"", "can't be read as json"),
        ("a.json", b'[{"a": 1}', "can't be read as json"),
        ("a.ndjson", b"", "can't be read as ndjson"),
        ("a.ndjson", b"[1]\n", "can't be read as ndjson"),
        ("a.xlsx", b"", "can't be read as excel"),
        ("a.xlsx", b"PK\x03\x04", "can't be read as excel"),
        ("a.avro", b"", "can't be read as avro"),
        ("a.avro", b"Obj\x01", "can't be read as avro"),
    ],
)
def test_a_file_that_is_none_says_what_it_is_not(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    layout = {"xlsx": "excel"}.get(name.partition(".")[2], name.partition(".")[2])
    with pytest.raises(InputError, match=says):
        scan_files(str(tmp_path / name), Format(layout))
    with pytest.raises(NotThereError, match="nothing at"):
        scan_files(str(tmp_path / f"x{name}"), Format(layout))


@pytest.mark.parametrize("layout", ["parquet", "json", "excel", "avro"])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, layout: str) -> None:
    options = file_options(layout)
    sink = io.BytesIO()
    write_rows(pl.DataFrame({"a": range(100), "b": ["x"] * 100}), sink, options)
    (tmp_path / "cut").write_bytes(sink.getvalue()[:-20])
    with pytest.raises((InputError, pl.exceptions.PolarsError)):
        scan_files(str(tmp_path / "cut"), options.format).collect()


def test_a_sheet_that_repeats_a_column_or_is_not_there_is_refused(tmp_path: Path) -> None:
    import xlsxwriter

    for names in (["a", "a"], ["a", None, "b"], []):
        with xlsxwriter.Workbook(str(tmp_path / "a.xlsx")) as book:
            book.add_worksheet("one").write_row(0, 0, names)
        with pytest.raises(InputError, match="Name each column in the first row"):
            scan_files(str(tmp_path / "a.xlsx"), Format.EXCEL)
    with pytest.raises(ConfigError, match="Did you mean `one`"):
        scan_files(str(tmp_path / "a.xlsx"), Format.EXCEL, options=file_options("excel", {"sheet": "onee"}))


def test_a_code_with_a_zero_in_front_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('code,zip,n,f\n"007",01067,0,0.5\n"012",80331,10,-0.5\n')
    found = scan_files(str(tmp_path / "a.csv"), Format.CSV).collect()
    assert found.rows() == [("007", "01067", 0, 0.5), ("012", "80331", 10, -0.5)]
    said = scan_files(str(tmp_path / "a.csv"), Format.CSV, types={"zip": "int32"}).collect()
    assert said["zip"].to_list() == [1067, 80331]


def test_a_value_that_is_not_of_its_type_is_an_error_rather_than_a_null(tmp_path: Path) -> None:
    with (tmp_path / "a.xlsx").open("wb") as file:
        write_rows(pl.DataFrame({"a": [1.5, 2.0]}), file, file_options("excel"))
    with pytest.raises(InputError, match="can't be read as excel"):
        scan_files(str(tmp_path / "a.xlsx"), Format.EXCEL, types={"a": "int64"})
    (tmp_path / "a.json").write_text(json.dumps([{"a": "2024-02-30"}]))
    with pytest.raises(pl.exceptions.PolarsError):
        scan_files(str(tmp_path / "a.json"), Format.JSON, types={"a": "date"}).collect()
    with pytest.raises(ConfigError, match=r"type of column `a`: `int46` is no type\. Did you mean `int64`"):
        scan_files(str(tmp_path / "a.json"), Format.JSON, types={"a": "int46"})
