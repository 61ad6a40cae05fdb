"""The benchmark runs, and compares ways that make the same table. No test asserts a time."""

from __future__ import annotations

from fuse_dagster_tests.benchmarks.__main__ import report, run


def test_both_ways_make_the_same_table_and_are_measured() -> None:
    found = run(keys=2000, rounds=1)
    assert set(found) == {(way, step) for way in ("History", "MERGE") for step in ("second snapshot", "the same again")}
    assert found["History", "the same again"]["mb"] == 0
    assert "2,000 keys" in report(found, 2000, 1)
