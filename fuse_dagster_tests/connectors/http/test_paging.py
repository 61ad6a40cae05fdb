"""Whatever the style and the sizes: the rows read are the rows there are, in order; or an error, never fewer."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuse_dagster.connectors.http.links import next_link
from fuse_dagster.core.errors import ConfigError, FuseError, StoreError, StoreUnavailableError
from fuse_dagster_tests.connectors.http.styles import STYLES, api, read
from fuse_dagster_tests.servers.rest import Reply, RestServer
from fuse_dagster_tests.soak import SOAK

if TYPE_CHECKING:
    from collections.abc import Callable


def flights(count: int) -> list[dict[str, Any]]:
    return [{"id": number, "carrier": "AB"[number % 2]} for number in range(count)]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("count", [0, 10, 25, 30])
def test_every_style_reads_all_rows_in_order(rest: RestServer, style: str, count: int) -> None:
    rest.rows = flights(count)
    if style == "token" and count == 10:  # nothing tells a full page without a token from a path that is wrong
        with pytest.raises(StoreError, match="no page had anything at `next_token`"):
            read(api(rest.url, style))
    else:
        assert read(api(rest.url, style)) == rest.rows
    assert read(api(rest.url, style, asks=False, paging={"size": 0})) == rest.rows


@dataclass(frozen=True)
class Case:
    """How a server pages, and when it lies about what."""

    style: str
    count: int
    size: int
    cap: int
    concurrency: int
    at: int
    lie: str

    def may_lack(self, found: int) -> bool:
        """What no client can see, as nothing else gives it away: what the last page keeps back, or an end too soon."""
        counted = self.style.endswith("total")
        page = min(self.size, self.cap)
        last_page = max(0, self.count - 1) // page * page
        if self.lie in {"empty", "shorter"}:
            return not counted and found >= last_page
        if self.lie == "no next":
            return self.style in {"cursor", "token", "next", "link"}
        return self.lie == "total" and counted and self.at == 1


@settings(
    max_examples=40 * SOAK,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.builds(
        Case,
        style=st.sampled_from([*STYLES]),
        count=st.integers(0, 40),
        size=st.integers(1, 12),
        cap=st.integers(1, 12),
        concurrency=st.integers(1, 3),
        at=st.integers(1, 6),
        lie=st.sampled_from(["", "empty", "shorter", "repeat", "total", "cut", "error", "no next", "503"]),
    )
)
def test_the_rows_read_are_the_rows_there_are_or_an_error(rest: RestServer, case: Case) -> None:
    rest.reset()
    rest.rows, rest.cap = flights(case.count), case.cap
    first_page = rest.rows[: min(case.size, case.cap)]
    lies = LIES | {"repeat": lambda reply: with_rows(reply, first_page)}
    rest.lies = {case.at: lies[case.lie]} if case.lie else {}
    try:
        found = read(api(rest.url, case.style, size=case.size, concurrency=case.concurrency))
    except FuseError:
        assert case.lie or case.cap < case.size or case.count == case.size, "there was nothing to complain of"
        return
    assert found == rest.rows[: len(found)]
    assert len(found) == case.count or case.may_lack(len(found))


def with_rows(reply: Reply, rows: list[Any]) -> Reply:
    """The reply with other rows in it."""
    if isinstance(reply.body, list):
        return Reply(200, rows, reply.headers)
    inside = {"data": {"items": rows}} if "data" in reply.body else {"items": rows}
    return Reply(200, {**reply.body, **inside}, reply.headers)


def rows_of(reply: Reply) -> list[Any]:
    """The rows in a reply."""
    body = reply.body
    return list(body if isinstance(body, list) else body["data"]["items"] if "data" in body else body["items"])


def emptied(reply: Reply) -> Reply:
    return with_rows(reply, [])


def shorter(reply: Reply) -> Reply:
    return with_rows(reply, rows_of(reply)[:-1])


def first_again(reply: Reply) -> Reply:
    return with_rows(reply, flights(10))


def other_total(reply: Reply) -> Reply:
    headers = {name: value if name != "X-Total-Count" else "7" for name, value in reply.headers.items()}
    return Reply(200, {**reply.body, "total": 7} if isinstance(reply.body, dict) else reply.body, headers)


def cut(reply: Reply) -> Reply:
    whole = json.dumps(reply.body).encode()
    return Reply(200, whole[: max(1, len(whole) * 2 // 3)], reply.headers)


def loops(reply: Reply) -> Reply:
    """Lead to the second page again."""
    link = {"Link": '</v1/link/flights?token=t10&size=10>; rel="next"'}
    if isinstance(reply.body, list):
        return Reply(200, reply.body, link)
    rows = [{"id": 9, "carrier": "x"}]
    more = {"next_token": "t10", "next": "/v1/next/flights?token=t10&size=10", "has_more": True}
    return Reply(200, {**reply.body, **more, "items": [*reply.body["items"][:-1], *rows]}, reply.headers)


def without_next(reply: Reply) -> Reply:
    if isinstance(reply.body, list):
        return Reply(200, reply.body)
    gone = ("next", "next_token")
    body = {name: value for name, value in reply.body.items() if name not in gone}
    return Reply(200, body | ({"has_more": False} if "has_more" in body else {}), reply.headers)


def failed(reply: Reply) -> Reply:
    return Reply(200, {"error": {"code": 17, "message": "the index is being built"}}, reply.headers)


LIES: dict[str, Callable[[Reply], Reply]] = {
    "empty": emptied,
    "shorter": shorter,
    "repeat": first_again,
    "total": other_total,
    "cut": cut,
    "error": failed,
    "no next": without_next,
    "503": lambda _: Reply(503, {}),
}


class TestLies:
    @pytest.mark.parametrize("style", STYLES)
    @pytest.mark.parametrize("page", [1, 2, 3])
    def test_an_error_with_status_200_is_an_error(self, rest: RestServer, style: str, page: int) -> None:
        rest.rows, rest.lies = flights(25), {page: failed}
        told = "says|object, not with a list|and an error at `error`: `the index is being built: 17`"
        with pytest.raises(StoreError, match=told):
            read(api(rest.url, style))

    @pytest.mark.parametrize("style", STYLES)
    def test_json_that_was_cut_once_is_asked_for_again(self, rest: RestServer, style: str) -> None:
        rest.rows, rest.lies = flights(25), {2: cut}
        assert read(api(rest.url, style, concurrency=1)) == rest.rows
        assert rest.asked >= 4

    def test_json_that_stays_cut_is_an_error(self, rest: RestServer) -> None:
        rest.rows, rest.lies = flights(25), dict.fromkeys(range(2, 9), cut)
        with pytest.raises(StoreUnavailableError, match="status 200 and no whole JSON"):
            read(api(rest.url, "page"))

    @pytest.mark.parametrize("style", STYLES)
    def test_a_page_that_comes_again_is_an_error(self, rest: RestServer, style: str) -> None:
        rest.rows, rest.lies = flights(40), {3: first_again}
        with pytest.raises(StoreUnavailableError, match=r"same rows as one before it|leads back|brings the rows"):
            read(api(rest.url, style))

    @pytest.mark.parametrize("style", ["cursor", "token", "next", "link"])
    def test_a_loop_is_an_error(self, rest: RestServer, style: str) -> None:
        rest.rows, rest.lies = flights(40), {2: loops}
        with pytest.raises(StoreUnavailableError, match="leads back to a page that was read already"):
            read(api(rest.url, style, paging={"repeats": True}))

    @pytest.mark.parametrize("style", STYLES)
    def test_an_empty_page_in_the_middle_is_an_error(self, rest: RestServer, style: str) -> None:
        rest.rows, rest.lies = flights(45), {3: emptied}
        with pytest.raises(StoreUnavailableError, match="empty"):
            read(api(rest.url, style, concurrency=1))

    @pytest.mark.parametrize("style", ["page with a total", "offset with a total"])
    @pytest.mark.parametrize("concurrency", [1, 4])
    def test_a_total_that_changes_is_an_error(self, rest: RestServer, style: str, concurrency: int) -> None:
        rest.rows, rest.lies = flights(40), {2: other_total}
        with pytest.raises(StoreUnavailableError, match=r"says that there are .* rows, and one before it said"):
            read(api(rest.url, style, concurrency=concurrency))
        assert len(read(api(rest.url, style, concurrency=1, paging={"total_may_change": True}))) == 40

    @pytest.mark.parametrize("style", ["page with a total", "offset with a total"])
    def test_a_total_that_was_never_true_is_an_error(self, rest: RestServer, style: str) -> None:
        rest.rows, rest.lies = flights(20), dict.fromkeys(range(1, 9), other_total)
        with pytest.raises(StoreUnavailableError, match="brings the rows to 10, though it says that there are 7"):
            read(api(rest.url, style))

    @pytest.mark.parametrize("style", ["page", "page with a total", "offset", "cursor", "offset with a total"])
    def test_a_server_with_smaller_pages_than_asked_for_is_an_error(self, rest: RestServer, style: str) -> None:
        rest.rows, rest.cap = flights(45), 10
        with pytest.raises(StoreUnavailableError, match="though 20 were asked for"):
            read(api(rest.url, style, size=20))
        assert len(read(api(rest.url, style, asks=False))) == 45

    def test_larger_pages_than_asked_for_are_an_error(self, rest: RestServer) -> None:
        rest.rows = flights(45)
        with pytest.raises(StoreError, match=r"has 10 rows, though 5 were asked for\. Correct `paging.size`"):
            read(api(rest.url, "page", asks=False, paging={"size": 5}))

    @pytest.mark.parametrize("style", ["token", "next"])
    def test_a_next_page_that_is_looked_for_in_the_wrong_place_is_an_error(self, rest: RestServer, style: str) -> None:
        rest.rows = flights(45)
        with pytest.raises(StoreError, match=r"is full, and no page had anything at `nxt`.*Correct `paging.found_at`"):
            read(api(rest.url, style, paging={"found_at": "nxt"}))

    @pytest.mark.parametrize(
        ("paging", "says"),
        [
            ({"total": "data.total"}, "no count of rows at `data.total`"),
            ({"total_pages": "pages"}, "says no count at `pages`"),
            ({"more": "data.more"}, "says neither `true` nor `false` at `data.more`"),
            ({"max_pages": 2}, "goes on after 2 pages"),
        ],
    )
    def test_what_is_not_where_it_should_be_is_named(self, rest: RestServer, paging: Any, says: str) -> None:
        rest.rows = flights(45)
        with pytest.raises(StoreError, match=says):
            read(api(rest.url, "page", paging=paging))

    def test_records_that_are_elsewhere_are_an_error_that_shows_what_is_there(self, rest: RestServer) -> None:
        rest.rows = flights(5)
        connection = api(rest.url, "next")
        endpoint = connection.endpoints["flights"].model_copy(update={"records": "data.rows"})
        with pytest.raises(
            StoreError, match=r"nothing at `data\.rows`, where its records should be; it has `items`, `next`"
        ):
            read(connection.model_copy(update={"endpoints": {"flights": endpoint}}))

    @pytest.mark.parametrize("page", [1, 2, 5])
    @pytest.mark.parametrize("style", ["page with a total", "token"])
    def test_a_page_that_fails_for_good_fails_the_read(self, rest: RestServer, style: str, page: int) -> None:
        rest.rows, rest.lies = flights(45), {page: lambda _: Reply(500, {"message": "disk full"})}
        with pytest.raises(StoreUnavailableError, match=r"status 500 \(it says: `disk full`\)"):
            read(api(rest.url, style))

    def test_an_error_reaches_who_reads_in_batches(self, rest: RestServer) -> None:
        rest.rows, rest.lies = flights(45), {4: failed}
        connection = api(rest.url, "token", types="first")
        rows = 0
        with connection.rows("flights", limit=30) as reader:
            for batch in reader:
                rows += batch.num_rows
        assert rows == 30
        rest.asked = 0
        with pytest.raises(StoreError, match="the index is being built"):
            read(connection)

    def test_one_that_swallows_it_hears_of_it_nonetheless(self, rest: RestServer) -> None:
        rest.rows, rest.lies = flights(45), {4: failed}
        connection = api(rest.url, "token", types="first")

        def swallow() -> None:
            with connection.rows("flights") as reader, contextlib.suppress(StoreError):
                reader.read_all()

        with pytest.raises(StoreError, match="the index is being built"):
            swallow()


class TestFetchingAtATime:
    @pytest.mark.parametrize("style", ["page with a total", "offset with a total"])
    def test_pages_with_numbers_come_at_a_time_and_in_order(self, rest: RestServer, style: str) -> None:
        rest.rows, rest.slow = flights(200), 0.01
        assert read(api(rest.url, style, concurrency=4)) == rest.rows
        assert 1 < rest.at_once <= 4
        assert len(rest.seen) == 20

    def test_sets_of_parameters_come_at_a_time_and_in_order(self, rest: RestServer) -> None:
        rest.rows, rest.slow = flights(25), 0.005
        each = [{"station": name} for name in ("a/b", "b&c", "c", "d")]
        found = read(api(rest.url, "token", each=each, keep=["station"], concurrency=3))
        assert found == [{"station": one["station"], **row} for one in each for row in rest.rows]
        assert 1 < rest.at_once <= 3

    def test_one_set_that_fails_fails_all(self, rest: RestServer) -> None:
        rest.rows, rest.lies = flights(25), {9: failed}
        with pytest.raises(StoreError, match="the index is being built"):
            read(api(rest.url, "token", each=[{"station": name} for name in "abcd"], concurrency=3))

    @pytest.mark.parametrize("style", ["page with a total", "token"])
    def test_what_is_not_read_is_not_fetched(self, rest: RestServer, style: str) -> None:
        rest.rows = flights(1000)
        connection = api(rest.url, style, types="first", concurrency=2)
        with connection.rows("flights") as reader:
            reader.read_next_batch()
            reader.read_next_batch()
        assert len(rest.seen) <= 2 + 1 + 2

    @pytest.mark.parametrize("style", STYLES)
    @pytest.mark.parametrize("limit", [0, 1, 15])
    def test_a_limit_is_kept_and_saves_pages(self, rest: RestServer, style: str, limit: int) -> None:
        rest.rows = flights(300)
        assert read(api(rest.url, style), limit=limit) == rest.rows[:limit]
        assert len(rest.seen) <= 2


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ('<https://a/b?p=2>; rel="next"', "https://a/b?p=2"),
        ("<?p=2>; rel=next", "?p=2"),
        ('<a>; rel="prev", <b,c;d>; title="x, <y>; rel=next"; rel="last NEXT"', "b,c;d"),
        ('<a>; rel="nextpage"', None),
        ('<a>; rel="prev"; rel="next"', None),
        ("rel=next", None),
        ("<a; rel=next", None),
    ],
)
def test_links_are_read_as_the_rfc_says(header: str, expected: str | None) -> None:
    assert next_link(header) == expected


@pytest.mark.parametrize("style", ["next", "link"])
def test_a_next_page_elsewhere_is_not_asked(rest: RestServer, style: str) -> None:
    rest.rows = flights(25)
    for url in ("https://evil.example/v1?a=b", "//evil.example/x", "http://127.0.0.1:1/v1", "file:///etc/passwd"):
        link = {"Link": f'<{url}>; rel="next"'}
        rest.lies = {
            rest.asked + 1: lambda reply, url=url, link=link: Reply(  # type: ignore[misc]
                200, reply.body if isinstance(reply.body, list) else {**reply.body, "next": url}, link
            )
        }
        with pytest.raises(ConfigError, match="leads on to another host"):
            read(api(rest.url, style))
