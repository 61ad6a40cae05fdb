"""Which rows are meant, as a condition with markers and the values for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fuse_dagster.connectors.databases.dialects import Dialect
from fuse_dagster.connectors.databases.modes import Comparison


def condition(
    dialect: Dialect,
    where: Sequence[Sequence[Comparison]],
    *,
    words: Mapping[str, str],
    quoted: Callable[[str], str] | None = None,
) -> tuple[str, list[Any]]:
    """A condition in SQL that holds for rows which meet all comparisons of one group.

    Args:
        dialect: How it is written.
        where: The groups; none for all rows.
        words: Column -> its type in the system's own words, which times are told to be of.
        quoted: Writes a name; by default as the dialect does.

    Returns:
        The condition with the driver's markers, and their values in order; both empty for all rows.
    """
    values: list[Any] = []
    name = quoted or dialect.quoted

    def marked(column: str, value: Any) -> str:
        is_time = isinstance(value, datetime)
        if is_time and value.tzinfo is not None:
            value = value.astimezone(UTC)
        by_place = dialect.marker == "?"  # such drivers send a time without its zone, or as an object of their own
        values.append(value.isoformat(sep=" ") if is_time and by_place else value)
        mark = dialect.mark(len(values))
        return f"CAST({mark} AS {words[column]})" if is_time and by_place and dialect.name != "sqlite" else mark

    def said(one: Comparison) -> str:
        if one.operator == "in":
            return f"{name(one.column)} IN ({', '.join(marked(one.column, value) for value in one.value)})"
        return f"{name(one.column)} {one.operator} {marked(one.column, one.value)}"

    groups = ["(" + " AND ".join(said(one) for one in group) + ")" for group in where]
    return " OR ".join(groups), values
