"""What a connection to a REST API says of each thing that it reads: where it is, how it pages, what its rows are."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from dagster import Config
from pydantic import ConfigDict, Field

from fuse_dagster.connectors.declaring import Problem
from fuse_dagster.connectors.http.connection import header_is_sound
from fuse_dagster.connectors.http.conversions import column_problem
from fuse_dagster.connectors.http.paths import path_problem
from fuse_dagster.connectors.http.urls import holes
from fuse_dagster.core.naming import did_you_mean

NUMBERED = frozenset({"page", "offset"})
"""Styles whose pages can be asked for in any order."""

_DEFAULTS = {"page": "page", "offset": "offset"}


class Paging(Config):
    """How an endpoint hands out its rows in pages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    style: Literal["none", "page", "offset", "cursor", "token", "link", "next_url"] = Field(
        default="none",
        description="`page`: pages have numbers. `offset`: rows have. `cursor`: the next page follows the last row. "
        "`token`: the answer names the next page. `link`: so does its header `Link`. `next_url`: by an address.",
    )
    parameter: str = Field(default="", description="The parameter that says which page; `page` or `offset` by default.")
    parameters_in: Literal["query", "body"] = Field(default="query", description="Where parameters of paging go.")
    first: int = Field(default=1, description="Number of the first page, for `page`.")
    size: int = Field(default=0, description="Rows to ask for per page; 0 to take what comes.")
    size_parameter: str = Field(default="", description="The parameter that asks for so many rows.")
    found_at: str = Field(
        default="",
        description="Where the next page is named: for `cursor` a field of the last row, for `token` and `next_url` a "
        "path in the answer, or `header:NAME`.",
    )
    total: str = Field(
        default="",
        description="Where the answer says how many rows there are: a path, or `header:NAME`. It is checked, and lets "
        "numbered pages be fetched at a time.",
    )
    total_pages: str = Field(default="", description="Where the answer says how many pages there are.")
    more: str = Field(default="", description="Where the answer says whether there is more: `true` or `false`.")
    uneven: bool = Field(
        default=False, description="Pages before the last may be short or empty, as with some APIs that filter late."
    )
    total_may_change: bool = Field(default=False, description="Rows may come or go while they are read.")
    repeats: bool = Field(default=False, description="Two pages may hold the same rows.")
    max_pages: int = Field(default=100_000, description="Pages after which something must be wrong: an error, no end.")

    @property
    def asks_by(self) -> str:
        """The parameter that says which page."""
        return self.parameter or _DEFAULTS.get(self.style, "")


class Endpoint(Config):
    """One thing that an API has rows of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="Below `base_url`; `{name}` is filled from `parameters`, quoted.")
    method: Literal["GET", "POST"] = Field(default="GET", description="How it is asked.")
    safe: bool = Field(default=False, description="A POST that only reads, so that it may be tried again.")
    parameters: dict[str, str] = Field(default_factory=dict, description="Sent in the query, or filled into the path.")
    headers: dict[str, str] = Field(default_factory=dict, description="Sent with this endpoint's requests only.")
    body: str = Field(default="", description="JSON to send with a POST.")
    form: dict[str, str] = Field(default_factory=dict, description="A form to send with a POST.")
    each: list[dict[str, str]] = Field(
        default_factory=list, description="Sets of parameters: all are read, several at a time, one after the other."
    )
    keep: list[str] = Field(
        default_factory=list, description="Parameters of `each` that become columns, to tell the sets apart."
    )
    records: str = Field(
        default="",
        description="Path of the rows in the answer, as `data.items`; empty where the answer is the list, `.` where it "
        "is one row.",
    )
    errors: list[str] = Field(
        default=["error", "errors"],
        description="Paths at which an answer with status 200 says that it failed; what is empty there is no failure.",
    )
    paging: Paging = Field(default_factory=Paging, description="How it pages.")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="Column -> type, as `int64`, `decimal(10,2)`, `timestamp`, `json`. Without it types are inferred.",
    )
    types: Literal["whole", "first"] = Field(
        default="whole",
        description="What types are inferred from: the whole read, which is kept on disk meanwhile, or the first page, "
        "which the others must not contradict.",
    )
    nested: Literal["struct", "json"] = Field(
        default="struct", description="What objects and lists become: structs and lists, or JSON as text."
    )
    mixed: Literal["refuse", "json"] = Field(
        default="refuse", description="What becomes of a column that holds text here and numbers there."
    )


def problems_of(name: str, endpoint: Endpoint) -> list[Problem]:
    """What is wrong with an endpoint whose fields are each of the right type."""
    said = [*_of_request(endpoint), *_of_body(endpoint), *_of_rows(endpoint), *_of_paging(endpoint.paging)]
    return [Problem("endpoints", f"`{name}.{field}`: {words}") for field, words in said]


def _of_request(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    if "://" in endpoint.path or endpoint.path.startswith("//"):
        yield "path", "It is an address. Valid: what follows `base_url`, as `stations/{station}/flights`."
    sets = endpoint.each or [{}]
    for hole in holes(endpoint.path):
        if any(hole not in {**endpoint.parameters, **one} for one in sets):
            yield "path", f"It needs a value for `{hole}`. {did_you_mean(hole, endpoint.parameters)}"
    for header, value in endpoint.headers.items():
        if not header_is_sound(header, value) or header.lower() in {"authorization", "cookie"}:
            yield "headers", f"{header!r} can't be sent so. Valid: a name of letters and `-`, no login, in one line."
    for kept in endpoint.keep:
        if any(kept not in one for one in sets):
            yield "keep", f"`{kept}` is not in every set of `each`. {did_you_mean(kept, [*sets[0]])}"


def _of_body(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    for field in ("body", "form"):
        if getattr(endpoint, field) and endpoint.method != "POST":
            yield field, "A GET has none. Set `method` to `POST`."
    if endpoint.body and endpoint.form:
        yield "form", "`body` is given as well. Take one of the two away."
    if endpoint.body:
        try:
            json.loads(endpoint.body)
        except ValueError:
            yield "body", 'It is no JSON. Valid: text such as `{"from": "2024-01-01"}`.'
    if endpoint.safe and endpoint.method == "GET":
        yield "safe", "A GET is safe already. Take it away."


def _of_rows(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    for place in (endpoint.records, *endpoint.errors):
        if words := path_problem(place):
            yield "records" if place == endpoint.records else "errors", words
    for column, kind in endpoint.columns.items():
        if words := column_problem(column, kind):
            yield "columns", words


def _of_paging(paging: Paging) -> Iterator[tuple[str, str]]:
    style = paging.style
    for field in ("total", "total_pages", "more", "found_at"):
        place = getattr(paging, field)
        if place and (words := path_problem(place, header=True)):
            yield f"paging.{field}", words
    if style == "none":
        given = [field for field in Paging.model_fields if getattr(paging, field) != Paging().model_dump()[field]]
        if given and given != ["total"]:
            yield f"paging.{given[0]}", "It needs a `style`. Give that, too."
    if style in {"cursor", "token"} and not paging.parameter:
        yield "paging.parameter", f"The style `{style}` needs it: the parameter that names the next page."
    if style in {"cursor", "token", "next_url"} and not paging.found_at:
        yield "paging.found_at", f"The style `{style}` needs it: where the next page is named."
    if style == "cursor" and paging.found_at.startswith("header:"):
        yield "paging.found_at", "The style `cursor` goes by a field of the last row. Take `token` for a header."
    if paging.uneven and style in NUMBERED and not (paging.total or paging.total_pages or paging.more):
        yield "paging.uneven", f"With `{style}` a page that is empty is the end. Give `total`, `total_pages` or `more`."
    if paging.size < 0 or paging.max_pages < 1:
        yield "paging.size", "`size` is 0 or more, and `max_pages` at least 1."
    if paging.size_parameter and not paging.size:
        yield "paging.size", "`size_parameter` is given without it. Give both."
    if style == "cursor" and not (paging.more or paging.total or paging.size):
        yield "paging.more", "The style `cursor` needs `more`, `total` or `size` to know its end."


def merged(endpoint: Endpoint, parameters: Mapping[str, str] | None) -> list[dict[str, str]]:
    """The sets of parameters to ask with; those given for one reading count more than those declared."""
    given: Mapping[str, Any] = parameters or {}
    return [{**endpoint.parameters, **one, **given} for one in endpoint.each or [{}]]
