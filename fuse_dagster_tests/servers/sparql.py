"""A SPARQL endpoint for tests: Oxigraph's engine behind HTTP, as the SPARQL 1.1 protocol says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

import pyoxigraph

from fuse_dagster_tests.servers.serving import served

KIND = "application/sparql-results+json"


@dataclass
class Endpoint:
    """The endpoint as a test sees it.

    Attributes:
        port: Where it listens on 127.0.0.1.
        store: What it holds.
        token: Asked for where it is set.
        most: Rows that it gives at the most, silently; 0 for all.
        headers: Sent with every answer.
        lie: What is done to the body of an answer.
        kind: The media type that it claims.
        asked: The questions, as they came.
        graphs: The default graphs of the last question.
    """

    port: int = 0
    store: pyoxigraph.Store = field(default_factory=pyoxigraph.Store)
    token: str = ""
    most: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    lie: Callable[[bytes], bytes] | None = None
    kind: str = KIND
    asked: list[str] = field(default_factory=list)
    graphs: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}/sparql"

    def load(self, turtle: str) -> None:
        """Hold these triples, and no others."""
        self.store.clear()
        self.store.load(turtle.encode(), format=pyoxigraph.RdfFormat.TURTLE)

    def reset(self) -> None:
        """Be as new."""
        self.store.clear()
        self.token, self.most, self.headers, self.lie, self.kind, self.asked = "", 0, {}, None, KIND, []

    def answered(self, question: str) -> tuple[int, bytes]:
        """Status and body of what the engine answers."""
        graphs = [pyoxigraph.NamedNode(one) for one in self.graphs] or None
        try:
            found = self.store.query(question, default_graph=graphs)
        except (SyntaxError, ValueError) as error:
            return 400, str(error).encode()
        if self.most and isinstance(found, pyoxigraph.QuerySolutions):
            limited = f"{question}\nLIMIT {self.most}" if "LIMIT" not in question else question
            found = self.store.query(limited, default_graph=graphs)
        body = found.serialize(format=pyoxigraph.QueryResultsFormat.JSON)
        assert body is not None
        return 200, self.lie(body) if self.lie else body


@contextlib.contextmanager
def sparql_endpoint() -> Iterator[Endpoint]:
    """Start an endpoint, and end it afterwards."""
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(parse_qs(urlsplit(self.path).query))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            direct = self.headers["Content-Type"] == "application/sparql-query"
            self._answer({**parse_qs(urlsplit(self.path).query), "query": [body]} if direct else parse_qs(body))

        def _answer(self, fields: dict[str, list[str]]) -> None:
            if endpoint.token and self.headers["Authorization"] != f"Bearer {endpoint.token}":
                self._send(401, b"who are you?", "text/plain")
                return
            endpoint.graphs = fields.get("default-graph-uri", [])
            endpoint.asked += fields["query"]
            status, body = endpoint.answered(fields["query"][0])
            self._send(status, body, endpoint.kind if status == 200 else "text/plain")

        def _send(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **endpoint.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with served(Handler) as endpoint.port:
        yield endpoint
