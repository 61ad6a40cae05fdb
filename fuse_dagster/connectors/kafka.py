"""Apache Kafka, and what speaks its protocol.

Settings: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
"""

import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.declaring import Problem, texts
from fuse_dagster.connectors.object_store import is_plain, looked_up
from fuse_dagster.connectors.streams.broker import Broker

Mechanism = Literal["none", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
_BY_PASSWORD = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_CLIENT = ("token_url", "client_id", "client_secret")
_TOKEN_HOLDS = 300.0  # seconds after which a token is asked for anew, where it does not say by itself


class Kafka(Broker):
    """Topics of a Kafka cluster, as tables of messages.

    Examples:
        >>> Kafka(bootstrap_servers="a.example:9092,b.example:9092").place
        'kafka://a.example:9092,b.example:9092'
    """

    type: Literal["kafka"] = "kafka"
    bootstrap_servers: str = Field(
        description="Host and port of a broker, or several with commas between, so that one of them may be away."
    )
    tls: bool = Field(default=True, description="Talk TLS. Without it, messages and logins travel in the clear.")
    mechanism: Mechanism = Field(default="none", description="How to log in by SASL, as the cluster asks for it.")
    username: str = Field(default="", description="Who logs in, by `PLAIN` and `SCRAM`; an API key, often.")
    password: str = secrets.secret_field(description="The password, for `PLAIN` and `SCRAM`.")
    token: str = secrets.secret_field(description="For `OAUTHBEARER`: a token that somebody else renews.")
    token_url: str = Field(default="", description="For `OAUTHBEARER`: URL that hands out tokens for a client.")
    client_id: str = Field(default="", description="Of the client that `token_url` knows.")
    client_secret: str = secrets.secret_field(description="The secret of that client.")
    scope: str = Field(default="", description="What tokens of `token_url` are asked for.")
    ca_file: str = Field(
        default="", description="File with the authorities to trust (PEM), where the machine does not trust them."
    )
    certificate_file: str = Field(
        default="", description="File with the certificate to show (PEM), where brokers ask for one."
    )
    key_file: str = Field(default="", description="File with the key of that certificate (PEM).")
    key_password: str = secrets.secret_field(description="What the key is encrypted with, if it is.")

    checks: ClassVar[Mapping[str, str]] = {
        "credentials": "Check `mechanism` and what belongs to it: `username` and `password`, or `token`, or "
        "`token_url`, `client_id` and `client_secret`.",
        "right": "Let the login `DESCRIBE` and `READ` the topic.",
        "certificate": "Check the host of `bootstrap_servers`, `ca_file`, and `certificate_file` where brokers ask for "
        "one.",
        "scheme": "Check `tls` and `mechanism`, and that the port of `bootstrap_servers` is the one for them.",
        "host": "Check hosts and ports of `bootstrap_servers`, those that the brokers advertise, DNS and firewalls.",
        "time": "Check `bootstrap_servers`, `tls` and `mechanism`; raise `timeout` where the line is slow.",
        "settings": "Check `bootstrap_servers` and that `ca_file`, `certificate_file` and `key_file` are there and "
        "whole.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """Servers as host and port, and a login that has all it needs and no more."""
        return [*super().problems(given), *_wrong_servers(given), *_wrong_login(given), *_wrong_tls(given)]

    @property
    def place(self) -> str:
        """The servers."""
        return f"kafka://{looked_up(self.bootstrap_servers)}"

    def settings(self) -> dict[str, Any]:
        """How it is reached, as librdkafka takes it, with secrets that are resolved now.

        Raises:
            FuseError: A secret can't be resolved.
        """
        sasl = self.mechanism != "none"
        said = {
            "bootstrap.servers": looked_up(self.bootstrap_servers),
            "security.protocol": ("SASL_" if sasl else "") + ("SSL" if self.tls else "PLAINTEXT" if sasl else ""),
            "sasl.mechanism": self.mechanism if sasl else "",
            "ssl.ca.location": looked_up(self.ca_file),
            "ssl.certificate.location": looked_up(self.certificate_file),
            "ssl.key.location": looked_up(self.key_file),
            "ssl.key.password": secrets.resolve(self.key_password) if self.key_password else "",
        }
        said["security.protocol"] = said["security.protocol"] or "PLAINTEXT"
        return {name: value for name, value in said.items() if value} | self._login()

    def _login(self) -> dict[str, Any]:
        if self.mechanism in _BY_PASSWORD:
            return {"sasl.username": looked_up(self.username), "sasl.password": secrets.resolve(self.password)}
        if self.mechanism != "OAUTHBEARER":
            return {}
        if self.token:
            secrets.resolve(self.token)  # here its failure can be told; what the client calls, it is not heard from
            return {"oauth_cb": lambda _: (secrets.resolve(self.token), time.time() + _TOKEN_HOLDS)}
        said = {
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.token.endpoint.url": looked_up(self.token_url),
            "sasl.oauthbearer.client.id": looked_up(self.client_id),
            "sasl.oauthbearer.client.secret": secrets.resolve(self.client_secret),
            "sasl.oauthbearer.scope": looked_up(self.scope),
        }
        return {name: value for name, value in said.items() if value}


def _wrong_servers(given: Mapping[str, Any]) -> list[Problem]:
    servers = given["bootstrap_servers"]
    if servers is None or not is_plain(servers):
        return []
    if "://" in servers or "@" in servers or not all(_is_server(one.strip()) for one in servers.split(",")):
        words = "It is no list of servers. Valid: `host:port`, or several with commas between."
        return [Problem("bootstrap_servers", words)]
    return []


def _is_server(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    return bool(host and colon and port.isdigit() and 0 < int(port) < 65536 and not set(host) & set(" /\t\n"))


def _wrong_login(given: Mapping[str, Any]) -> list[Problem]:
    mechanism = given["mechanism"]
    by_password = texts(given, ("username", "password"))
    by_token = texts(given, ("token", *_CLIENT, "scope"))
    if mechanism in _BY_PASSWORD:
        lacks = [name for name in ("username", "password") if not given[name]]
        found = [Problem(name, f"The mechanism `{mechanism}` needs it.") for name in lacks]
        return found + [Problem(name, f"The mechanism `{mechanism}` does not take it.") for name in by_token]
    if mechanism != "OAUTHBEARER":
        words = "It belongs to a login. Set `mechanism` to the one that the cluster asks for."
        return [Problem(name, words) for name in by_password + by_token]
    found = [Problem(name, "The mechanism `OAUTHBEARER` does not take it.") for name in by_password]
    if given["token"]:
        words = "`token` is given as well. Take one of the two away."
        return found + [Problem(name, words) for name in by_token if name != "token"]
    lacks = [name for name in _CLIENT if not given[name]]
    words = "The mechanism `OAUTHBEARER` needs `token`, or all of `token_url`, `client_id` and `client_secret`."
    return found + [Problem(name, words) for name in lacks]


def _wrong_tls(given: Mapping[str, Any]) -> list[Problem]:
    found = []
    if not given["tls"]:
        words = "It is for TLS. Take it away, or set `tls`."
        found += [Problem(name, words) for name in texts(given, ("ca_file", "certificate_file", "key_file"))]
    if given["certificate_file"] and not given["key_file"]:
        found.append(Problem("key_file", "`certificate_file` is given without it."))
    if given["key_file"] and not given["certificate_file"]:
        found.append(Problem("certificate_file", "`key_file` is given without it."))
    return found
