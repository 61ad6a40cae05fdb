"""The fields that connectors to HTTP servers share, and the client that they make."""

import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.base import Connector
from fuse_dagster.connectors.declaring import Problem, texts, wrong_times
from fuse_dagster.connectors.http.client import Client, asks_without_login
from fuse_dagster.connectors.http.login import ApiKey, Basic, Bearer, Login, Nobody
from fuse_dagster.connectors.http.oauth2 import Grant, OAuth2
from fuse_dagster.connectors.http.pacing import Pace
from fuse_dagster.connectors.http.retrying import Patience
from fuse_dagster.connectors.http.transport import Transport
from fuse_dagster.connectors.http.urls import address_problem, shown
from fuse_dagster.connectors.object_store import is_plain, looked_up
from fuse_dagster.core.errors import ConfigError

_OF_A_LOGIN = frozenset({"authorization", "proxy-authorization", "cookie"})


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client is made of; two connectors that say the same share one, with its tokens and its pace."""

    base: str
    login: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    allowed_hosts: tuple[str, ...]
    ca_file: str
    timeout: float
    retry_timeout: float
    requests_per_second: float
    concurrency: int


class HTTPConnection(Connector):
    """A server that is spoken to by HTTP: its address, a login, patience and a pace."""

    base_url: str = Field(
        description="Address that all lies below, as `https://api.example.com/v1`. Credentials go to its host only."
    )
    allow_http: bool = Field(default=False, description="Take an `http://` address, which sends all in the clear.")
    username: str = Field(default="", description="A user: for basic auth, or for OAuth2's grant `password`.")
    password: str = secrets.secret_field(description="The password of the user.")
    token: str = secrets.secret_field(description="A token that is sent as `Authorization: Bearer`.")
    api_key: str = secrets.secret_field(description="A key that is sent in a header or in the query.")
    api_key_name: str = Field(default="X-API-Key", description="The header or parameter that the key goes into.")
    api_key_in: Literal["header", "query"] = Field(
        default="header", description="Where the key goes. In the query it may end up in others' logs: prefer `header`."
    )
    token_url: str = Field(default="", description="Address that hands out tokens, for OAuth2.")
    grant: Literal["client_credentials", "password", "refresh_token"] = Field(
        default="client_credentials", description="How OAuth2 hands out a token: to an application, or for a person."
    )
    client_id: str = Field(default="", description="Of an application, for OAuth2.")
    client_secret: str = secrets.secret_field(description="The secret of the application.")
    client_in: Literal["header", "body"] = Field(
        default="header", description="Where the application says who it is, for servers that take only one of them."
    )
    refresh_token: str = secrets.secret_field(description="For OAuth2's grant `refresh_token`.")
    scope: str = Field(default="", description="What a token is to allow, separated by spaces, for OAuth2.")
    audience: str = Field(default="", description="Whom a token is for, where the server of OAuth2 asks for it.")
    headers: dict[str, str] = Field(
        default_factory=dict, description="Sent with every request, as `Accept-Language`. Secrets don't belong here."
    )
    allowed_hosts: list[str] = Field(
        default_factory=list,
        description="Other hosts that answers may lead to, as `files.example.com`; no credentials are sent to them.",
    )
    ca_file: str = Field(default="", description="Certificates (PEM) of authorities that this machine does not know.")
    timeout: float = Field(
        default=30.0,
        description="Seconds to wait for an answer to begin, and between its parts; all of it may take ten times that.",
    )
    retry_timeout: float = Field(default=60.0, description="Seconds for which what fails is tried again.")
    requests_per_second: float = Field(
        default=0.0, description="The most requests per second, where the server limits them; 0 for no limit of ours."
    )
    concurrency: int = Field(default=4, description="Requests at a time, where several can be sent at once.")

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """An address that credentials may be sent to, one login that is whole, and numbers above zero."""
        found = wrong_times(given, ("timeout",))
        for name in ("base_url", "token_url"):
            url = given[name]
            words = address_problem(url, allow_http=given["allow_http"]) if url and is_plain(url) else None
            if words:
                found.append(Problem(name, words))
        if not given["base_url"] and given["base_url"] is not None:
            found.append(Problem("base_url", "It is empty. Valid: `https://` and a host."))
        for name in ("retry_timeout", "requests_per_second"):
            if isinstance(given[name], int | float) and given[name] < 0:
                found.append(Problem(name, f"`{given[name]}` is below 0. Valid: 0 and above."))
        if isinstance(given["concurrency"], int) and not 1 <= given["concurrency"] <= 64:
            found.append(Problem("concurrency", f"`{given['concurrency']}` can't be. Valid: 1 to 64."))
        return [*found, *_login_problems(given), *_header_problems(given["headers"])]

    @property
    def place(self) -> str:
        """The address, without credentials."""
        return shown(looked_up(self.base_url))

    def client(self) -> Client:
        """The client that asks; all connectors of this process that say the same share it.

        Raises:
            ConfigError: A variable that a field names is not set, or what it holds is no address.
        """
        base = looked_up(self.base_url)
        if words := address_problem(base, allow_http=self.allow_http):
            raise ConfigError(f"`base_url` of `{type(self).__name__}`: {words}")
        names = (*_LOGIN, "username", "client_id")
        return client_of(
            Settings(
                base=base,
                login=tuple((name, getattr(self, name)) for name in names),
                headers=tuple(self.headers.items()),
                allowed_hosts=tuple(self.allowed_hosts),
                ca_file=looked_up(self.ca_file),
                timeout=self.timeout,
                retry_timeout=self.retry_timeout,
                requests_per_second=self.requests_per_second,
                concurrency=self.concurrency,
            )
        )

    @abstractmethod
    def answer(self) -> str:
        """Log in and ask for something that costs nothing."""


_LOGIN = (
    "password",
    "token",
    "api_key",
    "api_key_name",
    "api_key_in",
    "token_url",
    "grant",
    "client_secret",
    "client_in",
    "refresh_token",
    "scope",
    "audience",
)


@lru_cache(maxsize=64)
def client_of(settings: Settings) -> Client:
    """The client for these settings."""
    patience, pace = Patience(seconds=settings.retry_timeout), Pace(settings.requests_per_second)
    transport = Transport(
        timeout=settings.timeout, connections=settings.concurrency, ca_file=settings.ca_file, clock=pace.now
    )
    return Client(
        settings.base,
        transport=transport,
        login=login_of(dict(settings.login), transport, patience),
        headers=dict(settings.headers),
        patience=patience,
        pace=pace,
        concurrency=settings.concurrency,
        allowed_hosts=settings.allowed_hosts,
        check="Check `token`, `api_key`, `username`, `password`, or `client_id` and `client_secret`; and their rights.",
    )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=client_of.cache_clear)  # connections and locks belong to the parent


def login_of(said: Mapping[str, str], transport: Transport, patience: Patience) -> Login:
    """The way to log in that the fields say.

    Args:
        said: The fields of a login by name.
        transport: Sends the requests for tokens.
        patience: How long what fails there is tried again.
    """
    if said["token_url"]:
        names = ("client_id", "client_secret", "username", "password", "refresh_token", "scope", "audience")
        grant = Grant(
            token_url=looked_up(said["token_url"]),
            kind=said["grant"],
            client_in=said["client_in"],
            **{name: said[name] for name in names},
        )
        return OAuth2(grant, asks_without_login(transport, patience, Pace()))
    if said["token"]:
        return Bearer(said["token"])
    if said["api_key"]:
        return ApiKey(said["api_key"], looked_up(said["api_key_name"]), said["api_key_in"])
    if said["username"]:
        return Basic(said["username"], said["password"])
    return Nobody()


def _login_problems(given: Mapping[str, Any]) -> list[Problem]:
    """One way to log in, and all that it needs."""
    found: list[Problem] = []
    name = given["api_key_name"]
    if given["api_key_in"] == "header" and is_plain(name) and not header_is_sound(name, ""):
        found.append(Problem("api_key_name", "It can't be the name of a header. Valid: letters, digits and `-`."))
    oauth = bool(given["token_url"])
    ways = texts(given, ("token_url", "token", "api_key")) + ([] if oauth else texts(given, ("username",)))
    if len(ways) > 1:
        found.append(Problem(ways[1], f"`{ways[0]}` is given as well. Take one of the two away."))
    person = not oauth or given["grant"] == "password"
    if person and bool(given["username"]) != bool(given["password"]):
        there, lacks = ("username", "password") if given["username"] else ("password", "username")
        found.append(Problem(lacks, f"`{there}` is given without it. Give both."))
    if not oauth:
        alone = texts(given, ("client_id", "client_secret", "refresh_token", "scope", "audience"))
        found += [Problem(name, "It belongs to OAuth2, which needs `token_url`. Give that, too.") for name in alone]
        return found
    needs = {
        "client_credentials": ("client_id", "client_secret"),
        "password": ("username", "password"),
        "refresh_token": ("refresh_token",),
    }.get(given["grant"], ())
    found += [Problem(name, f"The `grant` `{given['grant']}` needs it.") for name in needs if not given[name]]
    kept = {"password": ("username", "password"), "refresh_token": ("refresh_token",)}
    for grant, names in kept.items():
        if grant != given["grant"]:
            alone = texts(given, names)
            found += [Problem(name, f"It belongs to the `grant` `{grant}`. Take it away, or say so.") for name in alone]
    return found


def _header_problems(headers: object) -> list[Problem]:
    """Headers that can be sent, and hold no login."""
    found: list[Problem] = []
    for name, value in headers.items() if isinstance(headers, Mapping) else ():
        if name.lower() in _OF_A_LOGIN:
            words = f"`{name}` holds credentials. Give `token`, `api_key`, or `username` and `password` instead."
            found.append(Problem("headers", words))
        elif not header_is_sound(name, value):
            found.append(
                Problem("headers", f"{name!r} can't be sent. Valid: a name of letters and `-`, a value in one line.")
            )
        elif secrets.is_reference(value):
            words = f"`{name}` holds a reference to a secret, and nobody resolves it here. Give `api_key` instead."
            found.append(Problem("headers", words))
    return found


def header_is_sound(name: str, value: str) -> bool:
    """Whether a header can't be taken for two, or for part of a request."""
    sound = bool(name) and all(sign.isascii() and (sign.isalnum() or sign in "-_.") for sign in name)
    return sound and value.isprintable() and value.isascii()
