"""The benchmark runs, and compares peers that make the same table. No test asserts a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuse_dagster_tests.benchmarks import landing, loading, pages, quiet, sources
from fuse_dagster_tests.benchmarks.__main__ import AGAIN, CHANGES, CLUSTERED, FIRST, SECOND, Plan, median, run
from fuse_dagster_tests.benchmarks.batches import snapshot
from fuse_dagster_tests.benchmarks.overhead import overhead
from fuse_dagster_tests.benchmarks.report import END, START, report, save
from fuse_dagster_tests.servers.postgres import PostgresServer


@pytest.mark.slow
def test_all_peers_make_the_same_table_and_are_measured(tmp_path: Path) -> None:
    found = run(Plan(2000, ["ours", "limit", "merge"], 1, many=False))
    steps = {FIRST, SECOND, AGAIN, CHANGES, CLUSTERED}
    assert set(found) == {(2000, peer, step) for peer in ("ours", "limit", "merge") for step in steps}
    assert found[2000, "ours", AGAIN][0]["files"] == 0
    assert found[2000, "ours", AGAIN][0]["mb"] == 0
    medians = {case: median(rounds) for case, rounds in found.items()}
    (tmp_path / "images").mkdir()
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{START}\nold\n{END}\nafter")
    save(report(medians, {}, 1), medians, tmp_path)
    assert "| 2,000 | second snapshot | History |" in page.read_text()
    assert "old" not in page.read_text()
    assert "<svg" in (tmp_path / "images" / "benchmarks.svg").read_text()


def test_a_snapshot_changes_gains_and_loses_the_stated_parts() -> None:
    for number in (1, 2, 49):
        before, after = snapshot(10_000, number - 1), snapshot(10_000, number)
        both = before.join(after, on="id")
        assert len(after.join(before, on="id", how="anti")) == 100
        assert len(before.join(after, on="id", how="anti")) == 100
        assert 400 < both.filter(both["name"] != both["name_right"]).height < 600  # which of them go varies


def test_an_append_is_measured_in_a_real_run() -> None:
    assert all(seconds > 0 for seconds in overhead(1, rows=1000).values())


def test_small_files_are_read_as_one_would_read_them() -> None:
    found = landing.measure(300)
    assert {name: len(seconds) for name, seconds in found.items()} == dict.fromkeys(landing.WAYS, 1)
    text = report({}, {}, 1, [landing.rows_of(found, 300)])
    assert "| LandingFiles |" in text
    assert "300 small JSON files" in text


@pytest.mark.slow
def test_sources_and_sinks_are_measured_beside_their_peers(tmp_path: Path, postgres: PostgresServer) -> None:
    given = loading.address(postgres, postgres.database("bench"))
    postgres.sql(f"CREATE TABLE {loading.TABLE} AS SELECT id FROM generate_series(1, 1000) id", given["database"])
    found = loading.measure(given, 1000, 1, {loading.OURS: 1, loading.ADBC: 1})
    assert all(row["seconds"] > 0 for rows in found.values() for row in rows)
    nothing_new = quiet.measure(given, loading.TABLE, tmp_path, commits=2, rounds=1)
    assert set(nothing_new) == set(quiet.MODES)


def test_pages_are_measured_up_to_the_limit() -> None:
    found = pages.measure(3, 0.01, (1, 2), 1)
    assert {limit: rows[0]["at once"] for limit, rows in found.items()} == {1: 1, 2: 2}


def test_what_was_measured_comes_between_its_marks(tmp_path: Path) -> None:
    rounds = {"ours": [{"s": 1.0}, {"s": 3.0}, {"s": 4.0}], "theirs": [{"s": 2.0}, {"s": 2.0}]}
    said = sources.table("way", rounds, {"s": lambda one: one["s"]}, base="ours", of="s")
    assert said.splitlines()[2:] == ["| ours | 3.00 | 1.00 | 3 |", "| theirs | 2.00 | 1.33 | 2 |"]
    page = tmp_path / "page.md"
    page.write_text("a <!-- measured: quiet --> old <!-- /measured: quiet --> b")
    sources.put("quiet", said, page)
    assert page.read_text().startswith("a <!-- measured: quiet -->\n| way |")
    assert "old" not in page.read_text()
