"""One page: the JSON of an answer, read without losing a digit, and the records in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NoReturn

from fuse_dagster import secrets
from fuse_dagster.connectors.http.endpoints import Endpoint
from fuse_dagster.connectors.http.failures import cleaned, said_in
from fuse_dagster.connectors.http.messages import Answer
from fuse_dagster.connectors.http.paths import ABSENT, Path, looked_at
from fuse_dagster.connectors.http.urls import shown
from fuse_dagster.core.errors import StoreError, StoreUnavailableError


class UnreadableError(StoreUnavailableError):
    """An answer that is no JSON, as one that was cut: asking again may bring it whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one request brought.

    Attributes:
        number: From 1, among the pages of one set of parameters.
        records: The records, as JSON has them; numbers with a fraction are `Decimal`.
        body: The whole answer, read.
        headers: Of the answer; names in small letters.
        url: Where it came from.
        raw: The bytes of the answer.
        kept: Column -> value of what is kept of the parameters.
    """

    number: int
    records: list[dict[str, Any]]
    body: Any
    headers: Mapping[str, str]
    url: str
    raw: bytes
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The page, for people."""
        return f"page {self.number} of `{secrets.scrub(shown(self.url))}`"

    def at(self, place: str) -> Any:
        """What stands at a path, or in a header; `ABSENT` for nothing."""
        return looked_at(place, self.body, self.headers)


def page_of(answer: Answer, endpoint: Endpoint, *, number: int, kept: Mapping[str, str]) -> Page:
    """Read an answer.

    Raises:
        UnreadableError: It is no JSON.
        StoreError: It says that it failed, or has no records where they should be.
    """
    url = answer.url
    place = secrets.scrub(shown(url))
    body = body_of(answer.body, place)
    for path in endpoint.errors:
        if isinstance(body, dict) and (said := Path.parse(path).one(body)) is not ABSENT and said:
            words = cleaned(said_in(said) or str(said))
            msg = f"`{place}` answered with status {answer.status} and an error at `{path}`: `{words}`."
            raise StoreError(f"{msg} Check the parameters, or `errors`, if that is no error.")
    records = records_of(body, endpoint.records, place)
    if kept:
        records = [_with(record, kept, place) for record in records]
    return Page(number=number, records=records, body=body, headers=answer.headers, url=url, raw=answer.body, kept=kept)


def body_of(raw: bytes, place: str) -> Any:
    """The JSON in some bytes: whole numbers as they are, others as `Decimal`.

    Raises:
        UnreadableError: It is none.
    """
    try:
        return json.loads(raw, parse_float=Decimal, parse_constant=_no_number, object_pairs_hook=_object)
    except _TwiceError as error:
        raise StoreError(f"`{place}` answers with an object that has `{error.name}` twice. Ask who runs it.") from None
    except (ValueError, RecursionError, ArithmeticError) as error:
        why = f"{type(error).__name__} at {getattr(error, 'pos', '?')} of {len(raw):,} bytes"
        msg = f"`{place}` answered with status 200 and no whole JSON ({why}). Check the address, and run this again."
        raise UnreadableError(msg) from None


def records_of(body: Any, path: str, place: str) -> list[dict[str, Any]]:
    """The records of an answer; values that are no objects become the column `value`.

    Raises:
        StoreError: There is nothing at the path, or no list.
    """
    found = Path.parse(path).every(body)
    if not found and "*" not in path:
        has = ", ".join(f"`{name}`" for name in list(body)[:10]) if isinstance(body, dict) else "no object"
        msg = f"`{place}` has nothing at `{path}`, where its records should be; it has {has}. Correct `records`."
        raise StoreError(msg)
    records: list[Any] = []
    for one in found:
        if isinstance(one, list):
            records += one
        elif isinstance(one, dict) and not path:
            msg = f"`{place}` answers with an object, not with a list. Say by `records` where in it the records are."
            raise StoreError(msg)
        elif one is not None:  # null is how some say that a list is empty
            records.append(one)
    if all(type(one) is dict for one in records):
        return records
    return [one if isinstance(one, dict) else {"value": one} for one in records]


class _TwiceError(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(next(name for name in names if names.count(name) > 1))
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _with(record: dict[str, Any], kept: Mapping[str, str], place: str) -> dict[str, Any]:
    for name in kept:
        if name in record:
            msg = f"`{place}` has a field `{name}` itself. Take it out of `keep`."
            raise StoreError(msg)
    return {**kept, **record}
