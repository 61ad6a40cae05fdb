"""A few rows in an error message, so that whoever reads it can find them in the source; masked columns stay hidden."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import polars as pl
from polars.exceptions import PanicException

INTERNAL = "__fuse_"
"""Part of the names of helper columns while a write is planned; no column of a batch may hold it."""

KNOWN = "known "
"""Before the name of a column whose value is the table's rather than the batch's."""

_WIDEST = 400
_MASK = "***"
_masked: ContextVar[frozenset[str]] = ContextVar("masked", default=frozenset())


@contextmanager
def masking(columns: Collection[str]) -> Iterator[None]:
    """Keep the values of some columns out of every message that is made inside."""
    token = _masked.set(_masked.get() | frozenset(columns))
    try:
        yield
    finally:
        _masked.reset(token)


def samples(frame: pl.DataFrame, *, rows: int = 3, of: int | None = None) -> str:
    """The first rows as `column=value` lists.

    Args:
        frame: Rows to show.
        rows: How many at the most.
        of: How many there are in all, where the frame holds only some of them.
    """
    try:
        said = frame.head(rows).to_dicts()
    except (PanicException, OverflowError, ValueError):
        return "(values that Python cannot show)"
    shown = []
    for row in said:
        text = ", ".join(f"{name}={_shown(name, value)}" for name, value in row.items() if INTERNAL not in name)
        shown.append("(" + (text if len(text) <= _WIDEST else text[:_WIDEST] + " ...") + ")")
    left = (frame.height if of is None else of) - len(said)
    more = f" and {left} more" if left > 0 else ""
    return "; ".join(shown) + more


def _shown(name: str, value: object) -> str:
    hidden = value is not None and not _masked.get().isdisjoint({name, name.removeprefix(KNOWN)})
    return _MASK if hidden else repr(value)
