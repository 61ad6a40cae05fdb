"""All pages of an endpoint, in order: fetched at a time where that is possible, and never many ahead of who reads."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Full, Queue
from threading import Event
from urllib.parse import urlencode

from fuse_dagster.connectors.http.client import Client
from fuse_dagster.connectors.http.endpoints import Endpoint
from fuse_dagster.connectors.http.messages import Request
from fuse_dagster.connectors.http.pages import Page, UnreadableError, page_of
from fuse_dagster.connectors.http.paging import Ask, Pager
from fuse_dagster.connectors.http.paths import put
from fuse_dagster.connectors.http.urls import filled, holes, joined, with_query

_TRIES = 3
_AHEAD = 2
"""Pages of one set of parameters that wait for their turn."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of an endpoint.

    Attributes:
        client: Asks.
        endpoint: What is read.
        concurrency: Requests at a time.
        limit: Rows after which no more pages are needed; None for all.
        given_up: Set when nobody reads any more.
    """

    client: Client
    endpoint: Endpoint
    concurrency: int
    limit: int | None
    given_up: Event

    def pages(self, sets: list[dict[str, str]]) -> Iterator[Page]:
        """Yield all pages of all sets of parameters, one set after the other.

        Raises:
            FuseError: A page can't be had, or can't be true; nothing is left out silently.
        """
        if len(sets) == 1 or self.concurrency == 1:
            with ThreadPoolExecutor(self.concurrency, thread_name_prefix="fuse-rest") as pool:
                try:
                    for one in sets:
                        yield from self._pages_of(one, pool if self.concurrency > 1 else None)
                finally:
                    self.given_up.set()
                    pool.shutdown(cancel_futures=True)
        else:
            yield from self._side_by_side(sets)

    def _pages_of(self, parameters: Mapping[str, str], pool: ThreadPoolExecutor | None) -> Iterator[Page]:
        pager = Pager(self.endpoint.paging, joined(self.client.base, self.endpoint.path))
        ask: Ask | None = pager.first()
        number, rows = 0, 0
        ahead: deque[Future[Page]] = deque()
        to_come, asked = 0, 1
        while ask is not None:
            number += 1
            page = ahead.popleft().result() if ahead else self._page(parameters, ask, number)
            ask = pager.after(page)
            rows += len(page.records)
            if number == 1 and pool is not None:
                to_come = pager.pages_to_come(self.limit)
            while pool is not None and ask is not None and asked < to_come and len(ahead) < self.concurrency:
                asked += 1
                ahead.append(pool.submit(self._page, parameters, pager.numbered(asked), asked))
            if page.records:
                yield page
            if self.limit is not None and rows >= self.limit:
                return

    def _page(self, parameters: Mapping[str, str], ask: Ask, number: int) -> Page:
        """One page; an answer that is no whole JSON is asked for again."""
        request = request_for(self.client.base, self.endpoint, parameters, ask)
        kept = {name: parameters[name] for name in self.endpoint.keep}
        for left in range(_TRIES - 1, -1, -1):
            answer = self.client.send(request, given_up=self.given_up)
            try:
                return page_of(answer, self.endpoint, number=number, kept=kept)
            except UnreadableError:
                if not left or not request.repeatable or self.given_up.is_set():
                    raise
        raise AssertionError("the last try returns or raises")

    def _side_by_side(self, sets: list[dict[str, str]]) -> Iterator[Page]:
        """Several sets at a time, each in a thread that waits when it is some pages ahead."""
        lines = [_Line(self.given_up) for _ in sets]
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="fuse-rest") as pool:
            try:
                # A set is begun when one of those before it is done; so those in front never wait for a thread.
                done = [pool.submit(line.fill, self._of_set(one)) for line, one in zip(lines, sets, strict=True)]
                for line, filled_up in zip(lines, done, strict=True):
                    yield from line.pages()
                    filled_up.result()  # raises what went wrong there
            finally:
                self.given_up.set()
                pool.shutdown(cancel_futures=True)

    def _of_set(self, parameters: Mapping[str, str]) -> Callable[[], Iterator[Page]]:
        return lambda: self._pages_of(parameters, None)


class _Line:
    """Pages on their way from one thread to another, never many."""

    def __init__(self, given_up: Event) -> None:
        self._queue: Queue[Page | None] = Queue(_AHEAD)
        self._given_up = given_up

    def fill(self, pages: Callable[[], Iterator[Page]]) -> None:
        """Put in all pages, and at the end None, also where something went wrong."""
        try:
            for page in pages():
                if not self._put(page):
                    return
        finally:
            self._put(None)

    def pages(self) -> Iterator[Page]:
        """Take them out."""
        while (page := self._queue.get()) is not None:
            yield page

    def _put(self, what: Page | None) -> bool:
        while not self._given_up.is_set():
            try:
                self._queue.put(what, timeout=0.05)
            except Full:
                continue
            return True
        return False


def request_for(base: str, endpoint: Endpoint, parameters: Mapping[str, str], ask: Ask) -> Request:
    """The request for a page.

    Args:
        base: Address that the endpoint lies below.
        endpoint: The endpoint.
        parameters: Its parameters, of which some go into the path.
        ask: Which page.

    Raises:
        ConfigError: A parameter can't be part of the path.
    """
    in_path = set(holes(endpoint.path))
    query: dict[str, str] = {}
    url = ask.url
    if not url:
        url = joined(base, filled(endpoint.path, parameters))
        query = {name: value for name, value in parameters.items() if name not in in_path}
    form, body = dict(endpoint.form), json.loads(endpoint.body) if endpoint.body else None
    if endpoint.paging.parameters_in == "query":
        query |= {name: str(value) for name, value in ask.parameters.items()}
    elif form:
        form |= {name: str(value) for name, value in ask.parameters.items()}
    else:
        body = {} if body is None else body
        for name, value in ask.parameters.items():
            body = put(body, name, value)
    headers = {"Accept": "application/json", **endpoint.headers}
    sent: bytes | None = None
    if form:
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        sent = urlencode(form).encode()
    elif body is not None:
        headers["Content-Type"] = "application/json"
        sent = json.dumps(body).encode()
    return Request(
        url=with_query(url, query),
        method=endpoint.method,
        headers=headers,
        body=sent,
        repeatable=endpoint.method == "GET" or endpoint.safe,
    )
