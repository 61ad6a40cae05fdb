"""A web server of files for tests: with ranges, checksums and indexes, and with all that goes wrong with them."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from fuse_dagster_tests.servers.serving import served


@dataclass
class WebServer:
    """The server as a test sees it.

    Attributes:
        port: Where it listens on 127.0.0.1.
        root: The folder that it shows.
        ranges: Whether it gives parts.
        head: Whether it answers HEAD.
        length: Whether it says how long an answer is.
        tags: Whether it says an ETag.
        times: Whether it says when a file was written.
        packed: Whether it packs answers for the way.
        digest: Whether it sends checksums.
        token: Asked for where it is set.
        redirect: Where it sends all questions; "" for nowhere.
        lie: What is done to the body of an answer, after its headers were made.
        headers: Sent with every answer in place of its own.
        seen: Method, path and headers of what it was asked.
    """

    port: int = 0
    root: Path = Path()
    ranges: bool = True
    head: bool = True
    length: bool = True
    tags: bool = True
    times: bool = True
    packed: bool = False
    digest: bool = False
    token: str = ""
    redirect: str = ""
    lie: Callable[[bytes], bytes] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)


@contextlib.contextmanager
def web_server(root: Path) -> Iterator[WebServer]:  # noqa: C901 - one server, read from top to bottom
    """Start a server before a folder, and end it afterwards."""
    told = WebServer(root=root)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            told.seen.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
            place = told.root / unquote(urlsplit(self.path).path).strip("/")
            if told.redirect:
                self._send(302, b"", {"Location": told.redirect + self.path})
            elif told.token and self.headers["Authorization"] != f"Bearer {told.token}":
                self._send(401, b"who are you?", {})
            elif self.command == "HEAD" and not told.head:
                self._send(405, b"", {})
            elif place.is_dir():
                if self.path.endswith("/"):
                    self._send(200, _page(place), {"Content-Type": "text/html; charset=utf-8"})
                else:
                    self._send(301, b"", {"Location": f"{self.path}/"})
            elif place.is_file():
                self._file(place)
            else:
                self._send(404, b"nothing there", {})

        def _file(self, place: Path) -> None:
            data, fields = place.read_bytes(), {"Content-Type": "application/octet-stream"}
            tag = f'"{hashlib.md5(data).hexdigest()}"'
            if told.tags:
                fields["ETag"] = tag
            if told.times:
                fields["Last-Modified"] = formatdate(place.stat().st_mtime, usegmt=True)
            if told.digest:
                fields["Repr-Digest"] = f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"
            wanted = self.headers["Range"] if told.ranges and not told.packed else None
            if wanted and self.headers.get("If-Range", tag) in {tag, fields.get("Last-Modified")}:
                first, last = wanted.removeprefix("bytes=").split("-")
                start, end = int(first), min(len(data), int(last) + 1)
                if start >= len(data):
                    self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                    return
                fields["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
                self._send(206, data[start:end], fields)
            elif told.packed:
                self._send(200, gzip.compress(data), {**fields, "Content-Encoding": "gzip"})
            else:
                self._send(200, data, fields)

        def _send(self, status: int, body: bytes, fields: dict[str, str]) -> None:
            self.send_response(status)
            if told.length:
                fields = {"Content-Length": str(len(body)), **fields}
            else:
                self.close_connection = True
            for name, value in {**fields, **told.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                lie = told.lie(body) if told.lie and status in {200, 206} else body
                self.close_connection = self.close_connection or len(lie) < len(body)
                self.wfile.write(lie)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with served(Handler) as told.port:
        yield told


def _page(place: Path) -> bytes:
    names = [f"{one.name}/" if one.is_dir() else one.name for one in place.iterdir()]
    links = "".join(f'<li><a href="{quote(name)}">{html.escape(name[:20])}</a>' for name in names)
    return f'<h1>Index</h1><a href="?C=N;O=D">Name</a> <a href="../">Up</a> <a href="/">Top</a><ul>{links}'.encode()
