"""What must hold of a whole table: each expectation names itself, looks once, and shows rows that break it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean, listing
from fuse_dagster.quality.rules import Rule
from fuse_dagster.tables import History

SAMPLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an expectation found.

    Attributes:
        passed: Whether it holds.
        rows: Rows of the table.
        violations: Rows that break it; 0 where it is about no single row.
        samples: At most ten of them.
        said: One sentence on what was found.
    """

    passed: bool
    rows: int
    violations: int
    samples: pl.DataFrame
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Something that must hold of a table.

    Attributes:
        name: Short and stable, of letters, digits and underscores.
        description: What must hold, in a sentence.
        evaluate: Looks at the table.
    """

    name: str
    description: str
    evaluate: Callable[[pl.LazyFrame], Outcome]


def not_null(*columns: str) -> Expectation:
    """No row is null in any of the columns."""
    _need("not_null", columns)
    return _by_rows(
        f"not_null_{'_'.join(columns)}",
        f"{listing(columns)} {'is' if len(columns) == 1 else 'are'} never null.",
        columns,
        lambda frame: frame.filter(pl.any_horizontal(pl.col(columns).is_null())),
    )


def unique(*columns: str) -> Expectation:
    """No two rows agree in all of the columns; null equals null."""
    _need("unique", columns)
    return _by_rows(
        f"unique_{'_'.join(columns)}",
        f"No two rows have the same {listing(columns)}.",
        columns,
        lambda frame: frame.filter(pl.len().over(columns) > 1).sort(columns),
    )


def accepted_values(column: str, values: Collection[Any]) -> Expectation:
    """Every value of the column is one of these; null is a matter of `not_null`."""
    _need("accepted_values", list(values))
    return _by_rows(
        f"accepted_values_{column}",
        f"`{column}` is one of {listing(values)}.",
        (column,),
        lambda frame: frame.filter(~pl.col(column).is_in(list(values)) & pl.col(column).is_not_null()),
    )


def in_range(column: str, *, minimum: Any = None, maximum: Any = None) -> Expectation:
    """Every value of the column lies between two bounds, both included; NaN does not, null is a matter of `not_null`.

    Args:
        column: A column of numbers, dates or times.
        minimum: Smallest good value; None for no lower bound.
        maximum: Greatest good value; None for no upper bound.
    """
    _need("in_range", [bound for bound in (minimum, maximum) if bound is not None])
    inside = pl.lit(value=True)
    if minimum is not None:
        inside &= pl.col(column) >= minimum
    if maximum is not None:
        inside &= pl.col(column) <= maximum
    words = {"from": minimum, "to": maximum}
    bounds = " ".join(f"{word} `{bound}`" for word, bound in words.items() if bound is not None)
    return _by_rows(
        f"in_range_{column}",
        f"`{column}` lies in the range {bounds}.",
        (column,),
        lambda frame: frame.filter(~_without_nan(frame, column, inside)),
    )


def row_count(*, minimum: int = 1, maximum: int | None = None) -> Expectation:
    """The table has at least, and at most, so many rows."""
    upper = "" if maximum is None else f" and at most {maximum}"

    def evaluate(frame: pl.LazyFrame) -> Outcome:
        rows = int(frame.select(pl.len()).collect().item())
        passed = minimum <= rows and (maximum is None or rows <= maximum)
        return Outcome(passed=passed, rows=rows, violations=0, samples=pl.DataFrame(), said=f"{rows} rows.")

    return Expectation(name="row_count", description=f"At least {minimum}{upper} rows.", evaluate=evaluate)


def fresh(column: str, *, within: timedelta) -> Expectation:
    """The newest value of a time column is recent: what a table says of itself, whoever wrote it and when.

    Args:
        column: A date, or a timestamp with a zone.
        within: How old the newest value may be.
    """

    def evaluate(frame: pl.LazyFrame) -> Outcome:
        _known((column,), frame, "fresh")
        rows, newest = frame.select(pl.len(), pl.col(column).cast(pl.Datetime("us", "UTC")).max()).collect().row(0)
        passed = newest is not None and datetime.now(UTC) - newest <= within
        said = f"The newest `{column}` is {'nothing' if newest is None else newest.isoformat()}."
        return Outcome(passed=passed, rows=rows, violations=0, samples=pl.DataFrame(), said=said)

    return Expectation(
        name=f"fresh_{column}", description=f"The newest `{column}` is at most {within} old.", evaluate=evaluate
    )


def keeps(rule: Rule) -> Expectation:
    """Every row keeps a rule."""
    good = rule.predicate().fill_null(rule.nulls == "pass")
    return _by_rows(
        rule.name,
        rule.description or f"Every row keeps the rule `{rule.name}`.",
        tuple(rule.predicate().meta.root_names()),
        lambda frame: frame.filter(~good),
    )


def history_invariants(history: History) -> tuple[Expectation, ...]:
    """What holds of every history: of intervals, of open versions, of neighbours, of a surrogate key where declared.

    Args:
        history: How the table was declared.
    """
    start, end, current = history.valid_from, history.valid_to, history.is_current
    keys = list(history.keys)
    known = (*keys, start, end, current)
    following = pl.col(start).shift(-1).over(keys, order_by=start)
    adjoins = pl.col(end) == following

    def twins(frame: pl.LazyFrame) -> pl.LazyFrame:
        tracked = tracked_columns(history, frame.collect_schema().names())
        same = [pl.col(name).eq_missing(pl.col(name).shift(-1).over(keys, order_by=start)) for name in tracked]
        return frame.filter(pl.all_horizontal(adjoins, *same))

    return (
        _by_rows(
            "one_open_version_per_key",
            f"No {listing(keys)} has two versions that hold now.",
            known,
            lambda frame: frame.filter(pl.col(end).is_null()).filter(pl.len().over(keys) > 1).sort(keys),
        ),
        _by_rows(
            "no_overlap",
            f"A version ends (`{end}`) before or when the next of its key begins (`{start}`).",
            known,
            lambda frame: frame.filter((pl.col(end).is_null() & following.is_not_null()) | (pl.col(end) > following)),
        ),
        _by_rows(
            "no_empty_interval",
            f"Every version has a `{start}`, and its `{end}` is later or null.",
            known,
            lambda frame: frame.filter(pl.col(start).is_null() | (pl.col(end) <= pl.col(start))),
        ),
        _by_rows(
            "neighbours_differ",
            "A version that follows another of its key without a gap differs from it in what is tracked.",
            known,
            twins,
        ),
        _by_rows(
            "open_is_current",
            f"`{current}` is true exactly where `{end}` is null.",
            known,
            lambda frame: frame.filter(pl.col(current).ne_missing(pl.col(end).is_null())),
        ),
        *((_one_version_per_surrogate(history.surrogate_key),) if history.surrogate_key else ()),
    )


def _one_version_per_surrogate(column: str) -> Expectation:
    once = pl.len().over(column) == 1
    return _by_rows(
        "surrogate_key_is_unique",
        f"Every version has a `{column}` of its own.",
        (column,),
        lambda frame: frame.filter(pl.col(column).is_null() | ~once).sort(column),
    )


def tracked_columns(history: History, columns: Collection[str]) -> list[str]:
    """The columns of a history whose changes make a version."""
    if history.track is not None:
        return [name for name in columns if name in history.track]
    marks = pl.sql_expr(history.delete_when).meta.root_names() if history.delete_when else ()
    untracked = {*history.ignore, *history.overwrite_columns, *history.reserved, *marks}
    roles = {history.effective_column, history.sequence_by, *history.keys, *untracked}
    return [name for name in columns if name not in roles]


def _by_rows(
    name: str,
    description: str,
    columns: Collection[str],
    violations: Callable[[pl.LazyFrame], pl.LazyFrame],
) -> Expectation:
    """An expectation that single rows break."""

    def evaluate(frame: pl.LazyFrame) -> Outcome:
        _known(columns, frame, name)
        rows = int(frame.select(pl.len()).collect().item())
        broken = violations(frame).collect()
        said = f"{broken.height} of {rows} rows break it." if broken.height else f"All {rows} rows keep it."
        return Outcome(
            passed=broken.is_empty(),
            rows=rows,
            violations=broken.height,
            samples=broken.head(SAMPLES),
            said=said,
        )

    return Expectation(name=name, description=description, evaluate=evaluate)


def _without_nan(frame: pl.LazyFrame, column: str, inside: pl.Expr) -> pl.Expr:
    # NaN compares as the greatest number, so it would pass a range that has only a lower bound.
    if frame.collect_schema()[column].is_float():
        inside &= pl.col(column).is_not_nan()
    return inside.fill_null(value=True)


def _known(columns: Collection[str], frame: pl.LazyFrame, name: str) -> None:
    there = frame.collect_schema().names()
    for column in columns:
        if column not in there:
            msg = f"The check `{name}` reads an unknown column `{column}`. {did_you_mean(column, there)}"
            raise ConfigError(msg)


def _need(name: str, given: Collection[Any]) -> None:
    if not given:
        msg = f"`{name}` says nothing. Give it at least one column, value or bound."
        raise ConfigError(msg)
