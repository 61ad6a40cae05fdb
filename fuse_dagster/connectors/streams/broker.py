"""What connectors to brokers have in common, whoever runs them: topics by name, and their messages as rows."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.base import Connector
from fuse_dagster.connectors.declaring import Problem, wrong_times
from fuse_dagster.connectors.object_store import is_plain, looked_up
from fuse_dagster.connectors.streams import client as streams
from fuse_dagster.connectors.streams.rows import LimitedTo, opened
from fuse_dagster.core.errors import CredentialsError

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.streams.client import Client


class Broker(Connector):
    """A broker that speaks Kafka's protocol.

    Messages are read as far as transactions committed them. Nothing is kept at the broker: no group is joined, and no
    offset is committed but where somebody asks for it.
    """

    limited_to: LimitedTo = Field(
        default="newest", description="Which messages a read with a limit brings: the `newest`, or the `earliest` kept."
    )
    timeout: float = Field(default=30.0, description="Seconds to wait for an answer, or for the next message.")
    schema_registry: str = Field(
        default="", description="URL of the schema registry, where messages carry the id of their schema."
    )
    registry_username: str = Field(default="", description="Who logs in at the schema registry; an API key, often.")
    registry_password: str = secrets.secret_field(description="The password at the schema registry.")

    checks: ClassVar[Mapping[str, str]] = {}
    """Kind of failure -> what to look at, in the fields of the connector."""
    extra: ClassVar[str] = "kafka"
    """The extra that brings the client."""

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """A time above zero, a registry that is a URL, a login at it that is whole."""
        found = wrong_times(given, ("timeout",))
        url = given["schema_registry"]
        if url and is_plain(url) and not url.startswith(("https://", "http://")):
            found.append(Problem("schema_registry", "It is no URL. Valid: one such as `https://registry:8081`."))
        for one, other in (("registry_username", "registry_password"), ("registry_password", "registry_username")):
            if given[one] and not given[other]:
                found.append(Problem(other, f"`{one}` is given without it. Give both, or none."))
        if given["registry_username"] and not url:
            found.append(Problem("schema_registry", "A login is given without it. Give its URL, too."))
        return found

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """How it is reached, as librdkafka takes it, with secrets that are resolved now.

        Raises:
            FuseError: A secret can't be resolved.
        """

    @contextmanager
    def connected(self, *, group: str = streams.GROUP) -> "Iterator[Client]":
        """Open a client, and close it afterwards; it is logged in, by new secrets where the old ones are refused.

        Args:
            group: Of whom offsets are committed, where they are.

        Raises:
            CredentialsError: The broker refuses the login.
            StoreUnavailableError: It can't be reached.
            MissingExtraError: The client is not installed.
        """
        with ExitStack() as stack:
            found = stack.enter_context(self._opened(group))
            try:
                found.broker()
            except CredentialsError:
                if not self.forget_secrets():
                    raise
                stack.close()
                found = stack.enter_context(self._opened(group))
            yield found

    def answer(self) -> str:
        """Log in, and ask what brokers and topics there are.

        Raises:
            CredentialsError: The broker refuses the login.
            StoreUnavailableError: It can't be reached.
        """
        with self.connected() as client:
            return client.broker()

    def names(self, pattern: str = "*") -> Iterator[str]:
        """Yield the names of topics that the login sees, sorted; the broker's own begin with `__` and are left out."""
        with self.connected() as client:
            yield from (name for name in client.topics() if fnmatchcase(name, pattern))

    @contextmanager
    def rows(
        self, name: str, *, columns: Sequence[str] | None = None, limit: int | None = None
    ) -> "Iterator[pa.RecordBatchReader]":
        """Read what a topic holds now: `key`, `value`, `headers`, `partition`, `offset` and `timestamp` (UTC).

        Args:
            name: Of the topic.
            columns: The columns to read, in this order; None for all.
            limit: Messages at the most, which of them `limited_to` says; None for all.

        Raises:
            NotThereError: There is no such topic.
            InputError: There is no such column.
        """
        with (
            self.connected() as client,
            opened(client, name, columns=columns, limit=limit, limited_to=self.limited_to) as found,
        ):
            yield found

    def _opened(self, group: str) -> "AbstractContextManager[Client]":
        return streams.connected(
            self.settings(), place=self.place, checks=self.checks, timeout=self.timeout, group=group, extra=self.extra
        )


def registry_of(broker: Broker) -> tuple[str, str, str]:
    """URL, user and password of a broker's schema registry, looked up and resolved now.

    Raises:
        FuseError: A secret can't be resolved.
    """
    password = secrets.resolve(broker.registry_password) if broker.registry_password else ""
    return looked_up(broker.schema_registry).rstrip("/"), looked_up(broker.registry_username), password
