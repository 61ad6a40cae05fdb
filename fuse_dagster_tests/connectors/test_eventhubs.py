"""Event Hubs can't run here: its login and its protocol are tried on Kafka, which takes the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fuse_dagster import EventHubs
from fuse_dagster.core.errors import ConfigError, CredentialsError, StoreError, StoreUnavailableError
from fuse_dagster.ingest.topics import TopicMessages
from fuse_dagster.testing.connectors import ConnectorContract
from fuse_dagster_tests.servers.entra import CLIENT, SECRET, TENANT, Entra, entra_server
from fuse_dagster_tests.servers.kafka import CONNECTION_STRING, USER, KafkaServer

PRINCIPAL = {"tenant_id": TENANT, "client_id": CLIENT, "client_secret": SECRET}


@pytest.fixture
def hubs(kafka: KafkaServer) -> Callable[..., EventHubs]:
    """Makes connectors to a namespace that the broker stands for."""
    fields: dict[str, Any] = {
        "namespace": "contoso",
        "endpoint": kafka.at("TLS"),
        "ca_file": str(kafka.tls),
        "timeout": 20,
    }
    return lambda **login: EventHubs(**fields | login)


@pytest.fixture
def connector(hubs: Callable[..., EventHubs]) -> EventHubs:
    return hubs(connection_string=CONNECTION_STRING)


@pytest.fixture
def fake(kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Entra]:
    for name in os.environ:
        if name.startswith(("AZURE_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(kafka.tls))
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path / "none"))
    with entra_server(kafka.tls) as started:
        started.audience, started.subject = "https://contoso.servicebus.windows.net", USER
        yield started


class TestEventHubs(ConnectorContract):
    pass


def test_it_reads_with_a_connection_string(connector: EventHubs, kafka: KafkaServer) -> None:
    topic = kafka.topic()
    kafka.send(topic, [b'{"n": 1}'])
    with connector.rows(topic) as rows:
        assert rows.read_all()["value"].to_pylist() == [b'{"n": 1}']
    with TopicMessages(broker=connector, topic=topic, value="json").read(None) as reading:
        assert reading.batches().read_all()["n"].to_pylist() == [1]
    assert topic in list(connector.names("open*"))


def test_it_reads_with_a_token_of_entra(hubs: Callable[..., EventHubs], fake: Entra, kafka: KafkaServer) -> None:
    topic = kafka.topic()
    kafka.send(topic, [b"1"])
    with hubs(**PRINCIPAL, authority=fake.address).rows(topic) as rows:
        assert rows.read_all().num_rows == 1
    assert fake.asked


def test_refusals_are_told_without_a_secret(hubs: Callable[..., EventHubs], fake: Entra) -> None:
    wrong = [
        hubs(connection_string=CONNECTION_STRING.replace("canary", "other-canary")),
        hubs(**PRINCIPAL | {"client_secret": "wrong-canary"}, authority=fake.address),
    ]
    for one in wrong:
        with pytest.raises(CredentialsError, match=r"eventhubs://contoso\.servicebus\.windows\.net.*Check `conn") as e:
            one.answer()
        assert "canary" not in f"{e.value!r}"
        assert e.value.__cause__ is None


def test_a_namespace_that_is_not_there_is_told() -> None:
    lost = EventHubs(namespace="contoso", domain="invalid", connection_string="x", timeout=1.5)
    with pytest.raises(StoreUnavailableError, match=r"can't be reached\. Check `namespace`"):
        lost.answer()


def test_the_address_of_other_clouds_is_theirs() -> None:
    there = EventHubs(namespace="contoso", domain="servicebus.chinacloudapi.cn", connection_string="x")
    assert there.settings()["bootstrap.servers"] == "contoso.servicebus.chinacloudapi.cn:9093"
    assert there.settings()["security.protocol"] == "SASL_SSL"


def test_a_certificate_of_somebody_else_is_refused(hubs: Callable[..., EventHubs]) -> None:
    with pytest.raises(StoreError, match="does not trust the certificate"):
        hubs(connection_string=CONNECTION_STRING, ca_file="").answer()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"namespace": "contoso.servicebus.windows.net"}, "It needs a name"),
        ({"namespace": ""}, "It needs a name"),
        ({"namespace": "sb://contoso"}, "It needs a name"),
        ({"connection_string": "a", **PRINCIPAL}, "`connection_string` is given as well"),
        ({"connection_string": "a", "login": "cli"}, "given as well"),
        ({"tenant_id": "a"}, "Give all of"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EventHubs(**{"namespace": "contoso"} | fields)
