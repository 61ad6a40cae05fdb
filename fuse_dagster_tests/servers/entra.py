"""A fake of Microsoft Entra ID and of the endpoints for managed identities, which can't run here.

Written from the public documentation of the client credentials flow, of the managed identities of virtual machines and
of App Service. It keeps who there is, how long tokens hold and when it is too busy, and hands out tokens that
Azurite takes where it runs with `--oauth basic`: their issuer, audience and times are as they should be, their
signature is none. What a directory checks besides tenant, name and secret (policies, roles) is not here.
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

from fuse_dagster_tests.servers.certificate import showing

AUDIENCE = "https://storage.azure.com"
TENANT, CLIENT, SECRET = (
    "11111111-2222-3333-4444-555555555555",
    "66666666-7777-8888-9999-000000000000",
    "swordfish-canary",
)
IDENTITY = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
HEADER = "header-of-the-platform"

Answer = tuple[int, dict[str, str], dict[str, object]]


@dataclass
class Entra:
    """The fake as the test sees it.

    Attributes:
        address: Where it listens, and talks TLS.
        plain: Where it listens, and does not: the endpoints of identities are machines' own.
        secrets: Secret of each service principal, by tenant and name.
        audience: What it hands out tokens for.
        subject: Whom tokens name; where it is given they bear no signature, as a broker of the tests takes them.
        lifetime: Seconds that a token holds.
        busy: How many requests it still answers with 429.
        retry_after: Seconds to wait, which it says then.
        asked: What was asked for, as `principal`, `vm` or `platform`, also where it was refused.
        given: Every token that it handed out.
    """

    address: str = ""
    plain: str = ""
    secrets: dict[tuple[str, str], str] = field(default_factory=lambda: {(TENANT, CLIENT): SECRET})
    audience: str = AUDIENCE
    subject: str = ""
    lifetime: int = 3600
    busy: int = 0
    retry_after: int = 1
    asked: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)

    def principal(self, tenant: str, said: dict[str, str]) -> Answer:
        """The token endpoint of a tenant, for the client credentials flow."""
        self.asked.append("principal")
        if tenant not in {known for known, _ in self.secrets}:
            return _denied(400, "invalid_request", "AADSTS90002: Tenant not found.")
        secret = self.secrets.get((tenant, said.get("client_id", "")))
        if secret is None:
            return _denied(400, "unauthorized_client", "AADSTS700016: Application not found in the directory.")
        if said.get("client_secret") != secret:
            return _denied(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
        if said.get("grant_type") != "client_credentials" or said.get("scope") != f"{self.audience}/.default":
            return _denied(400, "invalid_scope", "AADSTS70011: The provided value for the scope is not valid.")
        return self._token(tenant)

    def identity(self, kind: str, said: dict[str, str], headers: dict[str, str]) -> Answer:
        """The endpoint for managed identities of a virtual machine (`vm`) or of App Service (`platform`)."""
        self.asked.append(kind)
        proof = ("metadata", "true") if kind == "vm" else ("x-identity-header", HEADER)
        if headers.get(proof[0], "").lower() != proof[1]:
            return _denied(400, "bad_request", "Required header not specified.")
        if said.get("client_id", IDENTITY) != IDENTITY:
            return _denied(400, "invalid_request", "Identity not found.")
        if said.get("resource", "").rstrip("/") != self.audience:
            return _denied(400, "invalid_resource", "AADSTS500011: The resource principal was not found.")
        return self._token(TENANT)

    def _token(self, tenant: str) -> Answer:
        if self.busy:
            self.busy -= 1
            status, headers, body = _denied(429, "temporarily_unavailable", "AADSTS90055: too many requests.")
            return status, headers | {"Retry-After": str(self.retry_after)}, body
        now = int(time.time())
        claims: dict[str, object] = {
            "aud": self.audience,
            "iss": f"https://sts.windows.net/{tenant}/",
            "iat": now,
            "nbf": now - 5,
        }
        token = token_of(claims | {"exp": now + self.lifetime, "jti": str(len(self.given))})
        if self.subject:
            named = {"sub": self.subject, "exp": now + self.lifetime}
            token = token_of(claims | named).removesuffix("x")
        self.given.append(token)
        # The endpoints of identities say numbers as text.
        said = {"token_type": "Bearer", "expires_in": str(self.lifetime), "expires_on": str(now + self.lifetime)}
        return 200, {}, {**said, "access_token": token, "resource": self.audience}


def token_of(claims: dict[str, object]) -> str:
    """A JSON Web Token without a signature."""
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + ".x"


def _denied(status: int, code: str, words: str) -> Answer:
    return (
        status,
        {},
        {
            "error": code,
            "error_description": words,
            "error_codes": [int(words[6:].split(":", maxsplit=1)[0])] if words.startswith("AADSTS") else [],
        },
    )


@contextlib.contextmanager
def entra_server(certificate: Path) -> Iterator[Entra]:
    """Start the fake, which talks TLS, as the libraries insist, and end it afterwards.

    Args:
        certificate: What it shows.
    """
    fake = Entra()
    handler = type("Handler", (_Handler,), {"fake": fake})
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
    fake.address, fake.plain = (
        f"{scheme}:{server.server_port}"
        for scheme, server in zip(("https://localhost", "http://127.0.0.1"), servers, strict=True)
    )
    servers[0].socket = showing(certificate).wrap_socket(servers[0].socket, server_side=True)
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield fake
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    fake: Entra

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        said = {name: values[0] for name, values in parse_qs(url.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        if url.path.endswith("/.well-known/openid-configuration"):
            self._send((200, {}, self._configuration(url.path.split("/")[1])))
        elif url.path == "/metadata/identity/oauth2/token":
            self._send(self.fake.identity("vm", said, headers))
        elif url.path == "/msi/token":
            self._send(self.fake.identity("platform", said, headers))
        else:
            self._send(_denied(404, "not_found", "No such address."))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        said = {name: values[0] for name, values in parse_qs(body).items()}
        _, tenant, *rest = urlsplit(self.path).path.split("/")
        assert rest == ["oauth2", "v2.0", "token"], self.path
        self._send(self.fake.principal(tenant, said))

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _configuration(self, tenant: str) -> dict[str, object]:
        base = f"{self.fake.address}/{tenant}"
        return {
            "issuer": f"{base}/v2.0",
            "token_endpoint": f"{base}/oauth2/v2.0/token",
            "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
        }

    def _send(self, answer: Answer) -> None:
        status, headers, said = answer
        if self.path.endswith("/oauth2/v2.0/token") and "expires_in" in said:
            said = said | {"expires_in": int(str(said["expires_in"]))}
        body = json.dumps(said).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
