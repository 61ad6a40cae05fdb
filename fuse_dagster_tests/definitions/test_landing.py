"""Landed files are read as they are, or refused with a message that says which file and what to do."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import polars as pl
import pytest

from fuse_dagster.connectors.local import Local
from fuse_dagster.core.errors import InputError, SchemaError
from fuse_dagster.definitions.demo.delivery import SHIPPED
from fuse_dagster.definitions.demo.landing import AIRPORTS, read_landed
from fuse_dagster.definitions.demo.parsing import typed

if TYPE_CHECKING:
    from pathlib import Path

    from fuse_dagster.connectors.base import Entry


def landed(tmp_path: Path, name: str, content: bytes) -> tuple[Local, Entry]:
    (tmp_path / name).write_bytes(content)
    landing = Local(root=str(tmp_path))
    return landing, next(entry for entry in landing.list() if entry.path == name)


def test_every_value_stays_text_and_every_row_says_where_it_came_from(tmp_path: Path) -> None:
    frame = read_landed(*landed(tmp_path, "a.csv.gz", gzip.compress(b'icao,lat\n"00AA",01.50\n,NA\n')))
    assert frame.select("icao", "lat").rows() == [("00AA", "01.50"), ("", "NA")]
    assert frame["_row_number"].to_list() == [1, 2]
    assert frame["_file_name"].unique().to_list() == ["a.csv.gz"]
    assert frame["_file_size"][0] == (tmp_path / "a.csv.gz").stat().st_size


SHIPPED_RELEASE = (SHIPPED / "airports/airports_20260905.csv.zst").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("cut.csv.zst", SHIPPED_RELEASE[:300_000], "damaged or cut off"),
        ("flipped.csv.zst", SHIPPED_RELEASE[:400_000] + b"\x00\x01" + SHIPPED_RELEASE[400_002:], "damaged or cut off"),
        ("cut.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 100_000, mtime=0)[:200], "damaged or cut off"),
        ("empty.csv.zst", b"", "is empty"),
        ("empty.csv", b"", "is empty"),
        ("header.csv", b"icao,lat\n", "has a header and no rows"),
        ("empty_inside.csv.gz", gzip.compress(b"", mtime=0), "cannot be read as CSV (Empty CSV file)"),
        ("short.csv", b"icao,lat\nA,1\nB\nC,3\n", "Row #3: Expected 2 columns, got 1: B"),
        ("long.csv", b"icao,lat\nA,1\nB,2,3\n", "cannot be read as CSV"),
        ("latin.csv", "icao,name\nLOWW,Österreich\n".encode("latin-1"), "cannot be read as CSV"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_what_to_do(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    landing, entry = landed(tmp_path, name, content)
    with pytest.raises(InputError) as refused:
        read_landed(landing, entry)
    message = str(refused.value)
    assert f"`{name}`" in message
    assert says in message
    assert "re-run" in message


def test_a_missing_and_a_doubled_file_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "airports").mkdir()
    with pytest.raises(InputError, match="no file for `20240119`"):
        AIRPORTS.find(Local(root=str(tmp_path)), "20240119")
    landed(tmp_path, "airports/airports_20240119.csv", b"icao\nA\n")
    landing, _ = landed(tmp_path, "airports/airports_20240119.csv.gz", gzip.compress(b"icao\nA\n"))
    with pytest.raises(InputError, match=r"2 files for `20240119`.*, `airports/airports_20240119.csv`, .*gz`"):
        AIRPORTS.find(landing, "20240119")


def test_a_value_that_does_not_fit_is_named_with_its_file_and_row(tmp_path: Path) -> None:
    raw = read_landed(*landed(tmp_path, "a.csv", b"icao,lat\nA,1.5\nB,north\nC,\n"))
    with pytest.raises(SchemaError, match=r"column `lat` of `a.csv` .* 1 of 3 rows \(row 2: `north`\)"):
        typed(raw, {"icao": pl.String, "lat": pl.Float64})


def test_missing_texts_become_null_and_absent_columns_stay_absent(tmp_path: Path) -> None:
    raw = read_landed(*landed(tmp_path, "a.csv", b"icao,lat\nA,NA\n,2\n"))
    frame = typed(raw, {"icao": pl.String, "lat": pl.Float64, "lid": pl.String}, missing=("", "NA"))
    assert frame.rows() == [("A", None, "a.csv", 1), (None, 2.0, "a.csv", 2)]
