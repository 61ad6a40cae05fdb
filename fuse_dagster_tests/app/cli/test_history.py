"""`fuse history`: asking histories, and their care, which looks first and acts on `--yes`."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from fuse_dagster.app.cli import exits
from fuse_dagster.app.envelope import Kind
from fuse_dagster.tables import Append, History, current, write
from fuse_dagster_tests.app.cli.conftest import Fuse

DAYS = {1: [157, 600], 2: [158, 600], 3: [158, 601]}


def _batch(day: int) -> pl.DataFrame:
    return pl.DataFrame({"icao": ["EDDB", "LOWW"], "feet": DAYS[day]})


@pytest.fixture
def airports(tmp_path: Path) -> Path:
    """A history of three snapshots, in a zone, with a name of its own for a column."""
    table = tmp_path / "airports"
    for day in DAYS:
        mode = History(keys=["icao"], effective_at=dt.date(2024, 1, day), timezone="Europe/Vienna", valid_from="since")
        write(table, _batch(day), mode)
    return table


def _feet(rows: list[dict[str, object]]) -> dict[object, object]:
    return {row["icao"]: row["feet"] for row in rows}


def test_what_held_at_a_moment_is_shown_with_dates_in_the_zone_of_the_history(fuse: Fuse, airports: Path) -> None:
    found = fuse("history", "as-of", airports, "2024-01-02", "--json").result
    assert _feet(found["rows"]) == {"EDDB": 158, "LOWW": 600}
    earlier = fuse("history", "as-of", airports, "2024-01-01T22:59:59Z", "--json").result  # one second before
    assert _feet(earlier["rows"]) == {"EDDB": 157, "LOWW": 600}
    local = fuse("history", "as-of", airports, "2024-01-02T00:00:00", "--json").result
    assert _feet(local["rows"]) == {"EDDB": 158, "LOWW": 600}
    assert "as of 2024-01-01T23:00:00+00:00" in fuse("history", "as-of", airports, "2024-01-02").out


def test_what_holds_now_is_narrowed(fuse: Fuse, airports: Path) -> None:
    found = fuse("history", "current", airports, "--where", "feet > 200", "--columns", "icao", "--json").result
    assert found["rows"] == [{"icao": "LOWW"}]
    assert "First 1 of 2 rows" in fuse("history", "current", airports, "-n", "1").out


def test_changes_need_no_keys_because_the_history_knows_them(fuse: Fuse, airports: Path) -> None:
    found = fuse("history", "changes", airports, "2024-01-02", "--until", "2024-01-03", "--json").result
    assert [(row["change"], row["icao"], row["feet"]) for row in found["rows"]] == [("update", "EDDB", 158)]
    swapped = fuse("history", "changes", airports, "2024-01-03", "--until", "2024-01-02")
    assert swapped.code == exits.CODES[Kind.CONFIG]


def test_snapshots_are_listed(fuse: Fuse, airports: Path) -> None:
    found = fuse("history", "snapshots", airports, "--json").result
    assert [row["effective_at"] for row in found] == [
        "2023-12-31T23:00:00+00:00",
        "2024-01-01T23:00:00+00:00",
        "2024-01-02T23:00:00+00:00",
    ]


def test_a_snapshot_is_retracted_only_when_told(fuse: Fuse, airports: Path) -> None:
    looked = fuse("history", "retract", airports, "2024-01-03")
    assert "Nothing was done; add `--yes`" in looked.out
    assert _feet(current(airports).collect().to_dicts())["LOWW"] == 601
    done = fuse("history", "retract", airports, "2024-01-03", "--yes", "--json").result
    assert (done["updated"], done["unchanged"]) == (1, 1)
    assert _feet(current(airports).collect().to_dicts())["LOWW"] == 600
    for flags in ([], ["--yes"]):
        again = fuse("history", "retract", airports, "2024-01-03", "--json", *flags)
        assert again.code == exits.CODES[Kind.INPUT]
        assert "2024-01-01T23:00:00+00:00" in again.error["message"]


def test_what_others_did_is_told_with_what_to_do(fuse: Fuse, airports: Path) -> None:
    assert fuse("history", "foreign", airports, "--json").result == []
    DeltaTable(airports).delete("icao = 'LOWW'")
    [told] = fuse("history", "foreign", airports, "--json").result
    assert (told["operation"], told["is_harmless"]) == ("DELETE", False)
    said = fuse("history", "foreign", airports)
    assert "fuse history rebuild" in said.out
    assert "icao" not in said.out


@pytest.mark.parametrize("verb", ["as-of", "changes", "retract"])
def test_other_tables_are_refused(fuse: Fuse, tmp_path: Path, verb: str) -> None:
    write(tmp_path / "t", pl.DataFrame({"a": [1]}), Append())
    assert fuse("history", verb, tmp_path / "t", "2024-01-01").code in {
        exits.CODES[Kind.CONFIG],
        exits.CODES[Kind.STATE],
    }
    assert fuse("history", verb, tmp_path / "none", "2024-01-01").code == exits.CODES[Kind.NOT_FOUND]


def test_a_table_of_others_is_adopted_after_a_look(fuse: Fuse, tmp_path: Path) -> None:
    theirs = pl.DataFrame(
        {
            "icao": ["EDDB", "EDDB"],
            "feet": [157, 158],
            "start": [dt.date(2024, 1, 1), dt.date(2024, 1, 3)],
            "end": [dt.date(2024, 1, 2), dt.date(9999, 12, 31)],
            "row_hash": ["a", "b"],
        }
    )
    table = tmp_path / "theirs"
    theirs.write_delta(table)
    words = ["--keys", "icao", "--rename", "start=valid_from", "--rename", "end=valid_to", "--drop", "row_hash"]
    words += ["--ends", "9999-12-31", "--closed-intervals", "both", "--step", "1d"]
    looked = fuse("history", "adopt", table, *words)
    assert "Nothing was written; add `--yes`" in looked.out
    assert DeltaTable(table).version() == 0
    report = fuse("history", "adopt", table, *words, "--yes", "--json").result
    assert (report["version"], report["open_versions"], report["gaps"]) == (1, 1, 0)
    assert fuse("history", "current", table, "--json").result["rows"][0]["feet"] == 158
    assert fuse("history", "adopt", table, *words, "--yes").code == exits.CODES[Kind.STATE]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--keys", "icao", "--rename", "start"],
        ["--keys", "icao", "--step", "soon"],
        ["--keys", "icao", "--ends", "never"],
    ],
)
def test_a_declaration_that_is_none_is_a_wrong_command_line(fuse: Fuse, tmp_path: Path, words: list[str]) -> None:
    pl.DataFrame({"icao": ["EDDB"]}).write_delta(tmp_path / "t")
    assert fuse("history", "adopt", tmp_path / "t", *words).code == exits.CODES[Kind.USAGE]


@pytest.fixture
def landing(tmp_path: Path) -> list[Path]:
    """The batches as files of text, named by their day."""
    found = []
    for day in DAYS:
        found.append(tmp_path / f"airports_2024010{day}.csv")
        _batch(day).write_csv(found[-1])
    return found


def test_a_history_is_rebuilt_from_files_after_a_look(fuse: Fuse, airports: Path, landing: list[Path]) -> None:
    words = ["history", "rebuild", airports, *landing, "--time-format", "airports_%Y%m%d.csv"]
    same = fuse(*words, "--json")
    assert same.result["is_equal"]
    assert "read 3/3" in same.err
    DeltaTable(airports).update(updates={"feet": "999"}, predicate="icao = 'LOWW'")
    looked = fuse(*words)
    assert "Nothing was written; add `--yes`" in looked.out
    assert "Only in the table:" in looked.out
    done = fuse(*words, "--yes", "--json").result
    assert done["only_in_table"] == done["only_in_rebuilt"] > 0
    assert _feet(fuse("history", "current", airports, "--json").result["rows"]) == {"EDDB": 158, "LOWW": 601}


def test_what_is_missing_among_the_batches_is_said(fuse: Fuse, airports: Path, landing: list[Path]) -> None:
    found = fuse("history", "rebuild", airports, *landing[:2], "--time-format", "airports_%Y%m%d.csv", "--json").result
    assert found["forgotten"] == ["2024-01-02T23:00:00+00:00"]


def test_a_lost_memory_needs_the_keys_again(fuse: Fuse, airports: Path, landing: list[Path]) -> None:
    for file in (airports / "_fuse").iterdir():
        file.unlink()
    words = ["history", "rebuild", airports, *landing, "--time-format", "airports_%Y%m%d.csv"]
    said = fuse(*words)
    assert (said.code, "--keys" in said.err) == (exits.CODES[Kind.USAGE], True)
    found = fuse(*words, "--keys", "icao", "--timezone", "Europe/Vienna", "--json").result
    assert "_fuse" in found["memory_problem"]


def test_a_batch_that_can_not_be_read_stops_it(fuse: Fuse, airports: Path, landing: list[Path]) -> None:
    words = ["history", "rebuild", airports, *landing, "--time-format", "airports_%Y%m%d.csv", "--yes"]
    version = DeltaTable(airports).version()
    landing[1].write_text("icao,feet\nEDDB,high\n", encoding="utf-8")
    said = fuse(*words, "--json")
    assert (said.code, said.error["kind"]) == (exits.CODES[Kind.INPUT], "input")
    misnamed = fuse("history", "rebuild", airports, *landing, "--time-format", "planes_%Y.csv", "--json")
    assert "planes_%Y.csv" in misnamed.error["message"]
    assert DeltaTable(airports).version() == version


def test_a_feed_of_changes_is_rebuilt_by_its_column(fuse: Fuse, tmp_path: Path) -> None:
    at = [dt.datetime(2024, 1, day, tzinfo=dt.UTC) for day in (1, 2)]
    pl.DataFrame({"key": [1, 1], "cents": [5, 6], "at": at}).write_parquet(tmp_path / "feed.parquet")
    words = ["--keys", "key", "--source", "changes", "--effective-column", "at", "--yes", "--json"]
    found = fuse("history", "rebuild", tmp_path / "t", tmp_path / "feed.parquet", *words).result
    assert (found["version"] is not None, found["rows_total"]) == (True, 2)
