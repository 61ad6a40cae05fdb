"""One client: where credentials go, what is asked again and when, and what its errors hide."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fuse_dagster.connectors.http.client import Client, asks_without_login
from fuse_dagster.connectors.http.login import ApiKey, Basic, Bearer
from fuse_dagster.connectors.http.messages import Request
from fuse_dagster.connectors.http.oauth2 import Grant, OAuth2
from fuse_dagster.connectors.http.pacing import Pace
from fuse_dagster.connectors.http.retrying import Patience
from fuse_dagster.connectors.http.transport import Transport
from fuse_dagster.connectors.http.urls import filled, joined, origin, with_query
from fuse_dagster.core.errors import (
    ConfigError,
    CredentialsError,
    NotThereError,
    StoreError,
    StoreUnavailableError,
)
from fuse_dagster_tests.servers.certificate import certificate
from fuse_dagster_tests.servers.faults import Fault
from fuse_dagster_tests.servers.proxy import FaultyProxy, faulty_proxy
from fuse_dagster_tests.servers.rest import (
    CLIENT,
    CLIENT_SECRET,
    KEY,
    PASSWORD,
    USER,
    Reply,
    RestServer,
    rest_server,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fuse_dagster.connectors.http.login import Login


class Clock:
    """A clock that only pauses move."""

    def __init__(self) -> None:
        self.seconds, self.pauses = 0.0, list[float]()

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.seconds += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[RestServer]:
    with rest_server() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(started: RestServer) -> Iterator[FaultyProxy]:
    with faulty_proxy(started.port) as proxy:
        yield proxy


def client_of(base: str, clock: Clock, login: Login | None = None, **more: Any) -> Client:
    per_second = more.pop("per_second", 0.0)
    patience = more.pop("patience", Patience(seconds=60, chance=lambda: 1.0))
    return Client(
        base,
        transport=more.pop("transport", None) or Transport(timeout=more.pop("timeout", 5)),
        login=login,
        patience=patience,
        pace=Pace(per_second, clock=clock, sleep=clock.sleep),
        **more,
    )


def oauth(rest: RestServer, clock: Clock, **said: str) -> OAuth2:
    told = {"client_id": CLIENT, "client_secret": CLIENT_SECRET, **said}
    grant = Grant(token_url=f"http://127.0.0.1:{rest.port}/token", **told)
    return OAuth2(grant, asks_without_login(Transport(timeout=5), Patience(seconds=0), Pace(clock=clock)), clock=clock)


@pytest.mark.parametrize(
    ("auth", "login"),
    [
        ("basic", Basic(USER, PASSWORD)),
        ("bearer", Bearer(KEY)),
        ("header", ApiKey(KEY, "X-API-Key", "header")),
        ("query", ApiKey(KEY, "key", "query")),
    ],
)
def test_every_way_to_log_in_is_let_in(rest: RestServer, clock: Clock, auth: str, login: Login) -> None:
    rest.auth, rest.rows = auth, [1]
    answer = client_of(rest.url, clock, login).send(Request(url=f"{rest.url}/all"))
    assert json.loads(answer.body) == [1]
    assert KEY not in answer.url
    with pytest.raises(CredentialsError, match=r"status 401 \(it says: `who are you\?`\). Check the cred"):
        client_of(rest.url, clock).send(Request(url=f"{rest.url}/all"))


def test_a_secret_that_changed_in_its_store_is_looked_up_again_after_a_401(
    rest: RestServer, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rest.auth = "bearer"
    place = tmp_path / "token"
    place.write_text("old-token\n")
    client = client_of(rest.url, clock, Bearer(f"file://{place}?ttl=1000"))
    with pytest.raises(CredentialsError):
        client.send(Request(url=f"{rest.url}/all"))
    assert len(rest.seen) == 1, "the same secret is not tried twice"
    place.write_text(f"{KEY}\n")
    assert client.send(Request(url=f"{rest.url}/all")).status == 200


class TestOAuth2:
    def test_a_token_serves_many_requests_of_many_threads(self, rest: RestServer, clock: Clock) -> None:
        rest.auth = "oauth"
        client = client_of(rest.url, clock, oauth(rest, clock))
        with ThreadPoolExecutor(8) as pool:
            found = [*pool.map(lambda _: client.send(Request(url=f"{rest.url}/all")).status, range(20))]
        assert found == [200] * 20
        assert rest.handed_out == 1

    def test_it_is_fetched_anew_before_it_runs_out(self, rest: RestServer, clock: Clock) -> None:
        rest.auth, rest.expires_in = "oauth", 100
        client = client_of(rest.url, clock, oauth(rest, clock))
        for seconds, tokens in ((0, 1), (79, 1), (81, 2), (160, 2), (162, 3)):
            clock.seconds = seconds
            client.send(Request(url=f"{rest.url}/all"))
            assert rest.handed_out == tokens, seconds

    def test_one_that_is_refused_is_replaced_once(self, rest: RestServer, clock: Clock) -> None:
        rest.auth = "oauth"
        client = client_of(rest.url, clock, oauth(rest, clock))
        client.send(Request(url=f"{rest.url}/all"))
        rest.tokens.clear()
        assert client.send(Request(url=f"{rest.url}/all", method="POST", body=b"{}", repeatable=False)).status == 200
        assert rest.handed_out == 2
        rest.replies = [Reply(401, {}), Reply(401, {}), Reply(401, {})]
        with pytest.raises(CredentialsError):
            client.send(Request(url=f"{rest.url}/all"))
        assert len(rest.replies) == 1, "a 401 is answered by one new token, not by many"

    @pytest.mark.parametrize(
        "said", [{"kind": "password", "username": USER, "password": PASSWORD}, {"client_in": "body"}]
    )
    def test_other_grants_and_places(self, rest: RestServer, clock: Clock, said: dict[str, str]) -> None:
        rest.auth = "oauth"
        assert client_of(rest.url, clock, oauth(rest, clock, **said)).send(Request(url=f"{rest.url}/all")).status == 200

    def test_a_refresh_token_that_is_replaced_is_not_used_again(self, rest: RestServer, clock: Clock) -> None:
        rest.auth, rest.expires_in = "oauth", 10
        client = client_of(rest.url, clock, oauth(rest, clock, kind="refresh_token", refresh_token="refresh-0000"))
        for _ in range(3):
            client.send(Request(url=f"{rest.url}/all"))
            clock.seconds += 20
        assert rest.refresh_tokens == [f"refresh-{number:04d}" for number in range(4)]

    def test_a_wrong_secret_is_named_and_not_shown(self, rest: RestServer, clock: Clock) -> None:
        client = client_of(rest.url, clock, oauth(rest, clock, client_secret="wrong-secret"))
        with pytest.raises(
            CredentialsError, match=r"hands out no token: status 401 .*bad credentials \*\*\*"
        ) as raised:
            client.send(Request(url=f"{rest.url}/all"))
        assert "wrong-secret" not in str(raised.value)

    @pytest.mark.parametrize("said", [[], {"access_token": 5}, {"access_token": "a", "token_type": "mac"}, b"<html>"])
    def test_what_is_no_token_is_refused(self, rest: RestServer, clock: Clock, said: Any) -> None:
        grant = Grant(token_url=f"{rest.url}/elsewhere", client_id="a", client_secret="b")
        rest.replies = [Reply(200, said)]
        login = OAuth2(grant, asks_without_login(Transport(timeout=5), Patience(seconds=0), Pace(clock=clock)))
        with pytest.raises(StoreError, match="answers with no bearer token"):
            login.sign()


class TestOtherHosts:
    def test_credentials_go_to_no_other_host(self, rest: RestServer, elsewhere: RestServer, clock: Clock) -> None:
        host = f"127.0.0.1:{elsewhere.port}"
        login = Bearer(KEY)
        headers = {"X-Tenant": "ours"}
        client = client_of(rest.url, clock, login, headers=headers, allowed_hosts=[host])
        client.send(Request(url=f"{elsewhere.url}/all", headers={"X-Trace": "1", "Accept": "text/csv"}))
        rest.replies = [Reply(302, {}, {"Location": f"{elsewhere.url}/all"})]
        client.send(Request(url=f"{rest.url}/all", headers={"X-Trace": "1"}))
        assert len(elsewhere.seen) == 2
        for said in elsewhere.seen:
            assert not {"authorization", "x-tenant", "x-trace"} & said.headers.keys()
        assert rest.seen[0].headers["authorization"] == f"Bearer {KEY}"
        assert rest.seen[0].headers["x-tenant"] == "ours"

    def test_a_host_that_nobody_allowed_is_not_asked(
        self, rest: RestServer, elsewhere: RestServer, clock: Clock
    ) -> None:
        before = len(elsewhere.seen)
        client = client_of(rest.url, clock, Bearer(KEY))
        for status in (301, 302, 303, 307, 308):
            rest.replies = [Reply(status, {}, {"Location": f"{elsewhere.url}/all"})]
            with pytest.raises(ConfigError, match=f"add `127.0.0.1:{elsewhere.port}` to `allowed_hosts`"):
                client.send(Request(url=f"{rest.url}/all"))
        for url in (
            f"https://127.0.0.1:{rest.port}/",
            f"http://127.0.0.1:{rest.port}@127.0.0.1:{elsewhere.port}/",
            f"http://localhost:{rest.port}/",
            "file:///etc/passwd",
            "http://",
            "http://[::1",
        ):
            with pytest.raises(ConfigError, match="leads on to another host"):
                client.send(Request(url=url))
        assert len(elsewhere.seen) == before

    def test_redirects_at_home_are_followed_but_not_for_ever(self, rest: RestServer, clock: Clock) -> None:
        rest.auth = "query"
        client = client_of(rest.url, clock, ApiKey(KEY, "key", "query"))
        rest.replies = [Reply(302, {}, {"Location": "/v1/all?a=b"}), Reply(307, {}, {"Location": "../v1/all?a=c"})]
        assert client.send(Request(url=f"{rest.url}/all")).url == f"{rest.url}/all?a=c"
        assert [said.query.get("key") for said in rest.seen] == [KEY] * 3
        rest.replies = [Reply(302, {}, {"Location": "/v1/all"})] * 9
        with pytest.raises(StoreError, match="redirects more than 5 times"):
            client.send(Request(url=f"{rest.url}/all"))

    def test_a_post_is_no_get_after_a_redirect(self, rest: RestServer, elsewhere: RestServer, clock: Clock) -> None:
        client = client_of(rest.url, clock, allowed_hosts=[f"127.0.0.1:{elsewhere.port}"])
        post = Request(url=f"{rest.url}/echo", method="POST", body=b'{"a": 1}')
        rest.replies = [Reply(302, {}, {"Location": "/v1/all"})]
        with pytest.raises(StoreError, match="redirects a POST by status 302"):
            client.send(post)
        rest.replies = [Reply(308, {}, {"Location": "/v1/echo"})]
        assert json.loads(client.send(post).body)["body"] == '{"a": 1}'
        rest.replies = [Reply(308, {}, {"Location": f"{elsewhere.url}/echo"})]
        with pytest.raises(ConfigError, match="another host"):
            client.send(post)


class TestPatience:
    def test_busy_servers_are_asked_again_with_growing_pauses(self, rest: RestServer, clock: Clock) -> None:
        rest.replies = [Reply(status, {}) for status in (500, 502, 503, 504, 429)]
        client_of(rest.url, clock).send(Request(url=f"{rest.url}/all"))
        assert clock.pauses == [0.5, 1, 2, 4, 8]

    def test_retry_after_is_kept(self, rest: RestServer, clock: Clock) -> None:
        dates = {"Date": "Sat, 01 Jun 2024 00:00:00 GMT", "Retry-After": "Sat, 01 Jun 2024 00:00:20 GMT"}
        rest.replies = [Reply(429, {}, {"Retry-After": "7"}), Reply(503, {}, {"Retry-After": "soon"})]
        client_of(rest.url, clock).send(Request(url=f"{rest.url}/all"))
        assert clock.seconds == 7 + 1
        patience = Patience(today=lambda: datetime(2030, 1, 1, tzinfo=UTC))
        assert patience.asked({name.lower(): value for name, value in dates.items()}) == 20
        assert patience.asked({"retry-after": "Tue, 01 Jan 2030 00:00:05 GMT"}) == 5
        assert patience.asked({"retry-after": "Tue, 01 Jan 2019 00:00:05 GMT"}) == 0
        assert patience.asked({"retry-after": "-5"}) is None
        assert patience.asked({"retry-after": "9" * 400}) == 1e9

    def test_it_ends_at_the_time_that_was_given(self, rest: RestServer, clock: Clock) -> None:
        rest.replies = [Reply(503, {}) for _ in range(50)]
        with pytest.raises(StoreUnavailableError, match="It was tried 6 times in 16 s") as raised:
            client_of(rest.url, clock, patience=Patience(seconds=20, chance=lambda: 1.0)).send(
                Request(url=f"{rest.url}/all")
            )
        assert clock.seconds <= 20
        assert "safe" not in str(raised.value)
        rest.replies = [Reply(429, {}, {"Retry-After": "3600"})]
        with pytest.raises(StoreUnavailableError, match="asks to wait 3,600 s, and `retry_timeout` is 60 s"):
            client_of(rest.url, clock).send(Request(url=f"{rest.url}/all"))

    @pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 410, 418, 422, 501])
    def test_refusals_are_asked_once(self, rest: RestServer, clock: Clock, status: int) -> None:
        rest.replies = [Reply(status, {"message": "no `such`\ncolumn"})] * 2
        expected = {403: CredentialsError, 404: NotThereError, 410: NotThereError}.get(status, StoreError)
        with pytest.raises(expected, match=f"status {status} \\(it says: `no such column`\\)"):
            client_of(rest.url, clock).send(Request(url=f"{rest.url}/all"))
        assert len(rest.seen) == 1

    def test_what_may_change_something_is_asked_once(self, rest: RestServer, clock: Clock) -> None:
        post = Request(url=f"{rest.url}/echo", method="POST", body=b"{}", repeatable=False)
        for status in (429, 500, 503):
            rest.replies = [Reply(status, {})]
            with pytest.raises(StoreUnavailableError, match=r"asked only once, as it may change something; .* `safe`"):
                client_of(rest.url, clock).send(post)
        assert len(rest.seen) == 3

    def test_an_accepted_status_is_an_answer(self, rest: RestServer, clock: Clock) -> None:
        request = Request(url=f"{rest.url}/nowhere", accept=frozenset({404}))
        assert client_of(rest.url, clock).send(request).status == 404

    def test_requests_begin_at_their_pace(self, rest: RestServer, clock: Clock) -> None:
        client = client_of(rest.url, clock, per_second=4.0)
        for _ in range(9):
            client.send(Request(url=f"{rest.url}/all"))
        assert clock.seconds == 2.0

    def test_more_threads_are_no_more_requests_at_a_time(self, rest: RestServer, clock: Clock) -> None:
        rest.slow = 0.005
        client = client_of(rest.url, clock, concurrency=3)
        with ThreadPoolExecutor(8) as pool:
            [*pool.map(lambda _: client.send(Request(url=f"{rest.url}/all")), range(24))]
        assert 1 < rest.at_once <= 3


class TestTheLine:
    @pytest.fixture
    def base(self, proxy: FaultyProxy, rest: RestServer) -> str:
        proxy.calm()
        rest.rows = [{"id": number} for number in range(500)]
        return f"http://127.0.0.1:{proxy.port}/v1"

    @pytest.mark.parametrize("kind", ["reset", "half answered", "lost", "refused", "silent"])
    def test_a_fault_is_survived(self, proxy: FaultyProxy, base: str, clock: Clock, kind: Any) -> None:
        proxy.cause(Fault(kind, times=2))
        answer = client_of(base, clock, timeout=0.2).send(Request(url=f"{base}/all"))
        assert len(json.loads(answer.body)) == 500
        assert proxy.happened == 2

    @pytest.mark.parametrize(("kind", "says"), [("half answered", "broke off"), ("silent", "does not answer in time")])
    def test_a_fault_that_stays_is_an_error(
        self, proxy: FaultyProxy, base: str, clock: Clock, kind: Any, says: str
    ) -> None:
        proxy.cause(Fault(kind, times=99))
        client = client_of(base, clock, ApiKey(KEY, "key", "query"), timeout=0.05, patience=Patience(seconds=1))
        with pytest.raises(StoreUnavailableError, match=says) as raised:
            client.send(Request(url=f"{base}/all"))
        assert KEY not in str(raised.value)

    def test_a_post_that_may_have_arrived_is_not_sent_again(
        self, proxy: FaultyProxy, base: str, clock: Clock, rest: RestServer
    ) -> None:
        proxy.cause(Fault("lost"))
        with pytest.raises(StoreUnavailableError, match="asked only once"):
            client_of(base, clock).send(Request(url=f"{base}/echo", method="POST", body=b"{}", repeatable=False))
        assert len(rest.seen) == 1

    def test_an_answer_that_trickles_does_not_hold_us_for_ever(
        self, proxy: FaultyProxy, base: str, clock: Clock
    ) -> None:
        proxy.cause(Fault("trickled", seconds=0.04, times=99))
        client = client_of(base, clock, timeout=0.06, patience=Patience(seconds=0))
        with pytest.raises(StoreUnavailableError, match="does not answer in time"):
            client.send(Request(url=f"{base}/all"))

    def test_nobody_there(self, clock: Clock) -> None:
        with rest_server() as gone:
            base = gone.url
        with pytest.raises(StoreUnavailableError, match="can't be reached"):
            client_of(base, clock, patience=Patience(seconds=1)).send(Request(url=f"{base}/all", repeatable=False))
        assert clock.pauses, "what was never sent may be sent again"

    def test_the_wrong_scheme_and_an_unknown_certificate(self, rest: RestServer, clock: Clock, tmp_path: Path) -> None:
        base = rest.url.replace("http:", "https:")
        with pytest.raises(StoreError, match="does not speak TLS"):
            client_of(base, clock).send(Request(url=f"{base}/all"))
        (tmp_path / "no.pem").write_text("nothing")
        with pytest.raises(ConfigError, match="can't be read as certificates"):
            Transport(ca_file=str(tmp_path / "no.pem")).send(Request(url=base))

    def test_an_answer_that_is_too_large_is_refused(self, rest: RestServer, clock: Clock) -> None:
        rest.rows = ["x" * 1000] * 100
        with pytest.raises(StoreError, match="more than is read at once"):
            client_of(rest.url, clock).send(Request(url=f"{rest.url}/all", most=10_000))

    def test_the_environment_names_a_proxy(
        self, proxy: FaultyProxy, rest: RestServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proxy.calm()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "10.0.0.0/8")
        monkeypatch.delenv("NO_PROXY", raising=False)
        url = "http://api.invalid/v1"
        client_of(url, clock).send(Request(url=f"{url}/all", accept=frozenset({404})))
        assert [seen.line for seen in proxy.seen] == [f"GET {url}/all"]


def test_addresses_are_put_together_with_everything_quoted() -> None:
    assert joined("https://a.example/v1/", "/flights") == "https://a.example/v1/flights"
    assert filled("s/{x}/f", {"x": "../a?b#c%2e/"}) == "s/..%2Fa%3Fb%23c%252e%2F/f"
    assert with_query("https://a.example/f?x=%41&y=1", {"y": "2&z=3#"}) == "https://a.example/f?x=%41&y=2%26z%3D3%23"
    assert origin("HTTPS://A.example:443/x") == ("https", "a.example", 443)
    for value in ("", ".", "..", "a\nb", "a\x00", "\ud800"):
        with pytest.raises(ConfigError, match="can't be `x` in the path"):
            filled("s/{x}", {"x": value})
    with pytest.raises(ConfigError, match=r"needs a value for `x`\. Did you mean `X`"):
        filled("s/{x}", {"X": "1"})


def test_a_server_that_repeats_what_it_was_given_does_not_show_it(rest: RestServer, clock: Clock) -> None:
    rest.replies = [Reply(400, {"error": {"message": f"bad request: {KEY} and {PASSWORD}"}})] * 2
    for login in (ApiKey(KEY, "key", "query"), Basic(USER, PASSWORD)):
        with pytest.raises(StoreError) as raised:
            client_of(rest.url, clock, login).send(Request(url=f"{rest.url}/all?key=1"))
        assert (KEY if isinstance(login, ApiKey) else PASSWORD) not in str(raised.value)


def test_no_log_shows_a_key(rest: RestServer, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    rest.replies = [Reply(503, {})]
    with caplog.at_level("DEBUG"):
        client_of(rest.url, clock, ApiKey(KEY, "key", "query")).send(Request(url=f"{rest.url}/all"))
    assert "/v1/all?key=***" in caplog.text
    assert "asking again" in caplog.text
    assert KEY not in caplog.text


def test_tls_is_checked(clock: Clock, tmp_path: Path) -> None:
    known = certificate(tmp_path)
    with rest_server(known) as server:
        asked = Request(url=f"{server.url}/all")
        with pytest.raises(StoreError, match="shows a certificate that this machine does not trust"):
            client_of(server.url, clock, Bearer(KEY)).send(asked)
        assert not server.seen, "no credentials are sent before"
        assert client_of(server.url, clock, transport=Transport(ca_file=str(known))).send(asked).status == 200
