"""A fake of a schema registry, which can't run here.

Written from the public description of Confluent's API: schemas by id, versions of a subject, references, Protobuf's
descriptors by `format=serialized`, basic authentication. It keeps what it is given; it knows nothing of compatibility.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

USER, PASSWORD = "registrar", "registry-canary"


@dataclass
class SchemaRegistry:
    """The fake as the test sees it.

    Attributes:
        url: Where it listens.
        login: Whether it asks for one.
        busy: How many requests it still answers with 503.
        asked: The paths that were asked for.
    """

    url: str = ""
    login: bool = False
    busy: int = 0
    asked: list[str] = field(default_factory=list)
    _schemas: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, schema: Any, *, subject: str = "s", **references: int) -> int:
        """Keep a schema; its id.

        Args:
            kind: `AVRO`, `JSON` or `PROTOBUF`, of which `schema` is the descriptor of a file.
            schema: The schema.
            subject: What it belongs to.
            **references: Name -> id of a schema that it names.
        """
        serialized = base64.b64encode(schema.SerializeToString()).decode() if kind == "PROTOBUF" else None
        text = "// text of a .proto file" if serialized else json.dumps(schema)
        named = [
            {
                "name": name.replace("__", "/").replace("_proto", ".proto"),
                "subject": self._schemas[one - 1]["subject"],
                "version": one,
            }
            for name, one in references.items()
        ]
        self._schemas.append({"kind": kind, "text": text, "serialized": serialized, "named": named, "subject": subject})
        return len(self._schemas)

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        """Status and body for a path."""
        address = urlsplit(path)
        words = [unquote(word) for word in address.path.split("/")[1:]]
        number = int(words[2]) if words[:2] == ["schemas", "ids"] else int(words[3])
        if not 0 < number <= len(self._schemas):
            return 404, {"error_code": 40403, "message": "Schema not found"}
        found = self._schemas[number - 1]
        if words[0] == "subjects" and found["subject"] != words[1]:
            return 404, {"error_code": 40401, "message": "Subject not found"}
        serialized = parse_qs(address.query).get("format") == ["serialized"]
        said = {"schema": found["serialized"] if serialized else found["text"]}
        if found["kind"] != "AVRO":
            said["schemaType"] = found["kind"]
        return 200, said | ({"references": found["named"]} if found["named"] else {})


def framed(number: int, data: bytes) -> bytes:
    """Bytes behind a zero byte and the id of their schema."""
    return b"\x00" + number.to_bytes(4, "big") + data


@contextlib.contextmanager
def schema_registry() -> Iterator[SchemaRegistry]:
    """Start the fake, and end it afterwards."""
    made = SchemaRegistry()
    expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            made.asked.append(self.path)
            status, said = made.answer(self.path)
            if made.busy:
                made.busy -= 1
                status, said = 503, {"message": "busy"}
            elif made.login and self.headers["authorization"] != expected:
                status, said = 401, {"message": f"unauthorized: {self.headers['authorization']}"}
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-type", "application/vnd.schemaregistry.v1+json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
