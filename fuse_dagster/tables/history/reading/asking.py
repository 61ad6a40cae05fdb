"""What is asked of facts and a history, checked by their columns and types before a row of either is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, get_args

import polars as pl

from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.engines.local.reading import choose
from fuse_dagster.tables.history.reading.searching import Pair, pair_up
from fuse_dagster.tables.history.reading.unknown import Member, member_row
from fuse_dagster.tables.history.reading.versions import Own, as_names
from fuse_dagster.tables.samples import samples

BeforeFirst = Literal["null", "earliest", "error"]
Frame = TypeVar("Frame")


@dataclass(frozen=True, slots=True, eq=False)
class PointInTime(Generic[Frame]):
    """Facts with the versions that held at their times, and how many found one.

    Attributes:
        frame: The facts, each once, with the columns of the history: in their order as a polars frame; in no
            particular order, and not yet computed, as a Spark DataFrame.
        facts: How many: `matched` + `before_first` + `unmatched`.
        matched: Facts at whose time a version of their key held.
        before_first: Facts before the first version of their key, whatever they were given.
        unmatched: Facts in a gap or after the end of their key, of a key that the history does not have, or with a
            null key or time.
    """

    frame: Frame
    facts: int
    matched: int
    before_first: int
    unmatched: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """How facts find their versions, as the caller said it.

    Attributes:
        matches: The facts' column -> the history's key.
        at: The facts' column with the time.
        before_first: What a fact before the first version of its key gets.
        timezone: IANA zone of naive times and of dates.
        member: Values by column for facts without a version.
        columns: Columns of the history to add; None for all but the key.
        suffix: What a name gets that the facts have too.
        own: The history's own columns.
    """

    matches: Mapping[str, str]
    at: str
    before_first: BeforeFirst
    timezone: str | None
    member: Member | None
    columns: Sequence[str] | None
    suffix: str
    own: Own

    @property
    def keys(self) -> list[str]:
        """The history's key columns that are matched."""
        return list(dict.fromkeys(self.matches.values()))

    @property
    def says_the_key(self) -> bool:
        """Whether the member has a key, which must then be free."""
        return self.member is not None and all(self.member.get(key) is not None for key in self.keys)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A question as it fits facts and a history.

    Attributes:
        renamed: Each column of the history that is added -> its name beside the facts.
        pairs: Parts of the key, with the types in which they are compared.
        member: The unknown member's row; None where none is asked for.
    """

    renamed: Mapping[str, str]
    pairs: Sequence[Pair]
    member: pl.DataFrame | None


def matches_of(on: str | Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """The facts' column -> the history's key.

    Raises:
        ConfigError: There is none, or one key is matched twice.
    """
    named = dict(on) if isinstance(on, Mapping) else {name: name for name in as_names(on, "on")}
    as_names(list(named), "on")
    if len(set(named.values())) < len(named):
        raise ConfigError(f"`on` matches several columns with one key of the history ({named}); give each key once")
    return named


def refuse_unknown(before_first: str) -> None:
    """Refuse a way to treat early facts that does not exist.

    Raises:
        ConfigError: It is none of `BeforeFirst`.
    """
    if before_first not in get_args(BeforeFirst):
        valid = ", ".join(f"`{choice}`" for choice in get_args(BeforeFirst))
        raise ConfigError(f"`before_first` is `{before_first}`; valid: {valid}")


def require(asked: Question, facts: Sequence[str]) -> None:
    """Refuse facts without the columns that decide.

    Args:
        asked: The question.
        facts: Their columns.

    Raises:
        ConfigError: One is not there.
    """
    for name in [*asked.matches, asked.at]:
        if name not in facts:
            raise ConfigError(f"the facts have no column `{name}`. {did_you_mean(name, facts)}")


def fit(
    asked: Question, facts: Mapping[str, pl.DataType], versions: Mapping[str, pl.DataType], *, called: str
) -> Fitted:
    """Fit a question to columns and types.

    Args:
        asked: The question.
        facts: Columns and types of the facts.
        versions: Those of the history, which has the keys and the times.
        called: What a message calls the history.

    Raises:
        ConfigError: A column that is not there, two columns of one name, or a member that does not fit.
        SchemaError: A key is of another kind than the history's, or has no exact equality.
    """
    keys = asked.keys
    names = [name for name in versions if name not in keys]
    if asked.columns is not None:
        names = as_names(asked.columns, "columns")
    choose(pl.LazyFrame(schema=dict(versions)), names, of=called)
    renamed = _renamed(list(facts), names, asked.suffix)
    pairs = pair_up(asked.matches, facts, versions)
    member = None if asked.member is None else member_row(versions, asked.member, asked.own)
    return Fitted(renamed, pairs, member)


def early_error(shown: pl.DataFrame, *, early: int, facts: int) -> InputError:
    """Say that facts lie before the first version of their key.

    Args:
        shown: Keys and times of some of them, and the first version's start.
        early: How many there are.
        facts: How many facts there are.
    """
    return InputError(
        f"{early} of {facts} facts lie before the first version of their key: {samples(shown, of=early)}; give "
        'them nothing by `before_first="null"`, or that version by `before_first="earliest"`'
    )


def _renamed(facts: Sequence[str], names: Sequence[str], suffix: str) -> dict[str, str]:
    """The history's column -> its name beside the facts."""
    renamed = {name: name + suffix if name in facts else name for name in names}
    taken = sorted(set(facts) & set(renamed.values()))
    if taken or len(set(renamed.values())) < len(names):
        raise ConfigError(
            f"columns of the history would come twice or under names that the facts have ({taken or list(names)}); "
            "give another `suffix`, or choose by `columns`"
        )
    return renamed
