"""Finding the version that held for each fact: every fact gets one row number of a version, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from fuse_dagster.core.errors import SchemaError, TableStateError
from fuse_dagster.tables.history.reading.kinds import exactly, meeting
from fuse_dagster.tables.history.reading.versions import Own
from fuse_dagster.tables.samples import samples

_GROUP, _ROW, _FACT, _AT = "__fuse_group", "__fuse_row", "__fuse_fact", "__fuse_at"
_START, _END = "__fuse_start", "__fuse_end"


@dataclass(frozen=True, slots=True)
class Found:
    """One entry per fact, in the facts' order.

    Attributes:
        held: Row number of the version that held at its time; null where none did.
        first: Row number of the first version of its key; null where the history has no such key.
        early: Whether its time lies before that first version.
    """

    held: pl.Series
    first: pl.Series
    early: pl.Series


@dataclass(frozen=True, slots=True)
class Pair:
    """One part of the key: the facts' column, the history's, and the type in which they are compared."""

    fact: str
    version: str
    dtype: pl.DataType


def pair_up(on: Mapping[str, str], facts: Mapping[str, pl.DataType], versions: Mapping[str, pl.DataType]) -> list[Pair]:
    """The parts of the key with the types they are compared in.

    Args:
        on: The facts' column -> the history's.
        facts: The facts' columns and types.
        versions: The history's.

    Raises:
        SchemaError: The types of a pair are of different kinds, or have no exact equality.
    """
    pairs = []
    for left, right in on.items():
        dtype = meeting(facts[left], versions[right])
        if dtype is None:
            raise SchemaError(
                f"the facts' `{left}` is {str(facts[left]).lower()} and the history's key `{right}` is "
                f"{str(versions[right]).lower()}, which have no exact equality; cast one of them, so that both are "
                "integers, strings, booleans, dates, timestamps (both with a zone or both without), decimals or binary"
            )
        pairs.append(Pair(left, right, dtype))
    return pairs


def ordered(versions: pl.DataFrame, pairs: Sequence[Pair], own: Own, *, called: str) -> pl.DataFrame:
    """Keys and times of versions by key and start, with a number for each key; a null key is none.

    Args:
        versions: Rows x columns with keys, start and end, in any order.
        pairs: Parts of the key.
        own: The history's own columns.
        called: What a message calls the history.

    Returns:
        Keys as they are compared, their numbers, starts and ends, and the row number in `versions`. Other columns stay
        behind, because ordering them costs more than finding them again.

    Raises:
        TableStateError: Versions of a key overlap, or one has no start or does not end after it.
    """
    helpers = _helpers(pairs)
    keyed = versions.select(
        pl.int_range(pl.len(), dtype=pl.get_index_type()).alias(_ROW),
        *(exactly(pl.col(p.version), versions.schema[p.version], p.dtype).alias(n) for n, p in helpers.items()),
        pl.col(own.valid_from).alias(_START),
        pl.col(own.valid_to).alias(_END),
    ).drop_nulls([*helpers])
    groups = keyed.select(*helpers).unique().with_row_index(_GROUP)
    rows = keyed.join(groups, on=[*helpers]).sort(_GROUP, _START, _END, nulls_last=True)
    start, end = pl.col(_START), pl.col(_END)
    next_start = pl.when(pl.col(_GROUP) == pl.col(_GROUP).shift(-1)).then(start.shift(-1))
    overlaps = next_start.is_not_null() & (end.is_null() | (end > next_start))
    broken = rows.filter(start.is_null() | (end <= start).fill_null(False) | overlaps)
    if broken.height:
        shown = versions[broken[_ROW]].select(*(p.version for p in pairs), own.valid_from, own.valid_to)
        raise broken_error(shown, called=called, of=broken.height)
    return rows


def broken_error(shown: pl.DataFrame, *, called: str, of: int) -> TableStateError:
    """Say that versions would give a fact more than one row, or none at all.

    Args:
        shown: Keys and times of some of them.
        called: What a message calls the history.
        of: How many there are.
    """
    return TableStateError(
        f"{called} is no history to join with: {of} versions have no start, do not end after it, or "
        f"reach into the next one of their key: {samples(shown, of=of)}. Such rows are not written by `write`; repair "
        "them, or pass a frame with one version at a time"
    )


def search(facts: pl.DataFrame, at: pl.Series, versions: pl.DataFrame, pairs: Sequence[Pair]) -> Found:
    """Find for each fact the version that held at its time.

    Args:
        facts: Rows x columns with the keys.
        at: Their times, UTC microseconds; null matches nothing.
        versions: From `ordered`.
        pairs: Parts of the key.
    """
    helpers = _helpers(pairs)
    keys = facts.select(exactly(pl.col(p.fact), facts.schema[p.fact], p.dtype).alias(n) for n, p in helpers.items())
    firsts = versions.group_by(_GROUP, maintain_order=True).agg(pl.first(_ROW, *helpers))
    group = keys.join(firsts, on=[*helpers], how="left", validate="m:1", maintain_order="left")[_GROUP]
    asked = pl.DataFrame([group, at.alias(_AT)]).with_row_index(_FACT).drop_nulls().sort(_GROUP, _AT)
    # Both sides are sorted by time within a group, which polars can't check; nulls are gone, which it does not match.
    latest = asked.join_asof(
        versions.select(_GROUP, _ROW, _START, _END),
        left_on=_AT,
        right_on=_START,
        by=_GROUP,
        strategy="backward",
        check_sortedness=False,
    )
    holds = pl.col(_END).is_null() | (pl.col(_END) > pl.col(_AT))
    told = latest.select(_FACT, held=pl.when(holds).then(_ROW), early=pl.col(_ROW).is_null())
    none = pl.Series([None], dtype=told.schema["held"]).new_from_index(0, facts.height)
    no = pl.Series([False]).new_from_index(0, facts.height)
    return Found(
        held=none.scatter(told[_FACT], told["held"]),
        first=firsts[_ROW].gather(group),
        early=no.scatter(told[_FACT], told["early"]),
    )


def _helpers(pairs: Sequence[Pair]) -> dict[str, Pair]:
    return {f"__fuse_key_{number}": pair for number, pair in enumerate(pairs)}
