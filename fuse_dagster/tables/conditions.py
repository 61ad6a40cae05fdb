"""Conditions in SQL that people declare, on single rows: one evaluator for every place that asks.

The text is read twice. sqlglot says what it is made of, when it is declared; polars says which rows meet it. Where a
condition both checks a batch and chooses rows of the table, both are the same expression, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import polars as pl
import sqlglot
from polars.exceptions import PolarsError
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

from fuse_dagster.core.errors import ConfigError, first_line
from fuse_dagster.core.naming import did_you_mean

_MET = "__fuse_met"
_DIALECT = "postgres"
_OLD_AND_NEW = "new.updated_at > old.updated_at"


@dataclass(frozen=True, slots=True)
class Condition:
    """A SQL condition of one row.

    Attributes:
        option: The option that declares it, for messages.
        sql: As declared.
        example: A condition that would do, for messages.

    Example:
        >>> Condition("predicate", "region = 'EU'", "day = DATE '2024-01-01'").columns
        ('region',)
    """

    option: str
    sql: str
    example: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it reads, each once."""
        return tuple(dict.fromkeys(self._expression().meta.root_names()))

    def problems(self) -> Iterator[str]:
        """What is wrong with it whatever the table: for the declaration."""
        reason = _not_of_one_row(self.sql)
        if reason is None:
            try:
                if not self.columns:
                    reason = "it reads no column"
            except ConfigError as error:
                yield str(error)
                return
        if reason is not None:
            yield f"`{self.option}` is `{self.sql}`, which says nothing of single rows: {reason}; {self._remedy}"

    def met(self, rows: pl.DataFrame) -> pl.Series:
        """Which rows meet it, as booleans; where it is null, they do not.

        Args:
            rows: Rows x at least the columns that it reads.

        Raises:
            ConfigError: It reads a column that is not there, compares what cannot be compared, or is no condition.
        """
        expression = self._expression()
        unknown = [name for name in self.columns if name not in rows.columns]
        if unknown:
            raise ConfigError(
                f"`{self.option}` is `{self.sql}`, which reads `{unknown[0]}`. {did_you_mean(unknown[0], rows.columns)}"
            )
        try:
            # What looks at all rows at once, or at none, answers with one value even where there are no rows.
            by_row = rows.clear().select(expression.alias(_MET)).is_empty()
        except PolarsError as error:
            raise self._unreadable(first_line(error)) from error
        found = self._evaluate(expression, rows)
        if found is None:
            raise self._unreadable("it fails on a value, as a cast does on what it cannot convert")
        if not by_row or found.dtype not in {pl.Boolean, pl.Null}:
            raise ConfigError(
                f"`{self.option}` is `{self.sql}`, which does not say yes or no of each row; {self._remedy}"
            )
        return found.cast(pl.Boolean).fill_null(False)

    def demands(self) -> Iterator[tuple[str, list[int | str]]]:
        """Columns that must hold one of some literals in every row that meets it: enough to leave files out by."""
        for part in _all_of(sqlglot.parse_one(self.sql, read=_DIALECT)):
            if isinstance(part, exp.EQ):
                column, values = part.this, [part.expression]
                if isinstance(part.expression, exp.Column):
                    column, values = part.expression, [part.this]
            elif isinstance(part, exp.In):
                column, values = part.this, part.expressions
            else:
                continue
            if isinstance(column, exp.Column) and values and all(isinstance(value, exp.Literal) for value in values):
                literals = [value.this if value.is_string else value.to_py() for value in values]
                if all(isinstance(literal, int | str) for literal in literals):
                    yield column.name, literals

    @property
    def _remedy(self) -> str:
        return f"give a SQL condition over the columns of one row, such as `{self.example}`"

    def _wording(self) -> str:
        """What polars evaluates."""
        return self.sql

    def _expression(self) -> pl.Expr:
        try:
            return pl.sql_expr(_as_the_standard_says(self._wording()))
        except (PolarsError, SqlglotError) as error:
            raise self._unreadable(first_line(error)) from error

    @staticmethod
    def _evaluate(expression: pl.Expr, rows: pl.DataFrame) -> pl.Series | None:
        """The answers; None where a value breaks it, because polars' message would show the value, masked or not."""
        try:
            return rows.select(expression.alias(_MET)).to_series()
        except PolarsError:
            return None

    def _unreadable(self, reason: str) -> ConfigError:
        return ConfigError(f"`{self.option}` is `{self.sql}`, which cannot be evaluated: {reason}; {self._remedy}")


def wrong_conditions(*conditions: Condition | OldAndNew | None) -> Iterable[str]:
    """What is wrong with the conditions of a declaration, as far as it can be told without a table."""
    return [problem for condition in conditions if condition is not None for problem in condition.problems()]


def _not_of_one_row(sql: str) -> str | None:
    """Why a text is no condition of one row, as far as its grammar tells."""
    try:
        statements = sqlglot.parse(sql, read=_DIALECT)
    except SqlglotError as error:
        return f"it is no SQL ({first_line(error)})"
    tree = statements[0] if len(statements) == 1 else None
    if tree is None:
        return "it is not one expression"
    if next(tree.find_all(exp.Query, exp.Exists), None) is not None:
        return "it queries a table"
    if next(tree.find_all(exp.AggFunc, exp.Window), None) is not None:
        return "it takes several rows together"
    return None


def _as_the_standard_says(sql: str) -> str:
    """The text, unless it holds what polars (2.1) takes otherwise than the SQL standard, without a word.

    `a IS DISTINCT FROM b AND c` is to polars `a IS DISTINCT FROM (b AND c)`, and `a IS NOT TRUE` is null where `a` is.
    """
    tree = exp.paren(sqlglot.parse_one(sql, read=_DIALECT))
    distinct = list(tree.find_all(exp.NullSafeEQ, exp.NullSafeNEQ))
    truths = [node for node in tree.find_all(exp.Is) if isinstance(node.expression, exp.Boolean)]
    if not distinct and not truths:
        return sql
    for node in reversed(distinct):
        node.replace(exp.Paren(this=node.copy()))
    for node in reversed([*tree.find_all(exp.Is)]):
        if isinstance(node.expression, exp.Boolean):
            asked = exp.paren(node.this.copy())
            says = asked if node.expression.this else exp.Not(this=asked)
            node.replace(exp.Coalesce(this=says, expressions=[exp.false()]))
    return tree.sql(dialect=_DIALECT)


def _all_of(tree: exp.Expr) -> Iterator[exp.Expr]:
    """Parts that must all hold."""
    if isinstance(tree, exp.Paren):
        yield from _all_of(tree.this)
    elif isinstance(tree, exp.And):
        yield from _all_of(tree.left)
        yield from _all_of(tree.right)
    else:
        yield tree


@dataclass(frozen=True, slots=True)
class OldAndNew:
    """A SQL condition that compares a row of the batch, `new.`, with the row of the table that it meets, `old.`.

    Attributes:
        option: The option that declares it, for messages.
        sql: As declared.

    Example:
        >>> OldAndNew("update_when", "new.updated_at > old.updated_at").columns
        (('new', 'updated_at'), ('old', 'updated_at'))
    """

    option: str
    sql: str

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        """Side and name of each column that it reads."""
        return tuple(dict.fromkeys((side, name) for side, name, _, _ in self._mentions()))

    def problems(self) -> Iterator[str]:
        """What is wrong with it whatever the table: for the declaration."""
        reason = _not_of_one_row(self.sql)
        if reason is None:
            reason = next(self._wrong_columns(), None)
        if reason is not None:
            yield (
                f"`{self.option}` is `{self.sql}`, which does not compare a new row with an old one: {reason}; give a "
                f"SQL condition such as `{_OLD_AND_NEW}`"
            )

    def met(self, new: pl.DataFrame, old: pl.DataFrame) -> pl.Series:
        """Which pairs meet it, as booleans; where it is null, they do not.

        Args:
            new: Rows of the batch.
            old: For each, in the same order, the row of the table; pairs x the table's columns.

        Raises:
            ConfigError: It reads a column that is not there, or compares what cannot be compared.
        """
        sides = {"new": new, "old": old}
        self.refuse_unknown(new=new.columns, old=old.columns)
        pairs = pl.DataFrame([sides[side][name].alias(_helper(side, name)) for side, name in self.columns])
        return _Rewritten(self.option, self.sql, _OLD_AND_NEW, self._rewritten()).met(pairs)

    def refuse_unknown(self, *, new: Sequence[str], old: Sequence[str]) -> None:
        """Refuse columns that are not there.

        Args:
            new: Columns of the batch.
            old: Columns of the table.

        Raises:
            ConfigError: One is not there; the message suggests a near name.
        """
        for side, name in self.columns:
            known = new if side == "new" else old
            if name not in known:
                raise ConfigError(
                    f"`{self.option}` is `{self.sql}`, which reads `{side}.{name}`. {did_you_mean(name, known)}"
                )

    def _rewritten(self) -> str:
        """The text with each `new.` and `old.` column as one name; the rest is left as it was written."""
        parts, at = [], 0
        for side, name, start, end in self._mentions():
            quoted = _helper(side, name).replace('"', '""')
            parts += [self.sql[at:start], f'"{quoted}"']
            at = end
        return "".join([*parts, self.sql[at:]])

    def _mentions(self) -> Iterator[tuple[str, str, int, int]]:
        """Side, column, and where the mention begins and ends in the text."""
        tokens = sqlglot.tokenize(self.sql, read=_DIALECT)
        for side, dot, name in zip(tokens, tokens[1:], tokens[2:], strict=False):
            if side.text.lower() in {"new", "old"} and dot.token_type == TokenType.DOT:
                yield side.text.lower(), name.text, side.start, name.end + 1

    def _wrong_columns(self) -> Iterator[str]:
        found = list(sqlglot.parse_one(self.sql, read=_DIALECT).find_all(exp.Column))
        if not found:
            yield "it reads no column"
        for column in found:
            if column.table.lower() not in {"new", "old"} or column.db or isinstance(column.this, exp.Star):
                yield f"`{column.sql(dialect=_DIALECT)}` is neither a `new.` nor an `old.` column"


@dataclass(frozen=True, slots=True)
class _Rewritten(Condition):
    """A condition that is evaluated in another wording than the one that is shown."""

    text: str

    def _wording(self) -> str:
        return self.text


def _helper(side: str, name: str) -> str:
    return f"__fuse_{side}_{name}"
