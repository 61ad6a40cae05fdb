"""Names as Spark takes them."""

from __future__ import annotations


def quoted(name: str) -> str:
    """A name of a column or a table between backticks, as Spark's SQL and functions take it, whatever it holds.

    Examples:
        >>> quoted("a `b`.c")
        '`a ``b``.c`'
    """
    return f"`{name.replace('`', '``')}`"
