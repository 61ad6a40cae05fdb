"""How rows become a table of a database: appended, in place of others, or by key; and what is said afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fuse_dagster.core.errors import ConfigError

Operator = Literal["=", ">=", "<", "in"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One column compared with a value, which is bound and never pasted into the statement.

    Attributes:
        column: Of the table.
        operator: `=`, `>=`, `<` or `in`.
        value: What it is compared with; for `in` a tuple of values.
    """

    column: str
    operator: Operator
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendRows:
    """Add the rows to those that are there.

    Attributes:
        once: A name of the batch. It is remembered in the table `_fuse_loads` beside the table, in the same
            transaction as the rows: the same name a second time adds nothing. Without one, each call adds its rows.
    """

    once: str | None = None

    def __post_init__(self) -> None:
        """Refuse a name that can't be remembered."""
        if self.once is not None and not 0 < len(self.once) <= 200:
            raise ConfigError(f"`once` is `{self.once[:80]}`. Valid: a text of 1 to 200 signs, or None.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceRows:
    """Put the rows in place of others: readers see the old ones or the new ones.

    Attributes:
        by: `swap` loads into a table beside it, which takes its name in a moment: readers hardly wait. What PostgreSQL
            and MySQL can't carry over (foreign keys, triggers, views, ...) is refused, by name. `truncate` empties the
            table itself and fills it, in one transaction: everything about it stays, but readers of PostgreSQL and SQL
            Server wait until it is full. Systems other than PostgreSQL and MySQL empty and fill in either case.
        where: Only the rows that meet all comparisons of one of these groups are replaced; all where it is empty.
    """

    by: Literal["swap", "truncate"] = "swap"
    where: tuple[tuple[Comparison, ...], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what would replace all rows by mistake."""
        if self.by not in ("swap", "truncate"):
            raise ConfigError(f"`by` is `{self.by}`. Valid: `swap`, `truncate`.")
        if not all(self.where):
            raise ConfigError("A group of `where` is empty, which would replace all rows. Leave `where` out for that.")


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsertRows:
    """Update the rows whose key is there, and insert the others.

    Attributes:
        keys: The columns of the key. The table needs a unique index on exactly these; a table that is made gets it.
        when_matched: `update` writes the batch's columns over those of the row that is there; `ignore` leaves it.
    """

    keys: Sequence[str]
    when_matched: Literal["update", "ignore"] = "update"

    def __post_init__(self) -> None:
        """Refuse keys that can't be; one text is one name."""
        keys = (self.keys,) if isinstance(self.keys, str) else tuple(self.keys)
        object.__setattr__(self, "keys", keys)
        if not keys or len(set(keys)) < len(keys):
            raise ConfigError(f"`keys` is `{list(keys)}`. Name the columns of the key, each once.")
        if self.when_matched not in ("update", "ignore"):
            raise ConfigError(f"`when_matched` is `{self.when_matched}`. Valid: `update`, `ignore`.")


RowsMode = AppendRows | ReplaceRows | UpsertRows


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsWritten:
    """What was written, and is committed.

    Attributes:
        rows: How many rows came in.
        inserted: How many of them are new in the table.
        updated: How many replaced the row of their key, or left it as it is where that was asked for.
        deleted: How many rows went to make place; None where the system replaced the table without counting.
        created: Whether the table was made.
        repeated: Whether the batch was there already, so that nothing was written.
        seconds: How long it took.
    """

    rows: int
    inserted: int = 0
    updated: int = 0
    deleted: int | None = 0
    created: bool = False
    repeated: bool = False
    seconds: float = 0.0
