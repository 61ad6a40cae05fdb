"""Azure Event Hubs, by its endpoint that speaks Kafka's protocol.

Protocol: https://learn.microsoft.com/azure/event-hubs/azure-event-hubs-apache-kafka-overview
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors import entra
from fuse_dagster.connectors.declaring import Problem
from fuse_dagster.connectors.object_store import is_plain, looked_up
from fuse_dagster.connectors.streams.broker import Broker

DOMAIN = "servicebus.windows.net"
PORT = 9093
USER = "$ConnectionString"
"""Who logs in with a connection string, which is the password then."""


class EventHubs(Broker):
    """The event hubs of a namespace, as topics; from the tier Standard on.

    Of a connection string and a service principal one is given. Where none is, `login` says whose is taken.

    Examples:
        >>> EventHubs(namespace="contoso").place
        'eventhubs://contoso.servicebus.windows.net'
    """

    type: Literal["eventhubs"] = "eventhubs"
    namespace: str = Field(description="The namespace: the first word of its address.")
    connection_string: str = secrets.secret_field(
        description="A connection string of the namespace, or of one event hub, with the right to listen."
    )
    tenant_id: str = Field(default="", description=entra.TENANT)
    client_id: str = Field(default="", description=entra.CLIENT)
    client_secret: str = secrets.secret_field(description=entra.SECRET)
    login: Literal["default", "managed_identity", "cli"] = Field(default="default", description=entra.LOGIN)
    authority: str = Field(default="", description=entra.AUTHORITY_IS)
    domain: str = Field(default=DOMAIN, description="Of other clouds, as `servicebus.chinacloudapi.cn`.")
    endpoint: str = Field(
        default="", description="Host and port to connect to, where they are not the namespace's own; always by TLS."
    )
    ca_file: str = Field(
        default="", description="File with the authorities to trust (PEM), where the machine does not trust them."
    )

    extra: ClassVar[str] = "eventhubs"
    checks: ClassVar[Mapping[str, str]] = {
        "credentials": "Check `connection_string`, the service principal or `login`, that it has the role Azure Event "
        "Hubs Data Receiver, and that `namespace` is the one you mean.",
        "right": "Let the login listen to the event hub: the right Listen, or the role Azure Event Hubs Data Receiver.",
        "certificate": "Check `namespace`, `endpoint` and `ca_file`.",
        "scheme": "Check `namespace` and `endpoint`, and that the namespace is of the tier Standard or above.",
        "host": "Check `namespace` (its name is part of the host), `endpoint`, DNS, firewalls and private endpoints.",
        "time": "Check `namespace`, that port 9093 is open, and its tier; raise `timeout` where the line is slow.",
        "settings": "Check `endpoint` and `ca_file`.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """A namespace that is a name, one way to log in, and a service principal that is whole."""
        found = super().problems(given)
        name = given["namespace"]
        if name is not None and is_plain(name) and (not name or not set(name) <= _SIGNS):
            found.append(Problem("namespace", f"It needs a name, without a scheme and `.{DOMAIN}`."))
        return found + entra.problems(given, "connection_string")

    @property
    def host(self) -> str:
        """The namespace's host."""
        return f"{looked_up(self.namespace)}.{looked_up(self.domain)}"

    @property
    def place(self) -> str:
        """The namespace."""
        return f"eventhubs://{self.host}"

    @property
    def address(self) -> str:
        """The same, for who fetches tokens."""
        return self.place

    def settings(self) -> dict[str, Any]:
        """How it is reached, as librdkafka takes it, with secrets that are resolved now.

        Raises:
            FuseError: A secret can't be resolved, or there is no login.
        """
        said = {
            "bootstrap.servers": looked_up(self.endpoint) or f"{self.host}:{PORT}",
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": looked_up(self.ca_file),
        }
        return {name: value for name, value in said.items() if value} | self._login()

    def _login(self) -> dict[str, Any]:
        if self.connection_string:
            password = secrets.resolve(self.connection_string)
            return {"sasl.mechanism": "PLAIN", "sasl.username": USER, "sasl.password": password}
        scope = f"https://{self.host}/.default"
        entra.access(self, scope)  # here its failure can be told; what the client calls, it is not heard from

        def renewed(_: object) -> tuple[str, float]:
            found = entra.access(self, scope)
            return found.token, float(found.expires_on)

        return {"sasl.mechanism": "OAUTHBEARER", "oauth_cb": renewed}


_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
