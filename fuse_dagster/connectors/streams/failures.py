"""What a broker, or the way to it, refuses: heard from librdkafka, and said in our words without what it was told."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from fuse_dagster import secrets
from fuse_dagster.core.errors import CredentialsError, FuseError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError

_KINDS: dict[str, tuple[type[FuseError], str]] = {
    "credentials": (CredentialsError, "refuses this login"),
    "right": (CredentialsError, "does not let this login do that"),
    "certificate": (StoreError, "can't be talked to by TLS: one side does not trust the certificate of the other"),
    "scheme": (StoreError, "hangs up at once, as it does where one side talks TLS and the other does not"),
    "host": (StoreUnavailableError, "can't be reached"),
    "time": (StoreUnavailableError, "does not answer in time"),
    "settings": (StoreError, "can't be talked to with these settings"),
    "damaged": (StoreError, "sends messages that are damaged, or compressed in a way that this client can't read"),
}
"""Kind of failure -> how it is raised, and what is the matter."""

_NAMES = {
    "_AUTHENTICATION": "credentials",
    "SASL_AUTHENTICATION_FAILED": "credentials",
    "UNSUPPORTED_SASL_MECHANISM": "credentials",
    "ILLEGAL_SASL_STATE": "credentials",
    "TOPIC_AUTHORIZATION_FAILED": "right",
    "GROUP_AUTHORIZATION_FAILED": "right",
    "CLUSTER_AUTHORIZATION_FAILED": "right",
    "_BAD_MSG": "damaged",
    "_BAD_COMPRESSION": "damaged",
    "INVALID_MSG": "damaged",
}
_SAID = {  # in librdkafka's words, the first that is found decides
    "authentication failed": "credentials",
    "SASL authentication error": "credentials",
    "Failed to acquire SASL OAUTHBEARER token": "credentials",
    "certificate verify failed": "certificate",
    "certificate required": "certificate",
    "unknown ca": "certificate",
    "SSL handshake failed": "scheme",
    "incorrect security.protocol": "scheme",
    "Failed to resolve": "host",
    "Connection refused": "host",
    "No route to host": "host",
    "is unreachable": "host",
    "Connection reset": "host",
    "Disconnected": "host",
}
DECISIVE = frozenset({"credentials", "certificate", "scheme"})
"""Kinds that waiting does not mend."""

logger = logging.getLogger(__name__)


class Heard(logging.Handler):
    """What a client of librdkafka says while it works, which else goes to the errors of the process.

    Each line goes to our log, for who looks at it there, without the secrets that this process has resolved.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kinds: list[str] = []
        self.logger = logging.Logger(__name__)  # noqa: LOG001 - one of its own, that no configuration reaches
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line of its log."""
        self._take(None, record.getMessage())

    def error(self, error: KafkaError) -> None:
        """Take an error that belongs to no call."""
        self._take(error.name(), error.str())

    def _take(self, name: str | None, said: str) -> None:
        logger.debug("librdkafka: %s", secrets.scrub(said))
        kind = kind_of(name or "", said)
        if kind is not None:
            self.kinds.append(kind)

    @property
    def decisive(self) -> str | None:
        """The first kind that waiting does not mend."""
        return next((kind for kind in self.kinds if kind in DECISIVE), None)

    @property
    def likely(self) -> str:
        """What is the matter where nothing came: what was heard last that may be the cause, else that time went by."""
        return self.decisive or next(reversed(self.kinds), "time")


def kind_of(name: str, said: str) -> str | None:
    """The kind of a failure, by librdkafka's name for it or its words; None where they say nothing of it."""
    return _NAMES.get(name) or next((kind for words, kind in _SAID.items() if words in said), None)


def worded(kind: str | None, place: str, checks: Mapping[str, str], *, name: str = "") -> FuseError:
    """The error to raise.

    Args:
        kind: The kind of failure; None for another.
        place: What was asked for, without a secret.
        checks: Kind -> what to look at, in the fields of the connector.
        name: The broker's own name for the failure, which holds nothing that it was told.
    """
    said = f" (it says `{name}`)" if name and not name.startswith("_") else ""
    if kind is None:
        return StoreError(f"`{place}` can't be used: Kafka's client failed with `{name}`. Check the connection.")
    raised, what = _KINDS[kind]
    return raised(f"`{place}` {what}{said}. {checks.get(kind, 'Check the connection.')}")
