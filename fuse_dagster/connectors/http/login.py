"""Who asks: nothing, a user with a password, a token, or an API key. Each is resolved when a request is signed."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote, quote_plus

from fuse_dagster import secrets
from fuse_dagster.core.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a login adds to one request.

    Attributes:
        headers: Name -> value.
        parameters: Name -> value, for the query.
        secret: Values that must show nowhere.
    """

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret: tuple[str, ...] = field(default=(), repr=False)


class Login(Protocol):
    """A way to log in."""

    def sign(self) -> Signature:
        """What to add to a request now.

        Raises:
            FuseError: A secret can't be resolved, or nobody hands out a token.
        """

    def renew(self, refused: Signature) -> bool:
        """After a 401: forget what was refused; whether the next signature is another one."""


class Nobody:
    """No login."""

    def sign(self) -> Signature:
        """Nothing."""
        return Signature()

    def renew(self, refused: Signature) -> bool:
        """There is nothing else to try."""
        del refused
        return False


class _Held(ABC):
    """A login whose secrets are held by references, or stand in the declaration."""

    def __init__(self, *references: str) -> None:
        self._references = references

    def _values(self) -> list[str]:
        return [one_line(secrets.resolve(reference)) for reference in self._references]

    @abstractmethod
    def sign(self) -> Signature:
        """What to add to a request now."""

    def renew(self, refused: Signature) -> bool:
        """Ask the stores of secrets again: somebody may have changed the secret meanwhile."""
        for reference in self._references:
            secrets.forget(reference)
        now = self.sign()
        return (now.headers, now.parameters) != (refused.headers, refused.parameters)


class Basic(_Held):
    """A user and a password, as RFC 7617 has it.

    Args:
        username: The user; no secret, but it may be a variable.
        password: A reference or value.
    """

    def __init__(self, username: str, password: str) -> None:
        super().__init__(username, password)

    def sign(self) -> Signature:
        """The header `Authorization`."""
        username, password = self._values()
        if ":" in username:
            raise ConfigError("`username` holds a colon, which ends it for the server. Valid: a name without one.")
        encoded = base64.b64encode(f"{username}:{password}".encode()).decode()
        return Signature(headers={"Authorization": f"Basic {encoded}"}, secret=(*forms(password), encoded))


class Bearer(_Held):
    """A token, as RFC 6750 has it.

    Args:
        token: A reference or value.
    """

    def __init__(self, token: str) -> None:
        super().__init__(token)

    def sign(self) -> Signature:
        """The header `Authorization`."""
        (token,) = self._values()
        return Signature(headers={"Authorization": f"Bearer {token}"}, secret=forms(token))


class ApiKey(_Held):
    """A key in a header or in the query.

    Args:
        key: A reference or value.
        name: Of the header or parameter.
        where: `header` or `query`.
    """

    def __init__(self, key: str, name: str, where: str) -> None:
        super().__init__(key)
        self._name, self._where = name, where

    def sign(self) -> Signature:
        """The header, or the parameter."""
        (key,) = self._values()
        said = {self._name: key}
        return (
            Signature(headers=said, secret=forms(key))
            if self._where == "header"
            else Signature(parameters=said, secret=forms(key))
        )


def forms(value: str) -> tuple[str, ...]:
    """A secret as it may stand in an address or a message."""
    return (value, quote(value, safe=""), quote_plus(value))


def one_line(value: str) -> str:
    """A secret that goes into a header: without the line break at its end that files have.

    Raises:
        ConfigError: It holds a sign that no header can.
    """
    value = value.strip()
    if not value.isprintable() or not value.isascii():
        raise ConfigError("A secret holds a sign that no header may hold. Check that it was stored whole, as one line.")
    return value
