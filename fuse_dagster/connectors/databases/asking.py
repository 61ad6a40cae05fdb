"""Questions that only read, for systems that have no read-only transaction: told by their first word."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from fuse_dagster.core.errors import InputError

if TYPE_CHECKING:
    from fuse_dagster.connectors.databases.dialects import Dialect

_READS = frozenset({"SELECT", "WITH", "FROM", "VALUES", "SHOW", "DESCRIBE", "DESC"})


def refuse_changes(dialect: Dialect, text: str) -> None:
    """Refuse a text that is not one statement which reads.

    Args:
        dialect: Of the text.
        text: What is asked.

    Raises:
        InputError: It begins otherwise, there are several statements, or its quotes don't end.

    Examples:
        >>> from fuse_dagster.connectors.databases.dialects import SNOWFLAKE
        >>> refuse_changes(SNOWFLAKE, "/* DELETE */ SELECT ';'")
    """
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        tokens = sqlglot.tokenize(text, read=dialect.name)
    except SqlglotError:
        raise InputError("The question can't be taken apart: a quote or a comment in it doesn't end.") from None
    while tokens and tokens[-1].token_type == sqlglot.TokenType.SEMICOLON:
        tokens.pop()
    while tokens and tokens[0].token_type == sqlglot.TokenType.L_PAREN:
        tokens.pop(0)
    # Snowflake's `->>` hands the answer of one statement, of any kind, to the next one.
    signs = [token.text for token in tokens if token.token_type != sqlglot.TokenType.STRING]
    chained = "->>" in signs or any(one + two == "->>" for one, two in pairwise(signs))
    several = any(token.token_type == sqlglot.TokenType.SEMICOLON for token in tokens)
    if not tokens or tokens[0].text.upper() not in _READS or several or chained:
        raise InputError("One SELECT is expected: reading changes nothing.")


__all__ = ["refuse_changes"]
