"""Tokens by OAuth 2.0: fetched when they are needed, and anew before they run out or when one is refused.

Protocol: RFC 6749, 4.3 (password), 4.4 (client credentials) and 6 (refresh tokens).
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from urllib.parse import quote_plus, urlencode

from fuse_dagster import secrets
from fuse_dagster.connectors.http.failures import says
from fuse_dagster.connectors.http.login import Signature, forms, one_line
from fuse_dagster.connectors.http.messages import Answer, Request
from fuse_dagster.connectors.http.urls import shown
from fuse_dagster.core.errors import CredentialsError, StoreError

_FOREVER = 3600.0
"""Seconds for which a token is taken to hold where its server doesn't say."""

_EARLY, _EARLY_SHARE = 60.0, 0.2
"""A token is fetched anew so many seconds before it runs out; or this part of its time, where that is less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What is told to the server that hands out tokens; secrets are references.

    Attributes:
        token_url: Its address.
        kind: `client_credentials`, `password` or `refresh_token`.
        client_id: Of the application; "" where the server wants none.
        client_secret: A secret.
        username: Of a person, for `password`.
        password: A secret, for `password`.
        refresh_token: A secret, for `refresh_token`.
        scope: What the token is to allow, separated by spaces; "" for the server's default.
        audience: Whom the token is for, where the server asks; "" for not to say.
        client_in: Where the client says who it is: `header` or `body`.
    """

    token_url: str
    kind: str = "client_credentials"
    client_id: str = ""
    client_secret: str = ""
    username: str = ""
    password: str = ""
    refresh_token: str = ""
    scope: str = ""
    audience: str = ""
    client_in: str = "header"

    @property
    def references(self) -> tuple[str, ...]:
        """Everything that may be resolved anew."""
        all_of_them = (self.client_id, self.client_secret, self.username, self.password, self.refresh_token)
        return tuple(one for one in all_of_them if one)


class OAuth2:
    """A token of an application or a person.

    Args:
        grant: What to tell.
        ask: Sends a request without a login, again where that may help; returns the answer whatever its status is.
        clock: Seconds that only grow.
    """

    def __init__(
        self, grant: Grant, ask: Callable[[Request], Answer], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._grant, self._ask, self._clock = grant, ask, clock
        self._token, self._until = "", 0.0
        self._rotated = ""
        self._lock = Lock()

    def sign(self) -> Signature:
        """The header `Authorization`, with a token that holds for a while yet."""
        with self._lock:
            if not self._token or self._clock() >= self._until:
                self._fetch()
            return Signature(headers={"Authorization": f"Bearer {self._token}"}, secret=forms(self._token))

    def renew(self, refused: Signature) -> bool:
        """Forget the token that was refused, and have secrets resolved anew; another thread may have done it."""
        with self._lock:
            if refused.headers.get("Authorization") == f"Bearer {self._token}":
                self._token = ""
                for reference in self._grant.references:
                    secrets.forget(reference)
        return True

    def _fetch(self) -> None:
        asked = self._clock()
        request, hide = self._request()
        answer = self._ask(request)
        place = shown(self._grant.token_url)
        if not 200 <= answer.status < 300:
            said = says(answer, hide)
            msg = (
                f"`{place}` hands out no token: status {answer.status}{f' (it says: `{said}`)' if said else ''}. Check "
                "`client_id`, `client_secret`, `grant`, `scope`, and whether the secret has expired."
            )
            raise CredentialsError(msg)
        try:
            found = json.loads(answer.body)
            token, kind = one_line(found["access_token"]), found.get("token_type", "bearer")
            seconds = float(found.get("expires_in") or _FOREVER)
        except (ValueError, KeyError, TypeError, AttributeError):
            token, kind, seconds = "", "", 0.0
        if not token or str(kind).lower() != "bearer":
            msg = f"`{place}` answers with no bearer token. Check `token_url`: it has to be that of OAuth 2.0."
            raise StoreError(msg)
        if self._grant.kind == "refresh_token" and isinstance(found.get("refresh_token"), str):
            self._rotated = found["refresh_token"]  # the one before it is void from now on
        self._token, self._until = token, asked + seconds - min(_EARLY, seconds * _EARLY_SHARE)

    def _request(self) -> tuple[Request, tuple[str, ...]]:
        """The question for a token, and what in it must show nowhere."""
        grant = self._grant
        resolved = {name: secrets.resolve(getattr(grant, name)).strip() for name in _NAMES if getattr(grant, name)}
        if self._rotated:
            resolved["refresh_token"] = self._rotated
        said = {"grant_type": grant.kind, "scope": grant.scope, "audience": grant.audience}
        said |= {name: resolved[name] for name in ("username", "password", "refresh_token") if name in resolved}
        client, secret = resolved.get("client_id", ""), resolved.get("client_secret", "")
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        hide = [form for name in _SECRET if name in resolved for form in forms(resolved[name])]
        if client and secret and grant.client_in == "header":
            login = f"{quote_plus(client)}:{quote_plus(secret)}"  # encoded first: RFC 6749, 2.3.1
            encoded = base64.b64encode(login.encode()).decode()
            headers["Authorization"] = f"Basic {encoded}"
            hide.append(encoded)
        else:
            said |= {"client_id": client, "client_secret": secret}
        body = urlencode({name: value for name, value in said.items() if value}).encode()
        # Asking twice makes two tokens, which is no harm; but a refresh token that is used up is gone.
        repeatable = grant.kind != "refresh_token"
        request = Request(
            url=grant.token_url, method="POST", headers=headers, body=body, repeatable=repeatable, most=2**20
        )
        return request, tuple(hide)


_NAMES = ("client_id", "client_secret", "username", "password", "refresh_token")
_SECRET = ("client_secret", "password", "refresh_token")
