from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.quality.expectations import (
    Expectation,
    accepted_values,
    fresh,
    history_invariants,
    in_range,
    keeps,
    not_null,
    row_count,
    tracked_columns,
    unique,
)
from fuse_dagster.quality.rules import Rule
from fuse_dagster.tables import History, write

FRAME = pl.LazyFrame(
    {
        "id": [1, 2, 2, None],
        "kind": ["a", "b", None, "zz"],
        "size": [1.0, float("nan"), None, 9.0],
        "day": [date(2024, 1, 1), None, date(2024, 1, 3), date(2024, 1, 2)],
    }
)
TODAY = datetime.now(UTC)


@pytest.mark.parametrize(
    ("expectation", "violations"),
    [
        (not_null("id"), 1),
        (not_null("id", "kind"), 2),
        (not_null("day"), 1),
        (unique("id"), 2),
        (unique("id", "kind"), 0),
        (accepted_values("kind", ["a", "b"]), 1),
        (accepted_values("kind", ["a", "b", "zz"]), 0),
        (in_range("size", minimum=0), 1),
        (in_range("size", maximum=5), 2),
        (in_range("day", minimum=date(2024, 1, 2), maximum=date(2024, 1, 3)), 1),
        (keeps(Rule("known", pl.col("kind").is_not_null())), 1),
        (keeps(Rule("short", "length(kind) < 2")), 2),
        (keeps(Rule("short", "length(kind) < 2", nulls="pass")), 1),
    ],
)
def test_exactly_the_rows_that_break_it_are_counted_and_shown(expectation: Expectation, violations: int) -> None:
    outcome = expectation.evaluate(FRAME)
    assert (outcome.rows, outcome.violations, outcome.samples.height) == (4, violations, violations)
    assert outcome.passed is (violations == 0)


@pytest.mark.parametrize(("minimum", "maximum", "passed"), [(4, 4, True), (5, None, False), (0, 3, False)])
def test_a_row_count_has_two_bounds(minimum: int, maximum: int | None, passed: bool) -> None:
    outcome = row_count(minimum=minimum, maximum=maximum).evaluate(FRAME)
    assert outcome.passed is passed
    assert outcome.said == "4 rows."


@pytest.mark.parametrize(
    ("times", "passed"),
    [([TODAY - timedelta(days=9), TODAY], True), ([TODAY - timedelta(days=9)], False), ([None], False)],
)
def test_freshness_is_that_of_the_newest_value(times: list[Any], passed: bool) -> None:
    frame = pl.LazyFrame({"at": times}, schema={"at": pl.Datetime("us", "UTC")})
    assert fresh("at", within=timedelta(days=1)).evaluate(frame).passed is passed


def test_an_unknown_column_is_an_error_rather_than_a_pass() -> None:
    with pytest.raises(ConfigError, match=r"`not_null_idd` reads an unknown column `idd`. Did you mean `id`"):
        not_null("idd").evaluate(FRAME)


@pytest.mark.parametrize("make", [not_null, unique, lambda: accepted_values("a", []), lambda: in_range("a")])
def test_an_expectation_that_says_nothing_is_refused(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match="says nothing"):
        make()


def at(day: int) -> datetime:
    return datetime(2024, 1, day, tzinfo=UTC)


def broken_by(rows: list[tuple[Any, ...]], history: History) -> list[str]:
    frame = pl.LazyFrame(
        rows,
        schema={
            "k": pl.Int64,
            "v": pl.String,
            "note": pl.String,
            "valid_from": pl.Datetime("us", "UTC"),
            "valid_to": pl.Datetime("us", "UTC"),
            "is_current": pl.Boolean,
        },
        orient="row",
    )
    return [each.name for each in history_invariants(history) if not each.evaluate(frame).passed]


HISTORY = History(keys=["k"], ignore=["note"], effective_at=at(1))
GOOD = [
    (1, "a", "x", at(1), at(3), False),
    (1, "b", "x", at(3), at(5), False),
    (1, "b", "x", at(7), None, True),
    (2, None, "x", at(1), at(2), False),
    (2, "a", "x", at(2), None, True),
]


@pytest.mark.parametrize(
    ("rows", "broken"),
    [
        (GOOD, []),
        ([*GOOD, (2, "c", "x", at(9), None, True)], ["one_open_version_per_key", "no_overlap"]),
        ([*GOOD, (1, "z", "x", at(4), at(6), False)], ["no_overlap"]),
        ([*GOOD, (3, "z", "x", at(4), at(4), False)], ["no_empty_interval"]),
        ([*GOOD, (3, "z", "x", at(4), at(2), False)], ["no_empty_interval"]),
        ([*GOOD, (3, "z", "x", None, at(2), False)], ["no_empty_interval"]),
        ([*GOOD, (3, "z", "x", at(4), None, False)], ["open_is_current"]),
        ([*GOOD, (3, "z", "x", at(1), at(2), False), (3, "z", "y", at(2), None, True)], ["neighbours_differ"]),
        ([*GOOD, (3, None, "x", at(1), at(2), False), (3, None, "y", at(2), None, True)], ["neighbours_differ"]),
    ],
)
def test_each_invariant_of_a_history_is_told_by_its_name(rows: list[tuple[Any, ...]], broken: list[str]) -> None:
    assert broken_by(rows, HISTORY) == broken


def test_what_tables_write_keeps_every_invariant(tmp_path) -> None:  # type: ignore[no-untyped-def]
    uri = str(tmp_path / "h")
    for day, value in ((5, "b"), (1, "a"), (3, "a")):
        mode = History(keys=["k"], effective_at=at(day))
        write(uri, pl.DataFrame({"k": [1, 2], "v": ["same", value]}), mode)
    for each in history_invariants(mode):
        assert each.evaluate(pl.scan_delta(uri)).passed, each.name


def test_a_surrogate_key_is_checked_where_it_is_declared() -> None:
    (expectation,) = (
        each
        for each in history_invariants(History(keys=["k"], surrogate_key="sk"))
        if each.name == "surrogate_key_is_unique"
    )
    assert expectation.evaluate(pl.LazyFrame({"sk": ["a", "b"]})).passed
    assert expectation.evaluate(pl.LazyFrame({"sk": ["a", "b", "a"]})).violations == 2
    assert expectation.evaluate(pl.LazyFrame({"sk": ["a", None]})).violations == 1
    assert "surrogate_key_is_unique" not in [each.name for each in history_invariants(HISTORY)]


def test_what_is_not_tracked_makes_no_version() -> None:
    changes = History(keys=["k"], source="changes", effective_column="at", delete_when="op = 'D'", ignore=["note"])
    columns = ["k", "at", "op", "v", "note", "valid_from", "valid_to", "is_current"]
    assert tracked_columns(changes, columns) == ["v"]
    assert tracked_columns(History(keys=["k"], track=["note"]), columns) == ["note"]
