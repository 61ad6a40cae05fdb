"""Files of a landing folder: each content once, broken ones put aside, types without loss, whatever arrives when."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_dagster import Local
from fuse_dagster.connectors.base import Entry
from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.engines.local.files.delimited import Delimited
from fuse_dagster.engines.local.files.fixed_width import FixedWidth
from fuse_dagster.engines.local.files.texts import Forms
from fuse_dagster.ingest import Position, load
from fuse_dagster.ingest.landing import LandingFiles, NamePattern, arrivals
from fuse_dagster.ingest.landing.parsing import Parser
from fuse_dagster.tables import Append, Overwrite
from fuse_dagster_tests.ingest.landing.folders import Folder, Table


def test_each_content_is_loaded_once_whatever_it_is_called(folder: Folder) -> None:
    table = Table()
    folder.put("a.csv", "id\n007\n")
    folder.put("b.csv", "id\n007\n")
    taken = table.load(folder.source(metadata=("path",)))
    assert taken.rows.to_dicts() == [{"id": "007", "_file_path": "a.csv"}]
    assert "`b.csv` has the content of `a.csv`, and is loaded once." in taken.reading.notes
    assert table.load(folder.source()).rows.is_empty()
    folder.put("c.csv", "id\n007\n")
    (folder.root / "a.csv").touch()
    assert table.load(folder.source()).rows.is_empty()
    folder.put("a.csv", "id\n8\n")
    assert table.load(folder.source()).rows.to_dicts() == [{"id": "8"}]


@pytest.mark.parametrize("after", ["keep", "move"])
def test_a_first_load_of_broken_files_only_is_repeated_and_loses_nothing(
    folder: Folder, tmp_path: Path, after: Any
) -> None:
    """There is no table yet that could remember it."""
    table = tmp_path / "table"

    def aside() -> list[str]:
        return sorted(pl.read_delta(f"{table}__rejected")["_file_path"])

    folder.put("a.csv", "id,n\n1\n")
    for _ in range(2):
        done = load(folder.source(after=after), table, Append())
        assert (done.rows, done.after, done.written.table_version) == (0, None, -1)
        assert aside() == ["a.csv"]
    assert not table.exists()
    folder.put("b.csv", "id,n\n1,2\n")
    assert load(folder.source(after=after), table, Append()).rows == 1
    assert load(folder.source(after=after), table, Append()).rejected == 0, "now it is remembered"
    assert aside() == ["a.csv"]
    assert pl.read_delta(str(table))["id"].to_list() == [1]


def test_content_that_changes_under_the_same_size_and_time_is_seen(folder: Folder) -> None:
    table = Table()
    folder.put("a.csv", "id\n1\n")
    folder.age("a.csv", 3600)
    modified = (folder.root / "a.csv").stat().st_mtime
    table.load(folder.source())
    folder.put("a.csv", "id\n2\n")
    folder.age("a.csv", (folder.root / "a.csv").stat().st_mtime - modified)
    assert table.load(folder.source()).rows.to_dicts() == [{"id": 2}]


def test_what_is_still_being_written_waits(folder: Folder) -> None:
    for name in ("a.csv.part", ".b.csv", "c.csv", "d.csv"):
        folder.put(name, "id\n1\n")
    folder.age("d.csv", 60)
    found = arrivals(folder.source(settle=5))
    assert [entry.path for entry in found.ready] == ["d.csv"]
    assert {one.entry.path: one.reason for one in found.waiting} == {
        "a.csv.part": "its name says that it is still being written",
        ".b.csv": "its name says that it is still being written",
        "c.csv": "it changed less than 5 seconds ago and may still grow",
    }
    later = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=6)
    assert [entry.path for entry in arrivals(folder.source(settle=5), now=later).ready] == ["c.csv", "d.csv"]


def test_a_marker_says_that_a_file_is_complete_and_goes_with_it(folder: Folder) -> None:
    table, source = Table(), folder.source(marker="{name}.done", after="move")
    folder.put("a.csv", "id\n1\n")
    assert table.load(source).rows.is_empty()
    folder.put("a.csv.done", "")
    assert table.load(source).rows.height == 1
    assert folder.names() == ["_done/a.csv"]
    folder.put("a.csv", "id\n2\n")
    assert table.load(source).rows.is_empty()
    whole = folder.source(marker="_SUCCESS")
    folder.put("_SUCCESS", "")
    assert [entry.path for entry in arrivals(whole).ready] == ["a.csv"]


class Growing(Local):
    """A folder in which a file grows while it is read."""

    def read_whole(self, path: str, most: int) -> bytes:
        with Path(self.uri(*path.split("/"))).open("ab") as file:
            file.write(b"2\n")
        return super().read_whole(path, most)


class Grown(Local):
    """A folder in which a file grows right after it was read."""

    def read_whole(self, path: str, most: int) -> bytes:
        data = super().read_whole(path, most)
        with Path(self.uri(*path.split("/"))).open("ab") as file:
            file.write(b"2\n")
        return data


@pytest.mark.parametrize("kind", [Growing, Grown])
def test_a_file_that_grows_while_it_is_read_is_left_for_later(folder: Folder, kind: type[Local]) -> None:
    folder.put("a.csv", "id\n1\n")
    table = Table()
    source = LandingFiles(connector=kind(root=str(folder.root)), settle=0.001)
    taken = table.load(source)
    assert taken.rows.is_empty()
    assert any("changed while it was read" in note for note in taken.reading.notes)
    assert table.load(folder.source()).rows["id"].to_list() == [1, 2]


def test_broken_files_are_put_aside_once_and_the_others_go_on(folder: Folder) -> None:
    table = Table()
    folder.put("a.csv", "id,n\n1,2\n")
    folder.put("b.csv", "id,n\n1\n")
    folder.put("c.csv.gz", gzip.compress(b"id,n\n3,4\n")[:-3])
    folder.put("d.json", '{"id": 5')
    folder.put("e.dat", "x")
    folder.put("f.csv", "id,n\n6,\xff\n".encode("latin-1"))
    taken = table.load(folder.source())
    assert taken.rows.to_dicts() == [{"id": 1, "n": 2}]
    reasons = dict(zip(taken.rejected["_file_path"], taken.rejected["_rejection_reasons"], strict=True))
    for path, says in {
        "b.csv": "row 1",
        "c.csv.gz": "cut off",
        "d.json": "JSON",
        "f.csv": "no utf-8 at byte 7",
    }.items():
        assert says in reasons[path][0]
    assert set(reasons) == {"b.csv", "c.csv.gz", "d.json", "e.dat", "f.csv"}
    assert table.load(folder.source()).rejected.is_empty()
    again = table.load(folder.source(layout=Delimited(encoding="latin-1", bad_rows="reject"), include=("*.csv",)))
    assert again.rows.to_dicts() == [{"id": 6, "n": "ÿ"}]
    assert again.rejected.drop("_file_hash").to_dicts() == [
        {
            "_file_path": "b.csv",
            "_file_row": 1,
            "_text": "1",
            "_rejection_reasons": ["1 columns where the header has 2"],
        }
    ]


def test_a_big_file_that_breaks_at_its_end_brings_no_row(folder: Folder) -> None:
    rows = b"1," + b"x" * 1000 + b"\n"
    folder.put("a.csv", b"id,n\n" + rows * 10_000 + b"3\n")
    folder.put("b.csv", b"id,n\n" + rows * 10_000)
    taken = Table().load(folder.source(include=("a.csv",)))
    assert (taken.rows.height, taken.rejected.height) == (0, 1)
    with folder.source().read(None) as reading:
        assert sum(batch.num_rows for batch in reading.batches()) == 10_000


def test_names_and_facts_of_files_become_columns(folder: Folder) -> None:
    folder.put("in/AA_20240229.csv", "id\n1\n2\n")
    folder.put("in/AA_20240230.csv", "id\n3\n")
    folder.put("in/readme.csv", "id\n4\n")
    source = folder.source(
        folder="in", name="{carrier}_{day:%Y%m%d}.csv", metadata=("path", "size", "modified", "hash", "row", "member")
    )
    taken = Table().load(source)
    row = taken.rows.to_dicts()[1]
    assert row.pop("_file_modified").tzinfo is not None
    assert len(row.pop("_file_hash")) == 64
    assert row == {
        "id": 2, "carrier": "AA", "day": dt.date(2024, 2, 29), "_file_path": "in/AA_20240229.csv",
        "_file_member": "", "_file_size": 7, "_file_row": 2,
    }  # fmt: skip
    assert ["`20240230`, which is no" in reason[0] for reason in taken.rejected["_rejection_reasons"]] == [True, False]


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("{a}_{b}.csv", "x_y_z.csv", {"a": "x", "b": "y_z"}),
        ("{n:int}.csv", "007.csv", {"n": 7}),
        ("{at:%Y-%m-%dT%H%M}.csv", "2024-01-01T0130.csv", {"at": dt.datetime.fromisoformat("2024-01-01T01:30")}),
        ("{at:%Y%m%dT%H%M%z}.csv", "20240101T0130+0000.csv", {"at": dt.datetime(2024, 1, 1, 1, 30, tzinfo=dt.UTC)}),
        ("{year:int}/{a}.csv", "2024/x.csv", {"year": 2024, "a": "x"}),
        ("{a}.csv", "2024/x.csv", {"a": "x"}),
        ("a+[{n:int}].csv", "a+[1].csv", {"n": 1}),
    ],
)
def test_name_patterns_are_strict(pattern: str, path: str, expected: dict[str, Any]) -> None:
    assert NamePattern(pattern).read(path) == expected
    with pytest.raises(InputError, match="does not follow"):
        NamePattern(pattern).read("other.txt")


def test_columns_come_in_any_order_and_types_hold_all_files(folder: Folder) -> None:
    folder.put("a.csv", "id,n,when,none\n1,1,2024-01-01,\n")
    folder.put("b.csv", "n,id,more\n2.5,007,x\n")
    folder.put("c.json", '[{"id": "9", "n": 3, "when": "2024-01-02"}]')
    rows = Table().load(folder.source()).rows
    assert rows.schema == {
        "id": pl.String(), "n": pl.Float64(), "when": pl.String(), "none": pl.Null(), "more": pl.String(),
    }  # fmt: skip
    assert rows["id"].to_list() == ["1", "007", "9"]
    assert rows["when"].to_list() == ["2024-01-01", None, "2024-01-02"]


def test_the_types_of_loads_before_are_kept_where_they_hold_the_values(folder: Folder) -> None:
    table = Table()
    folder.put("a.csv", "id,n,m\n007,1.5,1\n")
    table.load(folder.source())
    folder.put("b.csv", "id,n,m\n8,2,x\n")
    assert table.load(folder.source()).rows.schema == {"id": pl.String(), "n": pl.Float64(), "m": pl.String()}


def test_declared_types_are_kept_strictly_in_every_format(folder: Folder) -> None:
    folder.put("a.csv", "id;n;day\n007;1.234,50;31.12.2024\n")
    folder.put("b.csv", "id;n;day\n7;x;31.12.2024\n")
    source = folder.source(
        include=("*.csv",),
        layout=Delimited(separator=";"),
        types={"id": "int64", "n": "decimal(10, 2)", "day": "date", "gone": "string"},
        forms=Forms(decimal=",", thousands=".", times={"day": "%d.%m.%Y"}),
    )
    taken = Table().load(source)
    assert taken.rows.cast({"n": pl.String}).to_dicts() == [
        {"id": 7, "n": "1234.50", "day": dt.date(2024, 12, 31), "gone": None}
    ]
    assert "`n` is `x`, which is no decimal(10, 2)" in taken.rejected["_rejection_reasons"][0][0]
    for number, value in enumerate(["2024-01-01", "no day", 7]):
        folder.put(f"{number}.json", json.dumps({"day": value}))
    taken = Table().load(folder.source(include=("*.json",), types={"day": "date"}))
    assert taken.rows["day"].to_list() == [dt.date(2024, 1, 1)]
    assert sorted(taken.rejected["_file_path"]) == ["1.json", "2.json"]


def test_files_with_types_of_their_own_widen_or_are_put_aside(folder: Folder) -> None:
    folder.root.mkdir()
    pl.DataFrame({"n": [1]}, schema={"n": pl.Int32}).write_parquet(folder.root / "a.parquet")
    pl.DataFrame({"n": [2**40]}).write_parquet(folder.root / "b.parquet")
    pl.DataFrame({"n": ["x"]}).write_parquet(folder.root / "c.parquet")
    (folder.root / "d.parquet").write_bytes((folder.root / "a.parquet").read_bytes()[:-5])
    pl.DataFrame({"n": [3]}).write_excel(folder.root / "e.xlsx")
    pl.DataFrame({"n": [4]}).write_avro(folder.root / "f.avro")
    taken = Table().load(folder.source())
    assert taken.rows["n"].to_list() == [1, 2**40, 3, 4]
    assert taken.rejected["_file_path"].to_list() == ["c.parquet", "d.parquet"]


def test_archives_and_fixed_width_land_with_their_members(folder: Folder) -> None:
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as archive:
        archive.writestr("x/a.txt", "AA0001\n")
        archive.writestr("b.txt", "BB0002\n")
    folder.put("a.zip", kept.getvalue())
    layout = FixedWidth(columns="carrier:1-2; number:3-6:int64")
    taken = Table().load(folder.source(layout=layout, metadata=("path", "member", "row")))
    assert [tuple(row.values()) for row in taken.rows.to_dicts()] == [
        ("BB", 2, "a.zip", "b.txt", 1),
        ("AA", 1, "a.zip", "x/a.txt", 1),
    ]


def test_a_column_that_the_name_or_metadata_says_already_breaks_the_file(folder: Folder) -> None:
    folder.put("AA.csv", "carrier\nBB\n")
    taken = Table().load(folder.source(name="{carrier}.csv"))
    assert "its name or the metadata are to say" in taken.rejected["_rejection_reasons"][0][0]
    folder.put("AA.csv", "_file_path\nBB\n")
    assert Table().load(folder.source(metadata=("path",))).rows.is_empty()


def test_limits_leave_the_rest_for_the_next_load_in_order(folder: Folder) -> None:
    for number, name in enumerate(["c", "b", "a"]):
        folder.put(f"{name}.csv", f"id\n{number}\n")
        folder.age(f"{name}.csv", 100 - number)
    by_time, by_name = Table(), Table()
    assert by_time.load(folder.source(order="modified", most_files=2)).rows["id"].to_list() == [0, 1]
    assert by_time.load(folder.source(order="modified", most_files=2)).rows["id"].to_list() == [2]
    assert by_name.load(folder.source(most_bytes=1)).rows["id"].to_list() == [2]
    assert by_name.load(folder.source(most_bytes=10)).rows["id"].to_list() == [1, 0]


def test_broken_files_take_up_no_room_of_the_limit(folder: Folder) -> None:
    table = Table()
    for number in range(5):
        folder.put(f"a{number}.csv", f"id\n1,{number}\n")
    folder.put("b.csv", "id\n1\n")
    assert table.load(folder.source(most_files=2)).rows.height == 1
    folder.put("c.csv", "id\n2\n")
    assert table.load(folder.source(most_files=1)).rows.height == 1


@pytest.mark.parametrize("same_name", ["load", "refuse", "replace"])
def test_new_content_under_a_name_that_was_loaded(folder: Folder, tmp_path: Path, same_name: Any) -> None:
    source = folder.source(same_name=same_name, metadata=("path",))
    mode = Overwrite(replace_keys=["_file_path"]) if same_name == "replace" else Append()
    for content in ("id\n1\n", "id\n2\n", "id\n1\n"):
        folder.put("a.csv", content)
        found = load(source, tmp_path / "table", mode)
    held = pl.read_delta(str(tmp_path / "table"))["id"].sort().to_list()
    assert held == {"load": [1, 2], "refuse": [1], "replace": [1]}[same_name]
    assert found.rejected == 0


def test_a_full_refresh_reads_what_was_moved_and_refuses_what_was_deleted(folder: Folder, tmp_path: Path) -> None:
    source = folder.source(after="move", name="{n:int}.csv", metadata=("path",))
    for content in ("id\n1\n", "id\n2\n"):
        folder.put("7.csv", content)
        load(source, tmp_path / "table", Append())
    assert len(folder.names()) == 2
    load(source, tmp_path / "table", Append(), full_refresh=True)
    held = pl.read_delta(str(tmp_path / "table")).sort("id").rows()
    assert held == [(1, 7, "7.csv"), (2, 7, "7.csv")]
    with pytest.raises(ConfigError, match="would lose their rows"):
        load(folder.source(after="delete"), tmp_path / "table", Append(), full_refresh=True)


class Counting(Local):
    """A folder that counts what is opened."""

    def read_whole(self, path: str, most: int) -> bytes:
        OPENED.append(path)
        return super().read_whole(path, most)


OPENED: list[str] = []


def test_broken_files_that_stay_are_not_read_again_until_the_declaration_changes(folder: Folder) -> None:
    for name in ("a.csv", "b.csv"):
        folder.put(name, "id\n1,2\n")
    folder.put("c.json", "{")
    table, connector = Table(), Counting(root=str(folder.root))
    OPENED.clear()
    taken = table.load(LandingFiles(connector=connector, settle=0))
    assert taken.rejected["_file_path"].to_list() == ["a.csv", "b.csv", "c.json"]
    assert OPENED == ["a.csv", "b.csv", "c.json"]
    again = table.load(LandingFiles(connector=connector, settle=0))
    assert OPENED == ["a.csv", "b.csv", "c.json"]
    assert len(again.reading.notes) == 3
    changed = LandingFiles(connector=connector, settle=0, layout=Delimited(bad_rows="reject"), include=("*.csv",))
    assert table.load(changed).rejected.height == 1
    assert OPENED[3:] == ["a.csv", "b.csv"]
    (folder.root / "a.csv").touch()
    assert table.load(LandingFiles(connector=connector, settle=0)).rejected.is_empty()
    assert OPENED[5:] == ["a.csv"]


def test_broken_files_of_a_store_without_versions_are_known_by_content_and_not_parsed_again(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Plain(Local):
        """A folder that tells no versions."""

        def list(self, prefix: str = "") -> Any:
            return (replace(one, version="") for one in super().list(prefix))

    folder.put("a.csv", "id\n1,2\n")
    folder.put("b.json", "{")
    table, source = Table(), LandingFiles(connector=Plain(root=str(folder.root)), settle=0)
    assert table.load(source).rejected.height == 2
    parsed: list[str] = []
    monkeypatch.setattr(Parser, "parse", lambda _, one, __: parsed.append(one.entry.path) or [])
    again = table.load(source)
    assert parsed == []
    assert again.rejected.is_empty()
    assert [note.partition(" is broken")[0] for note in again.reading.notes] == ["`a.csv`", "`b.json`"]
    folder.put("a.csv", "id\n1,3\n")
    table.load(source)
    assert parsed == ["a.csv"]


def test_what_is_kept_on_the_disk_has_no_name_that_a_kill_could_leave(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    folder.put("a.csv", b"id,n\n" + (b"1," + b"x" * 1000 + b"\n") * 9_000)
    with folder.source().read(None) as reading:
        assert sum(batch.num_rows for batch in reading.batches()) == 9_000
        assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"after": "moved"}, "`after` is `moved`. Did you mean `move`"),
        ({"same_name": "replace"}, 'needs the path in a column. Add `metadata=\\("path",\\)`'),
        ({"metadata": ("pth",)}, "Did you mean `path`"),
        ({"include": "*.csv"}, "`include` is text. Give a tuple"),
        ({"name": "a.csv"}, "has no field"),
        ({"name": "{a}_{a}.csv"}, "`a` twice"),
        ({"name": "{a}.csv", "types": {"a": "int64"}}, "columns of the files and of their names"),
        ({"types": {"a": "int46"}}, "no type"),
        ({"most_files": 0, "settle": -1}, "(?s)from 1 on.*from 0 on"),
    ],
)
def test_declarations_that_can_not_be_are_refused(folder: Folder, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        folder.source(**options)
    with pytest.raises(ConfigError, match="does not list and read"):
        LandingFiles(connector=object())
    with pytest.raises(InputError, match="is no position"), folder.source().read(Position(value={"n": 1}, said="1")):
        pass


def test_a_listing_without_versions_is_read_and_not_believed(folder: Folder) -> None:
    class Plain(Local):
        def list(self, prefix: str = "") -> Any:
            for entry in super().list(prefix):
                yield Entry(path=entry.path, size=entry.size, modified=entry.modified)

    folder.put("a.csv", "id\n1\n")
    table, source = Table(), LandingFiles(connector=Plain(root=str(folder.root)), settle=0)
    assert table.load(source).rows.height == 1
    assert not any(said.startswith("stamp:") for said in table.ids)
    assert table.load(source).rows.is_empty()


NAMES = st.sampled_from(["a.csv", "b.csv", "c.json", "d/e.csv"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, st.integers(0, 4)),
        st.tuples(st.just("break"), NAMES, st.integers(0, 1)),
        st.tuples(st.just("load"), st.sampled_from(["", "before", "after"]), st.integers(1, 3)),
    ),
    max_size=14,
)


@given(steps=STEPS, after=st.sampled_from(["keep", "move", "delete"]))
@settings(max_examples=60, deadline=None)
def test_any_order_of_arrivals_and_crashes_brings_every_content_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any], after: str
) -> None:
    folder, table = Folder(tmp_path_factory.mktemp("landing")), Table()
    expected: set[tuple[str, int]] = set()
    for step in [*steps, ("load", "", 10)]:
        match step:
            case ("put", name, number):
                kind = name.rpartition(".")[2]
                folder.put(
                    name, f"kind,n\n{kind},{number}\n" if kind == "csv" else f'{{"kind": "json", "n": {number}}}'
                )
            case ("break", name, number):
                folder.put(name, ["x,y\n1\n", ""][number])
            case ("load", crash, most):
                found = table.load(folder.source(after=after, most_files=most), crash=crash).rows.to_dicts()
                if crash != "before":
                    expected |= {(row["kind"], row["n"]) for row in found}
    for name in folder.names():
        if name.startswith("_") or (folder.root / name).read_text() in ("x,y\n1\n", ""):
            continue
        text = (folder.root / name).read_text()
        expected.add(("json", json.loads(text)["n"]) if name.endswith("json") else ("csv", int(text[11:])))
    held = Counter((row["kind"], row["n"]) for row in table.rows)
    assert held == Counter(expected)
    put = {("json" if name.endswith("json") else "csv", n) for what, name, n in steps if what == "put"}
    assert expected <= put
