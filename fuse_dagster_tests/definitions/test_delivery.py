"""The shipped data is what its provenance says, and the supplier delivers it like a careful one."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pytest

from fuse_dagster.connectors.local import Local
from fuse_dagster.definitions.demo.delivery import SHIPPED, deliver, shipped
from fuse_dagster.definitions.demo.landing import read_landed

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST: list[dict[str, Any]] = json.loads((SHIPPED / "manifest.json").read_text())
PROVENANCE = (SHIPPED / "PROVENANCE.md").read_text()


def content(entry: dict[str, Any]) -> bytes:
    with pa.OSFile(str(SHIPPED / entry["file"])) as file, pa.CompressedInputStream(file, "zstd") as stream:
        return bytes(stream.read())


@pytest.mark.parametrize("entry", MANIFEST, ids=lambda entry: entry["file"])
def test_every_shipped_file_is_the_package_s_bytes(entry: dict[str, Any]) -> None:
    packed = (SHIPPED / entry["file"]).read_bytes()
    assert hashlib.sha256(packed).hexdigest() == entry["sha256"]
    assert len(packed) == entry["bytes"]
    unpacked = content(entry)
    assert hashlib.sha256(unpacked).hexdigest() == entry["content_sha256"]
    if not entry["file"].startswith("flights/"):
        assert entry["content_sha256"] == entry["member_sha256"]
    assert f"| `{entry['file']}` | {entry['rows']} | {entry['bytes']} | `{entry['sha256']}` |" in PROVENANCE
    assert entry["member_sha256"] in PROVENANCE


def test_the_months_of_flights_joined_are_the_package_s_file() -> None:
    months = [entry for entry in MANIFEST if entry["file"].startswith("flights/")]
    order = [1, 10, 11, 12, *range(2, 10)]
    months.sort(key=lambda entry: order.index(int(entry["file"][-len("01.csv.zst") :][:2])))
    header, joined = b"", hashlib.sha256()
    for entry in months:
        head, rows = content(entry).split(b"\n", 1)
        if not header:
            header = head + b"\n"
            joined.update(header)
        joined.update(rows)
    assert joined.hexdigest() == months[0]["member_sha256"]


def test_nothing_is_shipped_that_the_manifest_does_not_name() -> None:
    data = {str(path.relative_to(SHIPPED)) for path in SHIPPED.rglob("*.zst")}
    assert data == {entry["file"] for entry in MANIFEST}
    assert sum(entry["bytes"] for entry in MANIFEST) < 15_000_000


def test_a_delivery_is_whole_and_keeps_the_supplier_s_time(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    assert deliver(landing) == len(MANIFEST)
    files = [path for path in landing.rglob("*") if path.is_file()]
    assert {str(path.relative_to(landing)) for path in files} == {item.file for item in shipped()}
    for item in shipped():
        assert (landing / item.file).stat().st_mtime == item.modified.timestamp()


def test_a_second_delivery_copies_nothing_and_a_damaged_file_is_delivered_again(tmp_path: Path) -> None:
    deliver(tmp_path)
    assert deliver(tmp_path) == 0
    planes = tmp_path / "planes/planes.csv.zst"
    planes.write_bytes(b"")
    assert deliver(tmp_path) == 1
    assert planes.read_bytes() == (SHIPPED / "planes/planes.csv.zst").read_bytes()


def test_every_shipped_file_is_read_with_the_rows_the_manifest_counts(tmp_path: Path) -> None:
    deliver(tmp_path)
    landing = Local(root=str(tmp_path))
    entries = {entry.path: entry for entry in landing.list()}
    for item in shipped():
        frame = read_landed(landing, entries[item.file])
        assert frame.height == item.rows
        assert frame["_file_modified"][0] == item.modified
        supplied = [name for name in frame.columns if not name.startswith("_")]
        assert set(frame.select(supplied).dtypes) == {pl.String()}
