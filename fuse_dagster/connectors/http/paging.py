"""From page to page, in every style; and what of it can't be true.

A server that pages wrongly looks like a shorter table. So nothing that a page says is believed without looking: its
size, its total, where it leads, and whether it was there before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from fuse_dagster.connectors.http.endpoints import NUMBERED, Paging
from fuse_dagster.connectors.http.failures import cleaned
from fuse_dagster.connectors.http.links import next_link
from fuse_dagster.connectors.http.pages import Page
from fuse_dagster.connectors.http.paths import ABSENT, Path
from fuse_dagster.connectors.http.urls import resolved
from fuse_dagster.core.errors import StoreError, StoreUnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What to ask for next.

    Attributes:
        url: An address that an answer named; "" for the endpoint's own.
        parameters: What is added to it: name -> value.
    """

    url: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


class Pager:
    """Walks through the pages of one reading, and looks at each.

    Args:
        paging: How the endpoint pages.
        place: The endpoint, for people.
    """

    def __init__(self, paging: Paging, place: str) -> None:
        self._paging, self._place = paging, place
        self._size: int | None = paging.size or None
        self._rows = self._pages = 0
        self._total: int | None = None
        self._last = -1
        self._named = False
        self._probing = False
        self._hashes: set[bytes] = set()
        self._asked: set[str] = set()

    def first(self) -> Ask:
        """What to ask for first."""
        return self.numbered(1) if self._paging.style in NUMBERED else Ask(parameters=self._sized())

    def numbered(self, number: int) -> Ask:
        """What to ask for, for a page by its number from 1, where all before it are full."""
        paging = self._paging
        at = paging.first + number - 1 if paging.style == "page" else (number - 1) * (self._size or 0)
        return Ask(parameters={**self._sized(), paging.asks_by: at})

    def pages_to_come(self, limit: int | None) -> int:
        """How many pages there are, after the first one was looked at; 0 where that is not certain."""
        paging = self._paging
        if paging.style not in NUMBERED or paging.uneven or paging.total_may_change or not self._size:
            return 0
        if self._total is None or self._last >= self._total:
            return 0
        rows = self._total if limit is None else min(limit, self._total)
        return min(-(-rows // self._size), paging.max_pages)

    def after(self, page: Page) -> Ask | None:
        """Look at a page, and say what to ask for after it; None at the end.

        Raises:
            StoreUnavailableError: It contradicts the pages before it; all may be well when everything is read again.
            StoreError: It can't be the page that was asked for.
        """
        count = len(page.records)
        self._pages += 1
        if self._probing:
            if count:
                raise self._lie(page, "has rows, though the page before it was empty. An empty page is no end here")
            return None
        self._look_at_size(page, count)
        self._look_at_repeats(page)
        self._rows += count
        self._last = count
        self._look_at_total(page)
        ask = self._next(page, count)
        if ask is None:
            self._look_at_end(page)
        elif self._pages >= self._paging.max_pages:
            msg = f"`{self._place}` goes on after {self._pages:,} pages, its `max_pages`. Check `paging`, or raise it."
            raise StoreError(msg)
        return ask

    def _look_at_size(self, page: Page, count: int) -> None:
        paging = self._paging
        if self._size is not None and count > self._size and paging.style != "none":
            what = (
                f"has {count:,} rows, though {self._size:,} were asked for. Correct `paging.size` or `size_parameter`"
            )
            raise self._lie(page, what, again=False)
        if paging.uneven:
            return
        if count and self._last == 0 and self._pages > 1:
            raise self._lie(page, "follows an empty page. Where that is right, set `paging.uneven`")
        if count and self._size is not None and 0 < self._last < self._size:
            raise self._lie(
                page,
                f"follows one of {self._last:,} rows, though {self._size:,} were asked for. Set `paging.size` to what "
                "the server gives, or `paging.uneven`",
            )
        if self._size is None and paging.style in NUMBERED and count:
            self._size = count

    def _look_at_repeats(self, page: Page) -> None:
        if self._paging.repeats or not page.records or self._paging.style == "none":
            return
        told = hashlib.blake2b(repr(page.records).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if told in self._hashes:
            raise self._lie(page, "holds the same rows as one before it. Where that is right, set `paging.repeats`")
        self._hashes.add(told)

    def _look_at_total(self, page: Page) -> None:
        place = self._paging.total
        if not place:
            return
        total = _count(page.at(place))
        if total is None and self._total is None:
            raise StoreError(f"{_begin(page)} says no count of rows at `{place}`. Correct `paging.total`.")
        if total is None:
            return
        if self._total is not None and total != self._total and not self._paging.total_may_change:
            what = f"says that there are {total:,} rows, and one before it said {self._total:,}: they change while read"
            raise self._lie(page, f"{what}. Where that is right, set `paging.total_may_change`")
        self._total = total
        if self._rows > total and not self._paging.total_may_change:
            raise self._lie(page, f"brings the rows to {self._rows:,}, though it says that there are {total:,}")

    def _look_at_end(self, page: Page) -> None:
        if self._total is not None and self._rows != self._total and not self._paging.total_may_change:
            what = f"is the last one, and there were {self._rows:,} rows, though it says that there are {self._total:,}"
            raise self._lie(page, what)

    def _next(self, page: Page, count: int) -> Ask | None:
        style = self._paging.style
        if style == "none":
            return None
        more = self._more(page)
        if style in NUMBERED:
            return self._next_number(page, count, more=more)
        if style == "cursor":
            return self._next_cursor(page, count, more=more)
        return self._next_named(page, count, more=more)

    def _next_named(self, page: Page, count: int, *, more: bool | None) -> Ask | None:
        """The page that the answer names: by a token or an address."""
        named = self._name_of_next(page)
        if named is None and more:
            raise self._lie(page, f"says at `{self._paging.more}` that there is more, and not where")
        if named is None:
            self._look_whether_it_was_ever_named(page, count)
        if named is None or more is False:
            return None
        if not count and not self._paging.uneven:
            raise self._lie(page, "is empty, and leads on. Where that is right, set `paging.uneven`")
        if self._paging.style == "token":
            self._look_at_loop(page, named)
            return Ask(parameters={**self._sized(), self._paging.asks_by: named})
        self._asked.add(page.url)
        url = resolved(page.url, named)
        self._look_at_loop(page, url)
        return Ask(url=url)

    def _next_number(self, page: Page, count: int, *, more: bool | None) -> Ask | None:
        if self._total is not None:
            more = self._rows < self._total
        elif self._paging.total_pages:
            pages = _count(page.at(self._paging.total_pages))
            if pages is None:
                place = self._paging.total_pages
                raise StoreError(f"{_begin(page)} says no count at `{place}`. Correct `paging.total_pages`.")
            more = self._pages < pages
        if more is None:
            if count:
                return self._following()
            if self._rows and self._size and self._rows % self._size:
                return None  # a short page and then an empty one are two signs of the end
            self._probing = True  # an empty one alone may be a slip: there must be nothing after it either
            return self._following()
        if more and not self._paging.uneven:
            if not count:
                raise self._lie(page, "is empty, though there should be more. Where that is right, set `paging.uneven`")
            if self._size and count < self._size:
                raise self._lie(
                    page,
                    f"has {count:,} rows, though {self._size:,} were asked for and there are more. Set `paging.size` "
                    "to what the server gives, or `paging.uneven`",
                )
        return self._following() if more else None

    def _next_cursor(self, page: Page, count: int, *, more: bool | None) -> Ask | None:
        if self._total is not None and more is None:
            more = self._rows < self._total
        if more is None:
            more = bool(count)  # a short page is no end: the one after it has to be empty
        if not more:
            return None
        if not count:
            raise self._lie(page, "is empty, though there should be more")
        cursor = Path.parse(self._paging.found_at).one(page.records[-1])
        if cursor is ABSENT or cursor is None or isinstance(cursor, dict | list):
            msg = f"The last row of {page.where} has no `{self._paging.found_at}`. Correct `paging.found_at`."
            raise StoreError(msg)
        self._look_at_loop(page, _text(cursor))
        return Ask(parameters={**self._sized(), self._paging.asks_by: _text(cursor)})

    def _name_of_next(self, page: Page) -> str | None:
        """Where the answer says the next page is; None where it names none."""
        if self._paging.style == "link":
            return next_link(page.headers.get("link", ""))
        found = page.at(self._paging.found_at)
        self._named = self._named or found is not ABSENT
        if found is ABSENT or found is None or found is False or found == "":
            return None
        if isinstance(found, dict | list) or found is True:
            msg = f"{_begin(page)} has no text at `{self._paging.found_at}`. Correct `paging.found_at`."
            raise StoreError(msg)
        return _text(found)

    def _look_whether_it_was_ever_named(self, page: Page, count: int) -> None:
        paging = self._paging
        if paging.style == "link" or self._named or paging.more or paging.total:
            return
        if paging.size and count == paging.size:
            msg = (
                f"{_begin(page)} is full, and no page had anything at `{paging.found_at}`, where "
                "the next one is named. Correct `paging.found_at`; or give `total` or `more`, by which the end is told."
            )
            raise StoreError(msg)

    def _look_at_loop(self, page: Page, named: str) -> None:
        if named in self._asked:
            raise self._lie(page, f"leads back to a page that was read already (`{cleaned(named)}`)")
        self._asked.add(named)

    def _more(self, page: Page) -> bool | None:
        if not self._paging.more:
            return None
        found = page.at(self._paging.more)
        said = {"true": True, "false": False}.get(found.lower()) if isinstance(found, str) else found
        if not isinstance(said, bool):
            msg = f"{_begin(page)} says neither `true` nor `false` at `{self._paging.more}`. Correct it."
            raise StoreError(msg)
        return said

    def _sized(self) -> dict[str, Any]:
        paging = self._paging
        return {paging.size_parameter: paging.size} if paging.size_parameter else {}

    def _following(self) -> Ask:
        """The next page of those that have numbers; an offset goes by the rows that came, not by those asked for."""
        paging = self._paging
        at = paging.first + self._pages if paging.style == "page" else self._rows
        return Ask(parameters={**self._sized(), paging.asks_by: at})

    def _lie(self, page: Page, what: str, *, again: bool = True) -> StoreError | StoreUnavailableError:
        msg = f"{_begin(page)} {what}."
        return StoreUnavailableError(f"{msg} Nothing of it is kept; read it again.") if again else StoreError(msg)


def _begin(page: Page) -> str:
    return f"P{page.where[1:]}"


def _count(found: Any) -> int | None:
    """A count that an answer says; None where it says none."""
    if isinstance(found, str) and found.strip().isdigit() and found.isascii():
        return int(found)
    if isinstance(found, Decimal) and found == found.to_integral_value():
        found = int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) and found >= 0 else None


def _text(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)
