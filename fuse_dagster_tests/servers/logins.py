"""Fakes of the endpoints that hand out temporary credentials, written from their public documentation.

They answer the real clients of AWS and Azure over HTTP; what the clouds check before they answer is not here.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_ASSUMED = """\
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken>
<Expiration>2100-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""
_DENIED = """\
<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code>
<Message>planted-canary is not authorized to perform: sts:AssumeRole</Message></Error></ErrorResponse>"""


@dataclass
class Logins:
    """The fake as the test sees it.

    Attributes:
        address: Where it listens.
        role: The only role that may be assumed.
        keys: What is handed out for it: key, secret and token.
        token: What is handed out to a managed identity.
        asked: The parameters of each request.
    """

    address: str = ""
    role: str = "arn:aws:iam::123456789012:role/lake"
    keys: tuple[str, str, str] = ("lake-key-id", "lake-signing-key", "")
    token: str = "token-of-the-machine"
    asked: list[dict[str, list[str]]] = field(default_factory=list)

    def assume(self, asked: dict[str, list[str]]) -> tuple[int, str]:
        """AWS STS: AssumeRole."""
        if asked.get("RoleArn") != [self.role]:
            return 403, _DENIED
        return 200, _ASSUMED.format(key=self.keys[0], secret=self.keys[1], token=self.keys[2])

    def identify(self, asked: dict[str, list[str]]) -> tuple[int, str]:
        """The endpoint of managed identities on Azure's App Service."""
        if asked.get("resource") != ["https://storage.azure.com"]:
            return 400, "{}"
        return 200, json.dumps({"access_token": self.token, "expires_on": str(int(time.time()) + 3600)})


@contextlib.contextmanager
def logins() -> Iterator[Logins]:
    """Start the fake, and end it afterwards."""
    fake = Logins()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(urlsplit(self.path).query, fake.identify)

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode(), fake.assume)

        def _answer(self, query: str, answer) -> None:  # type: ignore[no-untyped-def]  # one of the two methods
            fake.asked.append(parse_qs(query))
            status, body = answer(fake.asked[-1])
            self.send_response(status)
            self.send_header("Content-Type", "application/json" if body.startswith("{") else "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        fake.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
