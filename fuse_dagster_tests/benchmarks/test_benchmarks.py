"""The benchmark runs, and compares peers that make the same table. No test asserts a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuse_dagster_tests.benchmarks import landing
from fuse_dagster_tests.benchmarks.__main__ import AGAIN, CHANGES, CLUSTERED, FIRST, SECOND, Plan, median, run
from fuse_dagster_tests.benchmarks.batches import snapshot
from fuse_dagster_tests.benchmarks.overhead import overhead
from fuse_dagster_tests.benchmarks.report import END, START, report, save


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
