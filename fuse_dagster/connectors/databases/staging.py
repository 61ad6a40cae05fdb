"""Tables that hold rows on their way: temporary ones, which go with the connection or the transaction."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fuse_dagster.core.errors import KeyValueError

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.databases.fitting import Fit
    from fuse_dagster.connectors.databases.links import Link

PREFIX = "_fuse_"
"""How the names of our own tables begin."""


def staged(link: Link, table: Sequence[str], fits: Sequence[Fit], batches: Iterator[pa.RecordBatch]) -> tuple[str, int]:
    """Load batches into a temporary table with the types of another one.

    Args:
        link: The connection.
        table: Whose types it takes; the order of keys, of letters in upper and lower case, is that of this table.
        fits: The columns.
        batches: The rows.

    Returns:
        The temporary table's name, quoted, and how many rows it holds.
    """
    name = _temporary(link)
    link.run(making(link, name, table, fits))
    return link.path(name), link.load(name, batches, [_staged_fit(link, fit) for fit in fits])


def making(link: Link, name: Sequence[str], table: Sequence[str], fits: Sequence[Fit]) -> str:
    """The statement that makes a temporary table without rows."""
    columns = ", ".join(_taken(link, fit) for fit in fits)
    # Behind an outer join no column refuses nulls or numbers itself, and each keeps its type and collation.
    source = f"FROM (SELECT 1 AS one) AS o LEFT JOIN {link.path(table)} AS t ON 1 = 0 WHERE 1 = 0"
    if link.dialect.name == "tsql":
        return f"SELECT {columns} INTO {link.path(name)} {source}"
    end = "ON COMMIT DROP " if link.dialect.name == "postgres" else ""
    return f"CREATE TEMPORARY TABLE {link.path(name)} {end}AS SELECT {columns} {source}"


def taken_from(link: Link, fits: Sequence[Fit]) -> str:
    """The columns of a temporary table, as the table itself takes them."""
    return ", ".join(
        f"CAST({link.quoted(fit.name)} AS {fit.uncut})" if _is_text_there(link, fit) else link.quoted(fit.name)
        for fit in fits
    )


def refuse_bad_keys(link: Link, stage: str, keys: Sequence[str]) -> None:
    """Refuse keys that are null, or stand twice, before the table is touched.

    Raises:
        KeyValueError: There are such.
    """
    names = ", ".join(f"`{key}`" for key in keys)
    empty = " OR ".join(f"{link.quoted(key)} IS NULL" for key in keys)
    nulls = link.ask(f"SELECT COUNT(*) FROM {stage} WHERE {empty}")[0][0]  # noqa: S608 - of quoted names
    if nulls:
        raise KeyValueError(
            f"{nulls} rows have a null key {names}; nothing was written. Fix the source, or leave these rows out in "
            "the asset, and say where they go."
        )
    grouped = link.listed(keys)
    doubled = link.ask(
        f"SELECT COUNT(*), COALESCE(SUM(times), 0) FROM (SELECT COUNT(*) AS times FROM {stage} "  # noqa: S608
        f"GROUP BY {grouped} HAVING COUNT(*) > 1) AS doubled"
    )[0]
    if doubled[0]:
        raise KeyValueError(
            f"{doubled[0]} keys {names} stand more than once, in {doubled[1]} rows; nothing was written. Deduplicate "
            "in the asset by a rule of your own, or fix the source."
        )


def _temporary(link: Link) -> list[str]:
    """A new name, in the schema of temporary tables where it can be said."""
    name = f"{PREFIX}{secrets.token_hex(6)}"
    return {"postgres": ["pg_temp", name], "sqlite": ["temp", name], "tsql": [f"#{name}"]}.get(
        link.dialect.name, [name]
    )


def _taken(link: Link, fit: Fit) -> str:
    quoted = link.quoted(fit.name)
    return f"CAST(t.{quoted} AS text) AS {quoted}" if _is_text_there(link, fit) else f"t.{quoted} AS {quoted}"


def _is_text_there(link: Link, fit: Fit) -> bool:
    """Whether the binary form of a type can't be made here, so that the system itself makes it from text."""
    return link.exact and fit.kind.family == "other"


def _staged_fit(link: Link, fit: Fit) -> Fit:
    return replace(fit, word="text") if _is_text_there(link, fit) else fit
