from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.quality.rules import REASONS, Rule, split

POSITIVE = Rule("positive", pl.col("a") > 0)
SMALL = Rule("small", "a < 10 AND b IS NOT NULL", nulls="pass")


def test_a_row_lists_exactly_the_rules_it_breaks_in_their_order() -> None:
    frame = pl.DataFrame({"a": [1, 0, 20, -1], "b": ["x", "x", "x", None]})
    parts = split(frame, [POSITIVE, SMALL])
    assert parts.valid.equals(frame[:1])
    assert parts.rejected.drop(REASONS).equals(frame[1:])
    assert parts.rejected[REASONS].to_list() == [["positive"], ["small"], ["positive", "small"]]
    assert parts.violations == {"positive": 2, "small": 2}


@given(st.lists(st.one_of(st.none(), st.integers(-3, 12)), max_size=20))
def test_every_row_is_in_one_part_whatever_the_nulls(values: list[int | None]) -> None:
    frame = pl.DataFrame({"a": values, "n": range(len(values))}, schema={"a": pl.Int64, "n": pl.Int64})
    for nulls, null_is_good in (("violate", False), ("pass", True)):
        parts = split(frame, [Rule("positive", pl.col("a") > 0, nulls=nulls)])  # type: ignore[arg-type]
        good = [n for n, a in enumerate(values) if (null_is_good if a is None else a > 0)]
        assert parts.valid["n"].to_list() == good
        assert sorted(parts.valid["n"].to_list() + parts.rejected["n"].to_list()) == list(range(len(values)))


def test_without_rules_every_row_is_valid() -> None:
    frame = pl.DataFrame({"a": [1, None]})
    parts = split(frame, [])
    assert parts.valid.equals(frame)
    assert parts.rejected.schema == {"a": pl.Int64, REASONS: pl.List(pl.String)}
    assert parts.violations == {}


def test_an_empty_batch_splits_into_two_empty_ones() -> None:
    parts = split(pl.DataFrame(schema={"a": pl.Int64, "b": pl.String}), [POSITIVE, SMALL])
    assert (parts.valid.height, parts.rejected.height) == (0, 0)
    assert parts.rejected.schema[REASONS] == pl.List(pl.String)


def test_a_constant_rule_holds_for_all_rows_or_none() -> None:
    assert split(pl.DataFrame({"a": [1, 2]}), [Rule("never", pl.lit(value=False))]).rejected.height == 2


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ([Rule("r", pl.col("aa") > 0)], r"Rule `r` reads an unknown column `aa`. Did you mean `a`"),
        ([Rule("r", pl.col("a") + 1)], "Rule `r` gives `Int64`"),
        ([Rule("r", pl.col("a") > "x")], "Rule `r` can't be evaluated"),
        ([POSITIVE, POSITIVE], "Two rules are named `positive`"),
    ],
)
def test_a_rule_that_cannot_work_is_an_error_that_names_it(rules: list[Rule], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        split(pl.DataFrame({"a": [1]}), rules)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Rule("", "a > 0"), "no name"),
        (lambda: Rule("r", "a >"), "no SQL predicate"),
        (lambda: Rule("r", "a > 0", nulls="maybe"), "`nulls` is `maybe`"),
    ],
)
def test_a_bad_declaration_fails_where_it_stands(make, why: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=why):
        make()


def test_a_batch_is_not_split_twice() -> None:
    rejected = split(pl.DataFrame({"a": [0]}), [POSITIVE]).rejected
    with pytest.raises(ConfigError, match="already has a column"):
        split(rejected, [POSITIVE])
