"""Upserts from a staging table: rows whose key is there are updated, the others inserted, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fuse_dagster.connectors.databases.staging import taken_from
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import listing

if TYPE_CHECKING:
    from fuse_dagster.connectors.databases.fitting import Fit
    from fuse_dagster.connectors.databases.links import Link
    from fuse_dagster.connectors.databases.modes import UpsertRows


@dataclass(frozen=True, slots=True)
class Merge:
    """What an upsert works on.

    Attributes:
        table: The table's name, quoted.
        stage: The staging table's, quoted.
        fits: The columns of the batch.
        how: The keys, and what happens to rows that are there.
    """

    table: str
    stage: str
    fits: Sequence[Fit]
    how: UpsertRows

    @property
    def names(self) -> list[str]:
        """The columns of the batch."""
        return [fit.name for fit in self.fits]

    @property
    def updated(self) -> list[str]:
        """The columns that are written over; none where rows that are there stay as they are."""
        if self.how.when_matched == "ignore":
            return []
        return [name for name in self.names if name not in self.how.keys]


def matched(link: Link, merge: Merge) -> int:
    """How many rows of the batch have a key that is in the table."""
    both = _same_key(link, merge, "t", "s")
    text = (
        f"SELECT COUNT(*) FROM {merge.stage} s WHERE EXISTS "  # noqa: S608 - of quoted names
        f"(SELECT 1 FROM {merge.table} t WHERE {both})"
    )
    return int(link.ask(text)[0][0])


def statements(link: Link, merge: Merge) -> list[str]:
    """The statements that bring a staging table into the table, in the words of the system."""
    if link.dialect.upsert == "merge":
        return [_merge(link, merge)]
    if link.dialect.upsert == "on conflict":
        return [_on_conflict(link, merge)]
    return _update_and_insert(link, merge)


def refuse_unguarded(name: str, keys: Sequence[str], *, is_guarded: bool) -> None:
    """Refuse keys that no unique index of the table guards: rows could stand twice afterwards.

    Raises:
        ConfigError: There is none.
    """
    if not is_guarded:
        raise ConfigError(
            f"No unique index of `{name}` is on exactly the keys {listing(keys)}, so that two writers at a time could "
            "insert one key twice. Make one first: CREATE UNIQUE INDEX ... ON the table (keys)."
        )


def _on_conflict(link: Link, merge: Merge) -> str:
    keys = link.listed(merge.how.keys)
    sets = ", ".join(f"{link.quoted(name)} = excluded.{link.quoted(name)}" for name in merge.updated)
    do = f"DO UPDATE SET {sets}" if sets else "DO NOTHING"
    # SQLite takes `ON` for that of a join, unless a WHERE stands before it.
    return (
        f"INSERT INTO {merge.table} ({link.listed(merge.names)}) "  # noqa: S608 - of quoted names
        f"SELECT {taken_from(link, merge.fits)} FROM {merge.stage} WHERE 1 = 1 ON CONFLICT ({keys}) {do}"
    )


def _merge(link: Link, merge: Merge) -> str:
    held = " WITH (HOLDLOCK)" if link.dialect.name == "tsql" else ""
    sets = ", ".join(f"{link.quoted(name)} = s.{link.quoted(name)}" for name in merge.updated)
    update = f" WHEN MATCHED THEN UPDATE SET {sets}" if sets else ""
    both = _same_key(link, merge, "t", "s")
    return (
        f"MERGE INTO {merge.table}{held} AS t USING {merge.stage} AS s ON {both}{update} "  # noqa: S608 - quoted names
        f"WHEN NOT MATCHED THEN INSERT ({link.listed(merge.names)}) VALUES ({link.listed(merge.names, 's')});"
    )


def _update_and_insert(link: Link, merge: Merge) -> list[str]:
    # ON DUPLICATE KEY would also update a row that another unique index finds.
    both = _same_key(link, merge, "t", "s")
    sets = ", ".join(f"t.{link.quoted(name)} = s.{link.quoted(name)}" for name in merge.updated)
    update = f"UPDATE {merge.table} t JOIN {merge.stage} s ON {both} SET {sets}"  # noqa: S608 - of quoted names
    insert = (
        f"INSERT INTO {merge.table} ({link.listed(merge.names)}) "  # noqa: S608 - of quoted names
        f"SELECT {link.listed(merge.names, 's')} FROM {merge.stage} s "
        f"LEFT JOIN {merge.table} t ON {both} WHERE t.{link.quoted(merge.how.keys[0])} IS NULL"
    )
    return [update, insert] if sets else [insert]


def _same_key(link: Link, merge: Merge, left: str, right: str) -> str:
    words = {fit.name: fit.uncut for fit in merge.fits if link.exact and fit.kind.family == "other"}
    parts = []
    for key in merge.how.keys:
        name = link.quoted(key)
        theirs = f"CAST({right}.{name} AS {words[key]})" if key in words else f"{right}.{name}"
        parts.append(f"{left}.{name} = {theirs}")
    return " AND ".join(parts)
