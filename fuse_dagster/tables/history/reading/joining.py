"""Facts with the versions that held at their times: one row per fact, whatever the history holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import polars as pl

from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.engines.local.frames import to_polars
from fuse_dagster.engines.local.reading import choose
from fuse_dagster.tables.history.reading.searching import Found, ordered, pair_up, search
from fuse_dagster.tables.history.reading.unknown import Member, member_row, refuse_taken
from fuse_dagster.tables.history.reading.versions import Own, Versions, as_names, called, versions_of
from fuse_dagster.tables.history.times import place
from fuse_dagster.tables.samples import KNOWN, samples

BeforeFirst = Literal["null", "earliest", "error"]


@dataclass(frozen=True, slots=True, eq=False)
class PointInTime:
    """Facts with the versions that held at their times, and how many found one.

    Attributes:
        frame: The facts, each once and in their order, with the columns of the history.
        facts: How many: `matched` + `before_first` + `unmatched`.
        matched: Facts at whose time a version of their key held.
        before_first: Facts before the first version of their key, whatever they were given.
        unmatched: Facts in a gap or after the end of their key, of a key that the history does not have, or with a
            null key or time.
    """

    frame: pl.DataFrame
    facts: int
    matched: int
    before_first: int
    unmatched: int


def point_in_time(
    facts: Any,
    history: Versions,
    *,
    on: str | Sequence[str] | Mapping[str, str],
    at: str,
    before_first: BeforeFirst = "null",
    timezone: str | None = None,
    unknown_member: Member | None = None,
    columns: Sequence[str] | None = None,
    suffix: str = "_history",
    valid_from: str = "valid_from",
    valid_to: str = "valid_to",
    is_current: str = "is_current",
    storage_options: Mapping[str, str] | None = None,
) -> PointInTime:
    """Give each fact the version that held at its time: one row per fact, never more, never fewer.

    Args:
        facts: Rows x columns with keys and times, any frame that `write` takes, in any order.
        history: URI or path of a history, or a frame of its versions (all of them, so that the first is known).
        on: Columns with the business key: names that facts and history share, or a map from the facts' to the
            history's.
        at: The facts' column with the time: a timestamp or a date.
        before_first: What a fact gets whose time lies before the first version of its key: nothing (`null`), that
            first version (`earliest`), or an `error`.
        timezone: IANA zone of naive times and of dates. Naive times without it are errors; dates default to UTC.
        unknown_member: Values by column for facts without a version, instead of nulls: the row that `as_of` and
            `current` add. So no fact is lost to a later join with the dimension.
        columns: Columns of the history to add, in this order; by default all but the key.
        suffix: What a column of the history gets after its name where the facts have one of that name.
        valid_from: The history's column with the start.
        valid_to: The history's column with the end.
        is_current: The history's column with the flag.
        storage_options: As delta-rs takes them.

    Returns:
        The facts in their order with the history's columns, in memory, and the counts.

    Raises:
        TableNotFoundError: There is no table.
        ConfigError: A column that is not there, two columns of one name, or an `unknown_member` that does not fit.
        SchemaError: A key is of another kind than the history's (a string and an integer never match), or has no
            exact equality (a float).
        TimeValueError: `at` is no time, is naive without `timezone`, or holds local times that the zone skips or
            repeats.
        InputError: A fact lies before the first version, and `before_first="error"`.
        KeyValueError: The history holds the key of `unknown_member`.
        TableStateError: Versions of a key overlap, or end before they start: not the work of `write`.

    Example:
        >>> import datetime as dt
        >>> day = lambda n: dt.datetime(2024, 1, n, tzinfo=dt.timezone.utc)
        >>> history = pl.DataFrame({"k": [1], "name": ["a"], "valid_from": [day(2)], "valid_to": [day(4)]})
        >>> facts = pl.DataFrame({"k": [1, 1, 1], "at": [day(4), day(2), day(1)]})
        >>> joined = point_in_time(facts, history, on="k", at="at", columns=["name"])
        >>> joined.frame["name"].to_list(), joined.matched, joined.before_first, joined.unmatched
        ([None, 'a', None], 1, 1, 1)
    """
    _refuse_unknown(before_first)
    rows, own, matches = to_polars(facts), Own(valid_from, valid_to, is_current), _matches(on)
    _require([*matches, at], rows)
    keys = list(dict.fromkeys(matches.values()))
    lazy = versions_of(history, times=(valid_from, valid_to), keys=keys, storage_options=storage_options)
    schema = lazy.collect_schema()
    names = [name for name in schema if name not in keys] if columns is None else as_names(columns, "columns")
    choose(lazy, names, of=called(history))
    renamed = _renamed(rows.columns, names, suffix)
    pairs = pair_up(matches, rows.schema, schema)
    times = place(rows, at, timezone, role="at")
    member = _member(lazy, unknown_member, keys, own)
    versions = lazy.select({*keys, valid_from, valid_to, *names}).collect()
    found = search(rows, times, ordered(versions, pairs, own, called=called(history)), pairs)
    if before_first == "error":
        _refuse_early(rows.select(*matches, at), versions[valid_from], found)
    row = found.held.zip_with(~found.early, found.first) if before_first == "earliest" else found.held
    values = versions.select(names)
    if member is not None:
        row, values = row.fill_null(values.height), pl.concat([values, member.select(names)])
    given = values.select(pl.all().gather(row)).rename(renamed)
    matched, early = len(found.held) - found.held.null_count(), int(found.early.sum())
    return PointInTime(rows.hstack(given), rows.height, matched, early, rows.height - matched - early)


def _refuse_unknown(before_first: str) -> None:
    if before_first not in get_args(BeforeFirst):
        valid = ", ".join(f"`{choice}`" for choice in get_args(BeforeFirst))
        raise ConfigError(f"`before_first` is `{before_first}`; valid: {valid}")


def _matches(on: str | Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """The facts' column -> the history's key."""
    named = dict(on) if isinstance(on, Mapping) else {name: name for name in as_names(on, "on")}
    as_names(list(named), "on")
    if len(set(named.values())) < len(named):
        raise ConfigError(f"`on` matches several columns with one key of the history ({named}); give each key once")
    return named


def _require(columns: Sequence[str], facts: pl.DataFrame) -> None:
    for name in columns:
        if name not in facts.columns:
            raise ConfigError(f"the facts have no column `{name}`. {did_you_mean(name, facts.columns)}")


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


def _member(versions: pl.LazyFrame, member: Member | None, keys: Sequence[str], own: Own) -> pl.DataFrame | None:
    """The unknown member's row; its key does not matter here, but if it is given, then it must be free."""
    if member is None:
        return None
    row = member_row(versions.collect_schema(), member, own)
    if all(member.get(key) is not None for key in keys):
        refuse_taken(versions, row, keys)
    return row


def _refuse_early(facts: pl.DataFrame, starts: pl.Series, found: Found) -> None:
    first = starts.gather(found.first).alias(KNOWN + starts.name)
    early = facts.with_columns(first).filter(found.early)
    if early.height:
        raise InputError(
            f"{early.height} of {facts.height} facts lie before the first version of their key: {samples(early)}; give "
            'them nothing by `before_first="null"`, or that version by `before_first="earliest"`'
        )
