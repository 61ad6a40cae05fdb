"""`fuse read`: the first rows of tables and files of every format, filtered, by SQL, as of a time."""

from __future__ import annotations

import bz2
import datetime as dt
import gzip
import json
import lzma
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import polars as pl
import pytest

from fuse_dagster.app.cli import exits
from fuse_dagster.app.envelope import Kind
from fuse_dagster.engines.local.files import file_options, write_rows
from fuse_dagster.tables import Append, History, write
from fuse_dagster_tests.app.cli.conftest import Fuse, on_a_terminal
from fuse_dagster_tests.docs.pages import ROOT as CHECKOUT

ROWS = pl.DataFrame({"icao": ["EDDB", "LOWW", "LSZH"], "name": ["Berlin", None, "Zürich"], "feet": [157, 600, 1416]})


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The same rows in every format, packed and in folders."""
    ROWS.write_parquet(tmp_path / "a.parquet")
    ROWS.write_csv(tmp_path / "b.csv")
    ROWS.write_csv(tmp_path / "c.tsv", separator="\t")
    ROWS.write_ndjson(tmp_path / "d.ndjson")
    ROWS.write_json(tmp_path / "e.json")
    ROWS.write_ndjson(tmp_path / "lines.json")
    (tmp_path / "f.CSV.gz").write_bytes(gzip.compress((tmp_path / "b.csv").read_bytes()))
    (tmp_path / "g.jsonl.gz").write_bytes(gzip.compress((tmp_path / "d.ndjson").read_bytes()))
    for name, layout in (("h.xlsx", "excel"), ("i.avro", "avro")):
        with (tmp_path / name).open("wb") as file:
            write_rows(ROWS, file, file_options(layout))
    (tmp_path / "parts" / "day=1").mkdir(parents=True)
    ROWS.write_parquet(tmp_path / "parts" / "day=1" / "a.parquet")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("a.parquet", "parquet"),
        ("b.csv", "csv"),
        ("c.tsv", "csv"),
        ("d.ndjson", "ndjson"),
        ("e.json", "json"),
        ("lines.json", "json"),
        ("f.CSV.gz", "csv"),
        ("g.jsonl.gz", "ndjson"),
        ("h.xlsx", "excel"),
        ("i.avro", "avro"),
    ],
)
def test_a_file_is_read_by_the_format_that_its_name_tells(fuse: Fuse, files: Path, name: str, layout: str) -> None:
    found = fuse("read", files / name, "-n", "2", "--json").result
    assert found["format"] == layout
    assert found["rows"] == ROWS.head(2).to_dicts()
    assert [one["name"] for one in found["schema"]] == ROWS.columns
    assert (found["rows_total"], found["is_all"]) == (3, False)


def test_a_folder_of_files_is_read_as_one(fuse: Fuse, files: Path) -> None:
    found = fuse("read", files / "parts", "--json").result
    assert (found["format"], found["rows_total"]) == ("parquet", 3)


def test_a_name_that_tells_no_format_needs_one(fuse: Fuse, files: Path) -> None:
    (files / "b.csv").rename(files / "export")
    said = fuse("read", files / "export", "--json")
    assert (said.code, said.error["kind"]) == (exits.CODES[Kind.CONFIG], "config")
    assert "--format" in said.error["message"]
    assert fuse("read", files / "export", "--format", "csv", "--json").result["rows_total"] == 3


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        (["nowhere.csv"], Kind.NOT_FOUND, "nothing at"),
        (["nowhere.csv", "--format", "csv"], Kind.NOT_FOUND, "nothing at"),
        (["empty"], Kind.NOT_FOUND, "no file to read"),
        (["."], Kind.CONFIG, "several formats"),
        (["b.csv", "--format", "parquet"], Kind.INPUT, "can't be read as parquet"),
        (["b.csv", "--columns", "iaco"], Kind.CONFIG, "Did you mean `icao`"),
        (["b.csv", "--version", "1"], Kind.CONFIG, "Delta tables"),
        (["b.csv", "--as-of", "2024-01-01"], Kind.CONFIG, "Delta tables"),
        (["b.csv", "--sql", "SELECT 1", "--where", "feet > 1"], Kind.CONFIG, "leave `where`"),
        (["b.csv", "--sql", "SELECT * FROM 'a.parquet'"], Kind.CONFIG, "`data`"),
        (["b.csv", "--where", "1=1) UNION SELECT 1 --"], Kind.CONFIG, "SQL"),
        (["b.csv", "--format", "dbase"], Kind.USAGE, "dbase"),
        (["b.csv", "--format", "xml"], Kind.INPUT, "can't be read as XML"),
        (["b.csv", "--format", "fixed"], Kind.CONFIG, "needs `columns`"),
        (["b.csv", "-o", "seperator=;"], Kind.CONFIG, "separator"),
        (["b.csv", "-o", "separator"], Kind.USAGE, "NAME=VALUE"),
    ],
)
def test_what_can_not_be_read_says_why(fuse: Fuse, files: Path, words: list[str], kind: Kind, says: str) -> None:
    (files / "empty").mkdir()
    said = fuse("read", files / words[0], *words[1:], "--json")
    assert said.error["kind"] == kind
    assert says in said.error["message"]
    assert said.code == exits.CODES[kind]


def test_rows_are_chosen_by_a_condition_or_by_sql(fuse: Fuse, files: Path) -> None:
    found = fuse("read", files / "b.csv", "--where", "feet > 200", "--columns", "name, feet", "--json").result
    assert found["rows"] == [{"name": None, "feet": 600}, {"name": "Zürich", "feet": 1416}]
    some = fuse("read", files / "b.csv", "--where", "feet > 200", "-n", "1", "--json").result
    assert (some["rows_total"], some["is_all"]) == (None, False)
    counted = fuse("read", files / "b.csv", "--where", "feet > 200", "-n", "1", "--count", "--json").result
    assert counted["rows_total"] == 2
    asked = fuse("read", files / "a.parquet", "--sql", "SELECT sum(feet) AS total FROM data", "--json").result
    assert asked["rows"] == [{"total": 2173}]


@pytest.fixture
def airports(tmp_path: Path) -> Path:
    """A history of two snapshots, with names of its own for its columns."""
    table = tmp_path / "air ports"
    for day, feet in ((1, 157), (2, 158)):
        batch = pl.DataFrame({"icao": ["EDDB", "LOWW"], "feet": [feet, 600]})
        write(table, batch, History(keys=["icao"], effective_at=dt.date(2024, 1, day), valid_from="since"))
    return table


def test_a_history_is_read_as_of_a_moment(fuse: Fuse, airports: Path) -> None:
    found = fuse("read", airports, "--as-of", "2024-01-01T12:00:00Z", "--columns", "icao,feet", "--json").result
    assert sorted(row["feet"] for row in found["rows"]) == [157, 600]
    naive = fuse("read", airports, "--as-of", "2024-01-01T12:00:00", "--json")
    assert "time zone" in naive.error["message"]


def test_a_table_is_read_at_a_version(fuse: Fuse, tmp_path: Path) -> None:
    for day in range(3):
        write(tmp_path / "t", pl.DataFrame({"day": [day]}), Append())
    found = fuse("read", tmp_path / "t", "--version", "1", "--json").result
    assert (found["format"], found["version"], found["rows_total"]) == ("delta", 1, 2)
    assert fuse("read", tmp_path / "t", "--timestamp", "2999-01-01", "--json").result["version"] == 2
    wrong = fuse("read", tmp_path / "t", "--as-of", "2024-01-01", "--json")
    assert (wrong.error["kind"], "--timestamp" in wrong.error["message"]) == ("config", True)
    assert fuse("read", tmp_path / "t", "--version", "9").code == exits.CODES[Kind.CONFIG]


def test_a_person_sees_names_types_rows_and_how_many_there_are(fuse: Fuse, files: Path) -> None:
    lines = [line.split() for line in fuse("read", files / "a.parquet", "-n", "2").out.splitlines()]
    assert lines[0] == ["icao", "name", "feet"]
    assert lines[1] == ["String", "String", "Int64"]
    assert lines[3:5] == [["EDDB", "Berlin", "157"], ["LOWW", "null", "600"]]
    assert lines[5] == ["First", "2", "rows", "of", "3", "(parquet)."]


def test_values_can_not_steer_the_terminal(fuse: Fuse, tmp_path: Path) -> None:
    pl.DataFrame({"a\x1b[31m": ["\x1b]0;title\x07", "[bold]x[/bold] :smile:"]}).write_parquet(tmp_path / "a.parquet")
    said = fuse("read", tmp_path / "a.parquet").out
    assert "\x1b" not in said
    assert "[bold]x[/bold] :smile:" in said


def test_a_terminal_shows_the_columns_that_fit(tmp_path: Path) -> None:
    pl.DataFrame({f"column_{number}": [number] for number in range(30)}).write_parquet(tmp_path / "wide.parquet")
    text = on_a_terminal("read", tmp_path / "wide.parquet", columns=80)
    assert "25 more columns: column_5" in text
    assert max(len(line) for line in text.splitlines()[:4]) <= 80


def test_json_holds_every_value(fuse: Fuse, tmp_path: Path) -> None:
    frame = pl.DataFrame({"at": [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)], "raw": [b"\x00"], "inf": [float("inf")]})
    frame.write_parquet(tmp_path / "a.parquet")
    said = fuse("read", tmp_path / "a.parquet", "--json")
    assert json.loads(said.out)["result"]["rows"] == [{"at": "2024-01-01T00:00:00+00:00", "raw": "AA==", "inf": "inf"}]


def test_an_interrupt_ends_a_long_query_at_once(tmp_path: Path) -> None:
    pl.DataFrame({"a": range(1_000_000)}).write_parquet(tmp_path / "a.parquet")
    endless = "SELECT count(*) AS n FROM data x, data y WHERE sqrt(x.a) * y.a < 3"
    command = [sys.executable, "-m", "fuse_dagster.app.cli", "read", str(tmp_path / "a.parquet"), "--sql", endless]
    env = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    running = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        ticks = 0
        while ticks < 300:  # hundredths of a second of processor time: past the imports, which take two
            fields = Path(f"/proc/{running.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            ticks = int(fields[11]) + int(fields[12])
            assert running.poll() is None
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode in {-signal.SIGINT, exits.INTERRUPTED}  # the latter where it came before the query


def test_xml_fixed_width_and_packed_files_are_read(fuse: Fuse, files: Path) -> None:
    (files / "f.xml").write_text("<f><r id='007'><n>1</n></r><r id='008'><n>2</n></r></f>")
    assert fuse("read", files / "f.xml", "--json").result["rows"] == [{"id": "007", "n": 1}, {"id": "008", "n": 2}]
    (files / "f.txt").write_text("AA0007\nBB  22\n")
    said = fuse("read", files / "f.txt", "--format", "fixed", "-o", "columns=carrier:1-2; number:3-6:int64", "--json")
    assert said.result["rows"] == [{"carrier": "AA", "number": 7}, {"carrier": "BB", "number": 22}]
    (files / "c.csv.bz2").write_bytes(bz2.compress(b"a;b\n1;x\n"))
    assert fuse("read", files / "c.csv.bz2", "-o", "separator=;", "--json").result["rows"] == [{"a": 1, "b": "x"}]
    with zipfile.ZipFile(files / "j.ndjson.zip", "w") as archive:
        archive.writestr("j.ndjson", '{"a": 1}\n')
    assert fuse("read", files / "j.ndjson.zip", "--json").result["rows"] == [{"a": 1}]
    (files / "c.csv.xz").write_bytes(lzma.compress(b"a\n1\n")[:-4])
    assert "cut off" in fuse("read", files / "c.csv.xz", "--json").error["message"]
