"""Queries around queries, which cast the columns that a driver would hand over otherwise than they are."""

from __future__ import annotations

from collections.abc import Sequence

from fuse_dagster.connectors.databases.arrow import named
from fuse_dagster.connectors.databases.dialects import Dialect


def around(dialect: Dialect, text: str, names: Sequence[str], casts: Sequence[str | None]) -> str:
    """The same rows and columns, some of them cast.

    Args:
        dialect: Of the text.
        text: A query.
        names: Of its columns.
        casts: One for each: an expression with `{}` where the column's quoted name stands; None for the column itself.

    Returns:
        The text itself where nothing is cast.

    Raises:
        InputError: Two columns have one name.
    """
    if not any(casts):
        return text
    named(names)
    chosen = [
        f"{dialect.quoted(name) if cast is None else cast.replace('{}', dialect.quoted(name))}"
        f" AS {dialect.quoted(name)}"
        for name, cast in zip(names, casts, strict=True)
    ]
    # A comment may end the text: the bracket stands on a line of its own.
    return f"SELECT {', '.join(chosen)} FROM (\n{bare(text)}\n) AS fuse_asked"  # noqa: S608 - of quoted names


def bare(text: str) -> str:
    """A statement without the semicolon that ends it."""
    return text.rstrip().removesuffix(";").rstrip()
