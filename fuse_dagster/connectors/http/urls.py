"""Addresses: put together with everything quoted, compared by origin, and shown without credentials."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote_plus, urlencode, urljoin, urlsplit, urlunsplit

from fuse_dagster import secrets
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean, listing

_HOLE = re.compile(r"\{([^{}]*)\}")
_PORTS = {"http": 80, "https": 443}
_SHORT = 300


def address_problem(url: str, *, allow_http: bool) -> str | None:
    """What is wrong with an address that somebody declared, as a sentence; None where nothing is."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "It is no URL. Valid: `https://` and a host, as `https://api.example.com/v1`."
    if parts.scheme not in _PORTS or not parts.hostname or port == 0 or any(sign <= " " for sign in url):
        return "It is no URL. Valid: `https://` and a host, as `https://api.example.com/v1`."
    if parts.username is not None or parts.password is not None:
        return "It holds a user or a password. Take them out, and give `username` and `password`."
    if parts.scheme == "http" and not allow_http:
        return "It is `http://`, which sends data in the clear. Take `https://`, or set `allow_http`."
    return None


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what credentials belong to.

    Raises:
        ValueError: It is no URL of `http` or `https`.

    Examples:
        >>> origin("https://API.example.com/v1") == origin("https://api.example.com:443/v2?a=b")
        True
    """
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
        msg = "no URL of http or https"
        raise ValueError(msg)
    return parts.scheme, parts.hostname.lower().rstrip("."), parts.port or _PORTS[parts.scheme]


def host_of(url: str) -> str:
    """The host, with its port where it is no usual one: what a list of allowed hosts holds."""
    scheme, host, port = origin(url)
    return host if port == _PORTS[scheme] else f"{host}:{port}"


def joined(base: str, path: str) -> str:
    """A path below a base; a path with a slash before it does not leave the base either.

    Examples:
        >>> joined("https://api.example.com/v1", "/flights")
        'https://api.example.com/v1/flights'
    """
    return f"{base.rstrip('/')}/{path.lstrip('/')}" if path.strip("/") else base


def resolved(url: str, reference: str) -> str:
    """What a server means by a reference in an answer: absolute, or relative to where the answer came from."""
    try:
        return urljoin(url, reference.strip()).partition("#")[0]
    except ValueError:  # it is no address, which whoever asks there will say
        return reference


def holes(path: str) -> tuple[str, ...]:
    """Names of what a path leaves open, as `station` in `stations/{station}/flights`."""
    return tuple(_HOLE.findall(path))


def filled(path: str, values: Mapping[str, str]) -> str:
    """Put values into what a path leaves open; each stays one part of the path, whatever signs it holds.

    Raises:
        ConfigError: There is no value, or one that a server could take for another place.

    Examples:
        >>> filled("stations/{station}/flights", {"station": "a/b?c"})
        'stations/a%2Fb%3Fc/flights'
    """

    def fill(hole: re.Match[str]) -> str:
        name = hole[1]
        if name not in values:
            raise ConfigError(f"The path `{path}` needs a value for `{name}`. {did_you_mean(name, values)}")
        value = values[name]
        if value in {"", ".", ".."} or not value.isprintable():
            msg = f"`{value!r}` can't be `{name}` in the path `{path}`. Valid: text in one line, other than `.`, `..`."
            raise ConfigError(msg)
        try:
            return quote(value, safe="")
        except UnicodeEncodeError:
            msg = f"`{value!r}` can't be `{name}` in the path `{path}`: it holds half a sign."
            raise ConfigError(msg) from None

    return _HOLE.sub(fill, path)


def with_query(url: str, parameters: Mapping[str, str]) -> str:
    """Add parameters to an address; one that is there already is replaced.

    Examples:
        >>> with_query("https://api.example.com/flights?page=1", {"page": "2", "carrier": "A&B"})
        'https://api.example.com/flights?page=2&carrier=A%26B'
    """
    if not parameters:
        return url
    parts = urlsplit(url)
    words = [word for word in parts.query.split("&") if word and unquote_plus(word.partition("=")[0]) not in parameters]
    return urlunsplit(parts._replace(query="&".join([*words, urlencode(parameters, quote_via=quote)])))


def shown(url: str, secret: Iterable[str] = ()) -> str:
    """An address for people: without user, password and the values of some parameters, and not too long.

    Args:
        url: The address.
        secret: Names of parameters whose values are hidden.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(no address)"
    hidden = {name.lower() for name in secret}
    query = "&".join(
        f"{word.partition('=')[0]}=***" if word.partition("=")[0].lower() in hidden else word
        for word in parts.query.split("&")
    )
    text = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=query, fragment=""))
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."


def refuse_other_host(url: str, base: str, allowed: Iterable[str]) -> None:
    """Refuse an address that an answer names and that leads to a host nobody declared.

    Raises:
        ConfigError: It is of another origin than `base`, and its host is not allowed.
    """
    hosts = tuple(allowed)
    try:
        same = origin(url) == origin(base)
        host = host_of(url)
        allowed_here = urlsplit(url).scheme == urlsplit(base).scheme and host in {one.lower() for one in hosts}
    except ValueError:
        same, host, allowed_here = False, "?", False
    if not (same or allowed_here):
        told = secrets.scrub(shown(url))
        msg = (
            f"`{base}` leads on to another host: `{told}`. No request was sent there. If that is right, add "
            f"`{host}` to `allowed_hosts`, which holds {listing(hosts)}; credentials aren't sent there even then."
        )
        raise ConfigError(msg)
