"""Many small files of JSON are read as one, and mean what each means alone."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_dagster.core.errors import InputError
from fuse_dagster.engines.local.files.json_joined import read_joined
from fuse_dagster.engines.local.files.json_rows import frame_of, objects
from fuse_dagster_tests.ingest.landing.folders import Folder, Table

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=5),
    st.sampled_from(["", 0, 1, 0.5])
)  # fmt: skip
FLAT = st.dictionaries(st.sampled_from(["a", "b", "c"]), VALUES, max_size=3)
SAME = st.fixed_dictionaries({"a": st.integers(-9, 9), "b": st.floats(-1e6, 1e6), "c": st.text(max_size=3)})
ODD = st.sampled_from(
    [
        '{"a": 1', '{"a": {}', ', "b": 2}', '{"b": 2}}', '{"a": 1}{"a": 2}', '{"a": 1, "a": 2}', '[{"a": 1}]', "7", "",
        "{}", '{\n"a": 1\n}', '{"a": 1}\n{"a": 2}', '{"a": 1}\n\n{"b"\n: 2}', '{"a": "x\ny"}', '{"a": NaN}',
        '{"a": {"b": 1}}',
        '{"b": 0.1428571428571428612345}', '{"b": 9007199254740993}', '{"b": 1e400}', '{"b": 1.2345678901234e-400}',
        '{"a": "\\ud800"}', '\ufeff{"a": 1}', '{"a": 12345678901234567}', '{"a": 1}\r\n', '{"a": 1} x', '{"a": 01}',
        '{"b": 0.30000000000000004}', '{"c": ", 0.1428571428571428612345"}', '{"a": -}', '{"a": "\\u0000"}',
    ]
)  # fmt: skip
FILES = st.lists(
    st.one_of(FLAT.map(json.dumps), SAME.map(json.dumps), SAME.map(json.dumps), ODD), min_size=1, max_size=6
)


def alone(files: list[str], *, lines: bool) -> tuple[pl.DataFrame, list[int]]:
    rows = [objects(text.removeprefix("\ufeff"), "a.json", lines=lines) for text in files]
    return frame_of([row for some in rows for row in some]), [len(some) for some in rows]


@given(files=FILES, lines=st.booleans())
@settings(max_examples=100, deadline=None)
def test_files_that_are_read_as_one_say_what_each_says_alone(files: list[str], lines: bool) -> None:
    found = read_joined([text.encode() for text in files], lines=lines)
    if found is not None:
        rows, counts = alone(files, lines=lines)
        assert found[1] == counts
        assert found[0].select(sorted(found[0].columns)).equals(rows.select(sorted(rows.columns)))
        assert found[0].schema == {name: rows.schema[name] for name in found[0].columns}


@given(rows=st.lists(SAME, min_size=1, max_size=20), lines=st.booleans())
@settings(max_examples=50, deadline=None)
def test_plain_files_are_read_as_one(rows: list[dict[str, Any]], lines: bool) -> None:
    files = [json.dumps(row).encode() for row in rows]
    found = read_joined(files, lines=lines)
    assert found is not None
    assert found[0].to_dicts() == rows
    several = read_joined([b"\n".join(files), json.dumps(rows[0], indent=None if lines else 1).encode()], lines=lines)
    assert several is not None
    assert several[1] == [len(rows), 1]


@pytest.mark.parametrize("ending", ["json", "ndjson"])
def test_a_broken_file_among_many_is_told_alone(folder: Folder, ending: str) -> None:
    for number in range(50):
        folder.put(f"{number:02}.{ending}", json.dumps({"id": number, "n": number / 3}))
    folder.put(f"10.{ending}", '{"id": 10')
    folder.put(f"11.{ending}", '{"id": 10')
    folder.put(f"12.{ending}", '{"id": 12, "n": 1}\n{"id": 13, "n": 1}')
    folder.put(f"13.{ending}", '{\n"id": 13, "more": "x"\n}')
    table = Table()
    taken = table.load(folder.source(metadata=("path", "row")))
    broken = [f"{name}.{ending}" for name in (("10", "11") if ending == "json" else ("10", "11", "13"))]
    assert sorted(taken.rejected["_file_path"]) == broken
    held = taken.rows.filter(pl.col("_file_path") == f"12.{ending}").select("id", "_file_row").rows()
    assert held == [(12, 1), (13, 2)]
    assert taken.rows.height == 51 - len(broken)
    assert table.load(folder.source()).rows.is_empty()
    assert table.load(folder.source()).rejected.is_empty()


def test_declared_types_and_columns_that_are_taken_hold_for_files_read_as_one(folder: Folder) -> None:
    for number in range(3):
        folder.put(f"{number}.json", json.dumps({"id": number, "day": "2024-01-01"}))
    folder.put("3.json", json.dumps({"id": 3, "day": "tomorrow"}))
    source = folder.source(types={"id": "string", "day": "date"})
    taken = Table().load(source)
    assert taken.rows["id"].to_list() == ["0", "1", "2"]
    assert taken.rejected["_file_path"].to_list() == ["3.json"]
    assert Table().load(folder.source(name="{id}.json")).rejected.height == 4
    with pytest.raises(InputError):
        objects("[]x", "a.json")
