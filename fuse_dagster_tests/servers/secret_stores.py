"""Fakes of the clouds' secret stores, which can't run here: written from the shape of their public APIs.

One HTTP server on 127.0.0.1 answers for all of them, so that the clouds' own clients are what is tested: AWS Secrets
Manager (JSON 1.1), Google Cloud Secret Manager (REST), Databricks (REST 2.0), Azure Key Vault (REST 7.x, whose client
insists on TLS and asks for a token first) and the token endpoint of Azure's managed identities. They prove that
requests and answers are understood; they prove nothing about the clouds' permissions.
"""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from fuse_dagster_tests.servers.certificate import certificate, showing

TOKEN = "token-of-the-fake"
BINARY = "binary:"  # what begins so is kept as the bytes that the rest is in Latin 1


@dataclass
class Stores:
    """What the fakes hold, and how they are to answer.

    Attributes:
        port: Where they listen on 127.0.0.1.
        values: Name, or name and version as `name@version` -> value.
        status: Answer every request for a secret with this HTTP status instead; 0 for as it should be.
        asked: Every request so far, as `METHOD path`.
    """

    port: int = 0
    values: dict[str, str] = field(default_factory=dict)
    status: int = 0
    asked: list[str] = field(default_factory=list)

    def value(self, name: str, version: str = "") -> str | None:
        """The value of a secret, at a version if one is named."""
        return self.values.get(f"{name}@{version}" if version else name)


@contextlib.contextmanager
def fake_stores(*, tls: Path | None = None) -> Iterator[Stores]:
    """Start the fakes, and end them afterwards.

    Args:
        tls: A folder for a certificate of `localhost`, if they are to talk TLS; it is `cert.pem` there.
    """
    stores = Stores()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"stores": stores}))
    stores.port = server.server_address[1]
    if tls is not None:
        server.socket = showing(certificate(tls)).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield stores
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    stores: Stores

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, body: bytes) -> None:
        url = urlsplit(self.path)
        self.stores.asked.append(f"{self.command} {url.path}")
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/identity/token":
            self._send(200, _identity(query))
        elif "X-Amz-Target" in self.headers:
            self._aws(json.loads(body))
        elif url.path.startswith("/secrets/"):
            self._azure(url.path.split("/")[2:])
        elif url.path.startswith("/v1/projects/"):
            self._google(url.path)
        else:
            self._databricks(query)

    def _aws(self, asked: dict[str, str]) -> None:
        value = self.stores.value(asked["SecretId"], asked.get("VersionId", "") or asked.get("VersionStage", ""))
        codes = {400: "ThrottlingException", 403: "AccessDeniedException", 500: "InternalServiceError"}
        if self.stores.status:
            code = codes[self.stores.status]
            self._send(400 if self.stores.status == 403 else self.stores.status, {"__type": code, "message": "canary"})
        elif value is None:
            self._send(400, {"__type": "ResourceNotFoundException", "message": "canary"})
        elif value.startswith(BINARY):
            self._send(200, {"Name": asked["SecretId"], "SecretBinary": _base64(value)})
        else:
            self._send(200, {"Name": asked["SecretId"], "SecretString": value})

    def _azure(self, parts: list[str]) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            host = self.headers["Host"].partition(".")[2]
            challenge = f'Bearer authorization="https://{host}/tenant", resource="https://{host}"'
            self._send(401, {"error": {"code": "Unauthorized"}}, {"WWW-Authenticate": challenge})
            return
        value = self.stores.value(parts[0], parts[1] if len(parts) > 1 else "")
        status = self.stores.status or (404 if value is None else 200)
        error = {"error": {"code": "SecretNotFound", "message": "canary"}}
        self._send(status, error if status >= 400 else {"id": f"https://x/secrets/{parts[0]}/1", "value": value})

    def _google(self, path: str) -> None:
        _, _, _, project, _, name, _, version = path.removesuffix(":access").split("/")
        value = self.stores.value(f"{project}/{name}", "" if version == "latest" else version)
        status = self.stores.status or (404 if value is None else 200)
        data = _base64(value or "")
        error = {"error": {"code": status, "message": "canary", "status": "x"}}
        self._send(status, error if status >= 400 else {"name": path, "payload": {"data": data}})

    def _databricks(self, query: dict[str, str]) -> None:
        if "scope" not in query:
            self._send(404, {})  # what the client asks about the host before it begins
            return
        value = self.stores.value(f"{query['scope']}/{query['key']}")
        status = self.stores.status or (404 if value is None else 200)
        codes = {400: "BAD_REQUEST", 403: "PERMISSION_DENIED", 404: "RESOURCE_DOES_NOT_EXIST"}
        error = {"error_code": codes.get(status, "INTERNAL_ERROR"), "message": "canary"}
        data = _base64(value or "")
        self._send(status, error if status >= 400 else {"key": query["key"], "value": data})

    def _send(self, status: int, answer: object, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _base64(value: str) -> str:
    data = value.removeprefix(BINARY).encode("latin-1") if value.startswith(BINARY) else value.encode()
    return base64.b64encode(data).decode()


def _identity(query: dict[str, str]) -> dict[str, str]:
    """What the token endpoint of a managed identity answers (the App Service protocol)."""
    soon = str(int(time.time()) + 3600)
    return {"access_token": TOKEN, "expires_on": soon, "resource": query.get("resource", ""), "token_type": "Bearer"}
