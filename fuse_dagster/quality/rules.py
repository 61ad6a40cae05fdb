"""Row rules: each says what must hold, and `split` takes the rows where it does not out of a batch, with reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import polars as pl

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean, listing
from fuse_dagster.tables.sifting import REASONS


@dataclass(frozen=True, slots=True)
class Rule:
    """Something that must hold of every row by itself.

    Attributes:
        name: Short and stable; rejected rows and checks name it.
        holds: Predicate over the row's columns, as a polars expression or as SQL text (`distance > 0`).
        description: What must hold, in a sentence for whoever has to fix the source.
        nulls: What a predicate that is neither true nor false means, as where a column it reads is null. `violate`:
            what can't be shown to hold does not hold. `pass`: the rule is about rows that have the value.

    Raises:
        ConfigError: The name is empty, `nulls` is neither word, or the SQL does not parse.

    Examples:
        >>> Rule("goes_somewhere", "distance > 0").name
        'goes_somewhere'
    """

    name: str
    holds: pl.Expr | str
    _: KW_ONLY
    description: str = ""
    nulls: Literal["violate", "pass"] = "violate"

    def __post_init__(self) -> None:
        """Check what can be checked without rows."""
        if not self.name:
            msg = "A rule has no name. Give it one: rejected rows list the names of the rules that they break."
            raise ConfigError(msg)
        if self.nulls not in {"violate", "pass"}:
            msg = f"Rule `{self.name}`: `nulls` is `{self.nulls}`. Valid: `violate`, `pass`."
            raise ConfigError(msg)
        self.predicate()

    def predicate(self) -> pl.Expr:
        """Give the rule as a polars expression that is null where it can't be told.

        Raises:
            ConfigError: The SQL does not parse.
        """
        if isinstance(self.holds, pl.Expr):
            return self.holds
        try:
            return pl.sql_expr(self.holds)
        except pl.exceptions.PolarsError as error:
            msg = f"Rule `{self.name}`: `{self.holds}` is no SQL predicate: {error}."
            raise ConfigError(msg) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A batch, taken apart; `valid` and `rejected` together hold each of its rows once.

    Attributes:
        valid: Rows that keep every rule, in their order.
        rejected: The other rows, in their order, with the column `_rejection_reasons`: a list of rule names.
        violations: Rule name -> rows that break it. A row that breaks two rules counts in both.
    """

    valid: pl.DataFrame
    rejected: pl.DataFrame
    violations: dict[str, int]


def split(frame: pl.DataFrame, rules: Sequence[Rule]) -> Split:
    """Take the rows that break a rule out of a batch.

    Args:
        frame: The batch, rows x columns.
        rules: What must hold of each row. Without rules every row is valid.

    Returns:
        The rows that keep all rules, the others with their reasons, and a count per rule.

    Raises:
        ConfigError: Two rules share a name, a rule reads an unknown column or is no predicate, or the batch has a
            column named `_rejection_reasons`.

    Examples:
        >>> flights = pl.DataFrame({"distance": [1400, 0, None]})
        >>> parts = split(flights, [Rule("goes_somewhere", pl.col("distance") > 0)])
        >>> parts.valid.height, parts.rejected["_rejection_reasons"].to_list(), parts.violations
        (1, [['goes_somewhere'], ['goes_somewhere']], {'goes_somewhere': 2})
    """
    _check_names(frame, rules)
    broken = [~_verdict(frame, rule) for rule in rules]
    reasons = pl.concat_list(
        [
            pl.when(mask).then(pl.lit(rule.name)).otherwise(pl.lit(None, dtype=pl.String))
            for rule, mask in zip(rules, broken, strict=True)
        ]
        or [pl.lit(None, dtype=pl.String)]
    ).list.drop_nulls()
    marked = frame.with_columns(reasons.alias(REASONS))
    valid = marked.filter(pl.col(REASONS).list.len() == 0).drop(REASONS)
    rejected = marked.filter(pl.col(REASONS).list.len() > 0)
    assert valid.height + rejected.height == frame.height, "each row of the batch is in exactly one part"
    violations = {rule.name: int(mask.sum()) for rule, mask in zip(rules, broken, strict=True)}
    return Split(valid=valid, rejected=rejected, violations=violations)


def _verdict(frame: pl.DataFrame, rule: Rule) -> pl.Series:
    """Evaluate one rule by itself, so that an error can name it: one boolean per row, never null."""
    try:
        held = frame.with_columns(rule.predicate().alias(REASONS))[REASONS]
    except pl.exceptions.ColumnNotFoundError as error:
        unknown = next((name for name in rule.predicate().meta.root_names() if name not in frame.columns), "?")
        msg = f"Rule `{rule.name}` reads an unknown column `{unknown}`. {did_you_mean(unknown, frame.columns)}"
        raise ConfigError(msg) from error
    except pl.exceptions.PolarsError as error:
        msg = f"Rule `{rule.name}` can't be evaluated: {error}."
        raise ConfigError(msg) from error
    if held.dtype != pl.Boolean:
        msg = f"Rule `{rule.name}` gives `{held.dtype}`. A rule is a predicate: true where the row is good."
        raise ConfigError(msg)
    return held.fill_null(rule.nulls == "pass")


def _check_names(frame: pl.DataFrame, rules: Sequence[Rule]) -> None:
    names = [rule.name for rule in rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        msg = f"Two rules are named {listing(twice)}. Give each a name of its own."
        raise ConfigError(msg)
    if REASONS in frame.columns:
        msg = f"The batch already has a column `{REASONS}`. Drop or rename it before it is split again."
        raise ConfigError(msg)
