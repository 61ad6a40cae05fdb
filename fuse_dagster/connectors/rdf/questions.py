"""The text of a SPARQL question: what it asks for, and parameters put in the place of its variables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from fuse_dagster.connectors.rdf.terms import written
from fuse_dagster.core.errors import InputError
from fuse_dagster.core.naming import did_you_mean

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n\r]*)
    |(?P<iri><[^<>"{}|^`\\\x00-\x20]*>)
    |(?P<text>\"{3}(?:\"{0,2}(?:[^"\\]|\\.))*\"{3}|'{3}(?:'{0,2}(?:[^'\\]|\\.))*'{3}
        |\"(?:[^"\\\n\r]|\\.)*\"|'(?:[^'\\\n\r]|\\.)*')
    |(?P<variable>[?$]\w+)
    |(?P<name>(?:[^\W\d_][\w.-]*)?:(?:[\w:.%-]|\\[_~.\-!$&'()*+,;=/?\#@%])*)
    |(?P<word>[^\W\d_][\w-]*)
    |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_FORMS = {"SELECT", "ASK", "CONSTRUCT", "DESCRIBE"}
_CHANGES = {"INSERT", "DELETE", "LOAD", "CLEAR", "DROP", "CREATE", "ADD", "MOVE", "COPY", "WITH"}
_UNICODE = re.compile(r"\\[uU]")


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    depth: int
    """How many braces and parentheses are open around it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question that can be sent.

    Attributes:
        text: As the server gets it.
        form: `SELECT` or `ASK`.
        ordered: Whether its rows have an order.
        limited: Whether it says itself which rows of all it wants, or brings values along at its end.
    """

    text: str
    form: str
    ordered: bool
    limited: bool

    def page(self, size: int, start: int) -> str:
        """The question for some of the rows."""
        return f"{self.text}\nLIMIT {int(size)} OFFSET {int(start)}"


def question(text: str, parameters: Mapping[str, object] | None = None) -> Question:
    """Read a question, and put values in the place of its variables.

    Args:
        text: SPARQL 1.1: a SELECT or an ASK.
        parameters: Name of a variable -> value; see `terms.written`.

    Raises:
        InputError: It is no such question; or a parameter can't stand where its variable does, or has none.
    """
    tokens = list(_tokens(text))
    if parameters and any(token.kind != "text" and _UNICODE.search(token.text) for token in _words(tokens)):
        raise InputError("The question holds `\\u` outside of a text: write the sign itself.")
    form = _form(tokens)
    bound = "".join(_bound(tokens, parameters or {}))
    top = [token.text.upper() for token in _words(tokens) if token.depth == 0 and token.kind == "word"]
    ordered = any(pair == ("ORDER", "BY") for pair in pairwise(top))
    limited = bool({"LIMIT", "OFFSET", "VALUES"} & set(top))
    return Question(bound, form, ordered, limited)


def _tokens(text: str) -> Iterator[_Token]:
    depth = 0
    for match in _TOKEN.finditer(text):
        sign = match[0]
        if sign in {"}", ")"}:
            depth -= 1
        yield _Token(match.lastgroup or "sign", sign, depth)
        if sign in {"{", "("}:
            depth += 1


def _words(tokens: list[_Token]) -> list[_Token]:
    return [token for token in tokens if token.kind != "space"]


def _form(tokens: list[_Token]) -> str:
    words = [token.text.upper() for token in tokens if token.kind == "word"]
    found = next((word for word in words if word in _FORMS | _CHANGES), None)
    if found in {"SELECT", "ASK"}:
        return found
    if found in _CHANGES:
        raise InputError(f"A question changes nothing, and this is `{found}`. Ask by SELECT or ASK.")
    if found:
        raise InputError(f"`{found}` answers with a graph, which has no rows. Ask by SELECT, for the terms of it.")
    raise InputError("This is no question in SPARQL. Valid: a SELECT or an ASK, with its prefixes before it.")


def _bound(tokens: list[_Token], parameters: Mapping[str, object]) -> Iterator[str]:
    """The text with values in the place of variables."""
    names = {token.text[1:] for token in tokens if token.kind == "variable"}
    for name in parameters:
        if name not in names:
            raise InputError(f"The question has no variable `?{name}`. {did_you_mean(name, sorted(names))}")
    terms = {name: written(value) for name, value in parameters.items()}
    before, naming, selecting = "", False, -1
    for token in tokens:
        word = token.text.upper() if token.kind == "word" else token.text
        if token.kind == "variable" and token.text[1:] in terms:
            if before == "AS" or naming or token.depth == selecting:
                raise InputError(
                    f"`{token.text}` is a parameter, whose value stands there; but the question names a column or "
                    f"a row of VALUES by it. Take another variable, as `({token.text} AS ?other)` in a SELECT."
                )
            yield terms[token.text[1:]]
        else:
            yield token.text
        if token.kind == "space":
            continue
        if word == "SELECT":
            selecting = token.depth
        elif word in {"WHERE", "{", "FROM"}:
            selecting, naming = -1, False
        elif word == "VALUES":
            naming = True
        before = word
