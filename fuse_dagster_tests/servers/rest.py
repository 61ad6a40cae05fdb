"""A REST server for tests: it pages in every style, hands out tokens, limits its clients, and lies when it is told to.

It is written from what the public RFCs say of HTTP, links and OAuth 2.0, and from how APIs page; no product is meant.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

from fuse_dagster_tests.servers.certificate import showing

CLIENT, CLIENT_SECRET, USER, PASSWORD, KEY = "loader", "s3cr3t-of-loader", "ada", "swordfish-1815", "key-4711-abcd"


@dataclass(frozen=True)
class Said:
    """A request as the server saw it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Reply:
    """What goes back."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class RestServer:
    """The server as a test sees it.

    Attributes:
        port: Where it listens on 127.0.0.1.
        scheme: `http` or `https`.
        rows: What it holds; every path below `/v1/STYLE/` pages through it.
        cap: The most rows that it hands out in a page, whatever it is asked for.
        auth: `""`, `basic`, `bearer`, `header`, `query` or `oauth`: what it lets in.
        lies: Number of the data request (from 1) -> what is done to its reply.
        replies: Given in place of real ones, one after the other.
        tokens: Tokens that it handed out and that are good.
        expires_in: Seconds that it says a token holds; None for not to say.
        slow: Seconds that every page takes.
        seen: All requests, in the order in which they came.
        at_once: The most requests that were there at a time.
    """

    port: int = 0
    scheme: str = "http"
    rows: list[Any] = field(default_factory=list)
    cap: int = 1000
    auth: str = ""
    lies: dict[int, Callable[[Reply], Reply]] = field(default_factory=dict)
    replies: list[Reply] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    expires_in: float | None = 3600
    refresh_tokens: list[str] = field(default_factory=lambda: ["refresh-0000"])
    slow: float = 0.0
    seen: list[Said] = field(default_factory=list)
    at_once: int = 0
    handed_out: int = 0
    asked: int = 0
    inside: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Its address."""
        return f"{self.scheme}://127.0.0.1:{self.port}/v1"

    def reset(self) -> None:
        """Be as new, on the same port."""
        fresh = RestServer(port=self.port, scheme=self.scheme)
        with self.lock:
            for name in fresh.__dataclass_fields__:
                if name != "lock":
                    setattr(self, name, getattr(fresh, name))

    def data_requests(self) -> list[Said]:
        """All requests but those for tokens."""
        return [one for one in self.seen if one.path != "/token"]

    def reply(self, said: Said) -> Reply:
        """What a request is answered with."""
        with self.lock:
            self.seen.append(said)
            if said.path == "/token":
                return self._token(said)
            if self.replies:
                return self.replies.pop(0)
            if not self._lets_in(said):
                return Reply(401, {"error": "who are you?"})
            self.asked += 1
            lie = self.lies.get(self.asked)
            reply = _page(self, said)
            reply = lie(reply) if lie else reply
        if self.slow:
            time.sleep(self.slow)
        return reply

    def _lets_in(self, said: Said) -> bool:
        login = said.headers.get("authorization", "")
        return {
            "": True,
            "basic": login == f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}",
            "bearer": login == f"Bearer {KEY}",
            "header": said.headers.get("x-api-key") == KEY,
            "query": said.query.get("key") == KEY,
            "oauth": login.removeprefix("Bearer ") in self.tokens,
        }[self.auth]

    def _token(self, said: Said) -> Reply:
        form = {name: values[0] for name, values in parse_qs(said.body.decode()).items()}
        header = said.headers.get("authorization", "")
        if header.startswith("Basic "):
            form["client_id"], _, form["client_secret"] = map(
                str, base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
            )
            form = {name: unquote(value) for name, value in form.items()}
        known = form.get("client_id") == CLIENT and form.get("client_secret") == CLIENT_SECRET
        grant, extra = form.get("grant_type"), {}
        if grant == "password":
            known = known and (form.get("username"), form.get("password")) == (USER, PASSWORD)
        if grant == "refresh_token":
            known = form.get("refresh_token") == self.refresh_tokens[-1]
            self.refresh_tokens.append(f"refresh-{len(self.refresh_tokens):04d}")
            extra = {"refresh_token": self.refresh_tokens[-1]}
        if not known:
            said_again = f"bad credentials {form.get('client_secret')}"  # as careless servers do
            return Reply(401, {"error": "invalid_client", "error_description": said_again})
        self.handed_out += 1
        token = f"token-{self.handed_out:06d}"
        self.tokens.append(token)
        lasts = {} if self.expires_in is None else {"expires_in": self.expires_in}
        return Reply(
            200, {"access_token": token, "token_type": "Bearer", "scope": form.get("scope", ""), **lasts, **extra}
        )


def _page(server: RestServer, said: Said) -> Reply:
    """One page, in the style that the path names."""
    asked = dict(said.query)
    if said.method == "POST" and said.body:
        kind = said.headers.get("content-type", "")
        asked |= dict(parse_qsl(said.body.decode())) if "form" in kind else json.loads(said.body)
    style, rows = [*said.path.split("/"), "", ""][2], server.rows
    size = min(int(asked.get("size", 10)), server.cap)
    here = f"{server.url}/{style}/flights"
    if style == "page":
        number = int(asked.get("page", 1))
        start = (number - 1) * size
        return Reply(body={"data": {"items": rows[start : start + size]}, "total": len(rows)})
    if style == "offset":
        start = int(asked.get("offset", 0))
        return Reply(body={"items": rows[start : start + size]}, headers={"X-Total-Count": f"{len(rows)}"})
    if style == "cursor":  # the id of the last row that was seen
        after = asked.get("after")
        start = 0 if after is None else 1 + next(at for at, row in enumerate(rows) if str(row["id"]) == str(after))
        return Reply(body={"items": rows[start : start + size], "has_more": start + size < len(rows)})
    start = int(asked.get("token", "t0").removeprefix("t"))
    end = start + size
    more = end < len(rows)
    following = f"{here}?{urlencode({'token': f't{end}', 'size': size})}"
    if style == "token":
        return Reply(body={"items": rows[start:end], **({"next_token": f"t{end}"} if more else {})})
    if style == "next":
        return Reply(body={"items": rows[start:end], "next": following if more else None})
    if style == "link":
        links = f'<{here}?token=t0>; rel="first", <{following}>; title="a, b; c"; rel="last next"'
        return Reply(body=rows[start:end], headers={"Link": links} if more else {})
    if style == "echo":
        return Reply(body={"path": said.path, "query": said.query, "body": said.body.decode(), "headers": said.headers})
    if style == "all":
        return Reply(body=rows)
    return Reply(404, {"error": "no such thing"})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        state = self.server.state
        with state.lock:
            state.inside += 1
            state.at_once = max(state.at_once, state.inside)
        try:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            said = Said(self.command, parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), headers, body)
            reply = state.reply(said)
        finally:
            with state.lock:
                state.inside -= 1
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        with contextlib.suppress(OSError):
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else data)

    do_POST = do_HEAD = do_GET  # noqa: N815 - the base class looks for them


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    state: RestServer

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that went away."""


@contextlib.contextmanager
def rest_server(certificate: Path | None = None) -> Iterator[RestServer]:
    """The server, ended afterwards.

    Args:
        certificate: What it shows where it is to talk TLS; see `servers.certificate`.
    """
    state = RestServer(scheme="https" if certificate else "http")
    with _Server(("127.0.0.1", 0), _Handler) as server:
        if certificate:
            server.socket = showing(certificate).wrap_socket(server.socket, server_side=True)
        server.state, state.port = state, server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
