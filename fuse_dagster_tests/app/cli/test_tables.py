"""`fuse tables`: looking at tables and maintaining them, for people and for machines."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest

from fuse_dagster.app.cli import exits
from fuse_dagster.app.envelope import Kind
from fuse_dagster.tables import Append, History, Overwrite, write
from fuse_dagster_tests.app.cli.conftest import Fuse, on_a_terminal


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """A plain table of three small files in a folder with a blank, and a history of two snapshots."""
    lake = tmp_path / "lake"
    for day in range(3):
        write(lake / "bronze" / "two words", pl.DataFrame({"day": [day], "tags": [["a"]]}), Append())
    for day in (1, 2):
        batch = pl.DataFrame({"icao": ["EDDB", "LOWW"], "feet": [157, 600 + day]})
        write(lake / "silver" / "airports", batch, History(keys=["icao"], effective_at=dt.date(2024, 1, day)))
    (lake / "silver" / "notes").mkdir()
    (lake / "silver" / "notes" / "a.txt").write_text("no table", encoding="utf-8")
    return lake


def test_the_tables_below_a_folder_are_listed(fuse: Fuse, lake: Path) -> None:
    found = fuse("tables", "list", lake, "--json").result
    said = [(Path(one["uri"]).name, one["rows"], one["files"], one["is_history"]) for one in found["tables"]]
    assert said == [("two words", 3, 3, False), ("airports", 3, 2, True)]
    assert found["damaged"] == []
    shown = fuse("tables", "list", lake).out
    assert "bronze/two words" in shown
    assert "history" in shown


def test_a_damaged_table_does_not_hide_the_others(fuse: Fuse, lake: Path) -> None:
    for entry in (lake / "bronze" / "two words" / "_delta_log").iterdir():
        entry.unlink()
    found = fuse("tables", "list", lake, "--json").result
    assert [Path(one["uri"]).name for one in found["tables"]] == ["airports"]
    assert [Path(one["uri"]).name for one in found["damaged"]] == ["two words"]
    assert "Damaged" in fuse("tables", "list", lake).out


def test_a_folder_without_tables_says_so_and_a_missing_one_is_an_error(fuse: Fuse, lake: Path) -> None:
    assert "No Delta table" in fuse("tables", "list", lake / "silver" / "notes").out
    assert fuse("tables", "list", lake / "gold").code == exits.CODES[Kind.NOT_FOUND]


def test_a_table_is_shown_with_its_columns(fuse: Fuse, lake: Path) -> None:
    found = fuse("tables", "show", lake / "bronze" / "two words", "--json").result
    assert (found["version"], found["rows"], found["files"], found["is_history"]) == (2, 3, 3, False)
    assert [(one["name"], one["type"]) for one in found["columns"]] == [("day", "long"), ("tags", "array<string>")]
    assert found["bytes"] > 0
    assert "history (SCD2)" in fuse("tables", "show", lake / "silver" / "airports").out


def test_what_happened_to_a_table_is_listed_newest_first(fuse: Fuse, lake: Path) -> None:
    found = fuse("tables", "history", lake / "bronze" / "two words", "--json", "-n", "2").result
    assert [one["version"] for one in found] == [2, 1]
    assert all(one["is_ours"] and one["operation"].startswith("WRITE") for one in found)


def test_compaction_is_reported_and_a_dry_run_changes_nothing(fuse: Fuse, lake: Path) -> None:
    address = lake / "bronze" / "two words"
    [dry] = fuse("tables", "compact", address, "--dry-run", "--json").result
    assert dry["report"]["files_removed"] == 3
    assert fuse("tables", "show", address, "--json").result["files"] == 3
    said = fuse("tables", "compact", address, lake / "silver" / "airports")
    assert said.code == exits.OK
    assert "1 of 2 compacted." in said.out
    assert "compact 1/2: " in said.err
    assert fuse("tables", "show", address, "--json").result["files"] == 1


def test_a_terminal_shows_a_bar_and_a_pipe_plain_lines(fuse: Fuse, lake: Path) -> None:
    addresses = [lake / "bronze" / "two words", lake / "silver" / "airports"]
    shown = on_a_terminal("tables", "vacuum", *addresses)
    assert "\u2501" in shown  # a part of the bar
    assert "vacuum 1/2" not in shown
    piped = fuse("tables", "vacuum", *addresses)
    assert [line.partition(":")[0] for line in piped.err.splitlines()] == ["vacuum 1/2", "vacuum 2/2"]


def test_a_vacuum_removes_nothing_unless_told(fuse: Fuse, lake: Path) -> None:
    address = lake / "planes"
    for seats in (55, 182):
        settings = {"delta.deletedFileRetentionDuration": "interval 0 seconds"}
        if seats == 55:
            pl.DataFrame({"seats": [seats]}).write_delta(address, delta_write_options={"configuration": settings})
        else:
            write(address, pl.DataFrame({"seats": [seats]}), Overwrite())
    [listed] = fuse("tables", "vacuum", address, "--json").result
    assert (len(listed["report"]["files"]), listed["report"]["dry_run"]) == (1, True)
    said = fuse("tables", "vacuum", address)
    assert "Nothing was removed; add `--yes`" in said.out
    assert listed["report"]["files"][0] in said.out
    assert len(list(address.glob("*.parquet"))) == 2
    assert "Removed 1 file," in fuse("tables", "vacuum", address, "--yes").out
    assert len(list(address.glob("*.parquet"))) == 1


def test_what_the_table_forbids_is_refused(fuse: Fuse, lake: Path) -> None:
    said = fuse("tables", "vacuum", lake / "silver" / "airports", "--retention-hours", "1", "--json")
    assert said.code == exits.CODES[Kind.CONFIG]
    assert "retention" in said.error["message"]
    assert fuse("tables", "compact", lake / "none").code == exits.CODES[Kind.NOT_FOUND]


@pytest.mark.parametrize("verb", ["compact", "vacuum"])
def test_one_table_that_fails_does_not_stop_the_others(fuse: Fuse, lake: Path, verb: str) -> None:
    addresses = [lake / "silver" / "notes", lake / "bronze" / "two words", lake / "gone"]
    said = fuse("tables", verb, *addresses)
    assert said.code == exits.CODES[Kind.NOT_FOUND]
    assert "2 tables failed" in said.out
    assert said.out.count("failed") == 3, "a row for each, and the sum"
    assert f"Error: `{lake / 'gone'}`: " in said.err
    answer = fuse("tables", verb, *addresses, "--json")
    assert answer.code == said.code
    assert not answer.document["ok"]
    first, second, third = answer.document["result"]
    assert (first["error"]["kind"], third["error"]["kind"]) == ("not_found", "not_found")
    assert second["report"]["seconds"] >= 0 if verb == "compact" else second["report"]["files"] == []
    if verb == "compact":
        assert fuse("tables", "show", addresses[1], "--json").result["files"] == 1


def test_failures_of_several_kinds_have_the_code_of_any_failure(fuse: Fuse, lake: Path) -> None:
    damaged = lake / "bronze" / "two words"
    for entry in (damaged / "_delta_log").iterdir():
        entry.write_text("{")
    said = fuse("tables", "vacuum", damaged, lake / "gone", lake / "silver" / "airports", "--json")
    kinds = {one["error"]["kind"] for one in said.document["result"] if "error" in one}
    assert len(kinds) == 2, said.out
    assert said.code == exits.CODES[Kind.FAILED]
