"""Rows that are read a second time because their cursor is not above the watermark: told apart by what they hold.

A position remembers the digests of the rows that the next reading will see again. Of these, as many copies as were
there before are left out; what is left is new. So nothing is doubled, and a row that came late is not lost.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from fuse_dagster.core.errors import InputError, SchemaError

_SIZE = 16
MOST = 1_000_000
"""Rows that a position remembers at the most."""


def digests(rows: pl.DataFrame, columns: Sequence[str]) -> list[bytes]:
    """One digest per row, the same in every process and version.

    Args:
        rows: Rows x columns.
        columns: Which of them say what a row is.
    """
    named = rows.select(columns)
    return [hashlib.blake2b(_text(row).encode(), digest_size=_SIZE).digest() for row in named.iter_rows()]


class Overlap:
    """What was there before, as one reading meets it again, and what the next one will.

    Args:
        columns: Columns that say what a row is.
        seen: Digests of the rows that were there, as a position keeps them; None for none.
    """

    def __init__(self, columns: Sequence[str], seen: Mapping[str, Any] | None) -> None:
        said = seen or {"columns": list(columns), "digests": ""}
        self._then: list[str] = list(said["columns"])
        self._columns = list(columns)
        packed = base64.b64decode(said["digests"])
        self._left = Counter(packed[at : at + _SIZE] for at in range(0, len(packed), _SIZE))
        self._next: list[bytes] = []

    def is_new(self, rows: pl.DataFrame) -> pl.Series:
        """Which rows were not there before.

        Args:
            rows: Rows at or below the watermark, of one batch.

        Raises:
            SchemaError: A column that told rows apart is gone.
        """
        if not self._left:
            return pl.Series([True]).new_from_index(0, rows.height)
        lost = [name for name in self._then if name not in rows.columns]
        if lost:
            raise SchemaError(
                f"the source no longer has {lost}, by which rows that were loaded before are told from new ones; "
                "nothing was written. Declare `keys`, and load once with `full_refresh=True`"
            )
        new = []
        for one in digests(rows, self._then):
            known = self._left[one] > 0
            new.append(not known)
            if known:
                self._left[one] -= 1
        return pl.Series(new, dtype=pl.Boolean)

    def keep(self, rows: pl.DataFrame) -> None:
        """Remember rows that the next reading sees again.

        Raises:
            InputError: There are too many of them.
        """
        self._next += digests(rows, self._columns)
        if len(self._next) > MOST:
            raise InputError(
                f"more than {MOST:,} rows share the last value of the cursor, or lie within its `lag`: too many to "
                "remember. Give a smaller `lag`, a cursor of finer steps, or `reread` with a mode that knows rows by "
                "their keys (Upsert, History, `Append(once=[...])`)"
            )

    def said(self, *, stood_still: bool) -> dict[str, Any]:
        """What the next reading is told, as JSON.

        Args:
            stood_still: Whether the watermark is where it was. Then also rows that were not seen this time are still
                known: a replica that lags behind, or a table that is just being filled anew, shows them again.
        """
        gone = list(self._left.elements()) if stood_still and self._then == self._columns else []
        packed = b"".join(sorted([*self._next, *gone]))
        return {"columns": self._columns, "digests": base64.b64encode(packed).decode()}


def _text(value: Any) -> str:  # noqa: PLR0911 - one line per type
    """A value as a text that no other value has."""
    if value is None:
        return "~"
    if isinstance(value, datetime):
        zoned = value.tzinfo is not None
        return f"{'z' if zoned else 't'}{(value.astimezone(UTC) if zoned else value).replace(tzinfo=None).isoformat()}"
    if isinstance(value, str):
        return f"s{len(value)}:{value}"
    if isinstance(value, bytes):
        return f"x{value.hex()}"
    if isinstance(value, Decimal):
        return f"n{value.normalize():f}" if value else "n0"
    if isinstance(value, bool):
        return f"b{value:d}"
    if isinstance(value, int):
        return f"n{value}"
    if isinstance(value, float | date | time | timedelta | uuid.UUID):
        return f"{type(value).__name__}{value!r}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_text(name)}={_text(part)}" for name, part in sorted(value.items())) + "}"
    if isinstance(value, Iterable):
        return "(" + ",".join(map(_text, value)) + ")"
    return f"{type(value).__name__}{value!r}"
