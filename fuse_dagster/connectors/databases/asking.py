"""Questions that only read, for systems that have no read-only transaction: told by their words."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from fuse_dagster.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuse_dagster.connectors.databases.dialects import Dialect

_READS = frozenset({"SELECT", "WITH", "FROM", "VALUES", "SHOW", "DESCRIBE", "DESC"})
_CHANGES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "CREATE", "EXPORT", "CALL", "DROP"})
_LINE = {"snowflake": "--|//", "bigquery": "--|#"}


def refuse_changes(dialect: Dialect, text: str) -> None:
    """Refuse a text that is not one statement which reads.

    Functions that it calls are not looked into.

    Args:
        dialect: Of the text.
        text: What is asked.

    Raises:
        InputError: It begins otherwise, there are several statements, its quotes don't end, or a comment is one that
            another parser could end elsewhere.

    Examples:
        >>> from fuse_dagster.connectors.databases.dialects import SNOWFLAKE
        >>> refuse_changes(SNOWFLAKE, "/* DELETE */ SELECT ';'")
    """
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        tokens: list[Any] = list(sqlglot.tokenize(text, read=dialect.name))
    except SqlglotError:
        raise InputError("The question can't be taken apart: a quote or a comment in it doesn't end.") from None
    _refuse_odd_comments(dialect, text, tokens)
    while tokens and tokens[-1].token_type == sqlglot.TokenType.SEMICOLON:
        tokens.pop()
    while tokens and tokens[0].token_type == sqlglot.TokenType.L_PAREN:
        tokens.pop(0)
    first = tokens[0].text.upper() if tokens else ""
    several = any(token.token_type == sqlglot.TokenType.SEMICOLON for token in tokens)
    quoted = {
        sqlglot.TokenType.STRING, sqlglot.TokenType.RAW_STRING, sqlglot.TokenType.BYTE_STRING,
        sqlglot.TokenType.IDENTIFIER,
    }  # fmt: skip
    if (
        first not in _READS
        or several
        or _hands_on([one.text.upper() for one in tokens if one.token_type not in quoted])
    ):
        raise InputError("One SELECT is expected: reading changes nothing.")


def _hands_on(words: Sequence[str]) -> bool:
    """Whether a statement that begins like a question goes on to change something.

    Snowflake's `->>` hands the answer of one statement, of any kind, to the next one, and its `WITH a AS PROCEDURE`
    makes and calls one; what follows `|>` could be more than a question, too.
    """
    return any(
        one + two == "->>" or "->>" in (one, two) or (one, two) == ("AS", "PROCEDURE")
        or (one == "|>" and two in _CHANGES)
        for one, two in pairwise(words)
    )  # fmt: skip


def _refuse_odd_comments(dialect: Dialect, text: str, tokens: Sequence[Any]) -> None:
    """Refuse what stands between the words, where it is not space and comments that end for everybody at one place."""
    comment = rf"(?:{_LINE[dialect.name]})[^\r\n]*(?:\r?\n|\Z)|/\*(?:(?!/\*|\*/)[\s\S])*\*/"
    between = re.compile(rf"(?:\s|{comment})*\Z")
    ends = [0, *(token.end + 1 for token in tokens)]
    begins = [*(token.start for token in tokens), len(text)]
    for end, begin in zip(ends, begins, strict=True):
        if not between.match(text[end:begin]):
            raise InputError(
                "The question has a comment within a comment, or a sign that only some read as one. Leave it out."
            )


__all__ = ["refuse_changes"]
