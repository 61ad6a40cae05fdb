from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fuse_dagster import Kafka
from fuse_dagster.app.profiles import tried
from fuse_dagster.connectors.base import CanAnswer, CanListNames, CanReadRows
from fuse_dagster.connectors.streams import failures
from fuse_dagster.core.errors import (
    ConfigError,
    CredentialsError,
    FuseError,
    InputError,
    NotThereError,
    StoreError,
    StoreUnavailableError,
)
from fuse_dagster.secrets import resolve
from fuse_dagster.testing.connectors import ConnectorContract
from fuse_dagster_tests.servers.kafka import PASSWORD, USER, KafkaServer, token
from fuse_dagster_tests.servers.line import line

WRONG = "wrong-canary"
OURS = re.compile("librdkafka: .*fuse_dagster#consumer")
"""A line of the log that librdkafka writes under the name of our client."""


@pytest.fixture
def connector(kafka: KafkaServer) -> Kafka:
    return Kafka(bootstrap_servers=kafka.plain, tls=False, timeout=20)


@pytest.fixture
def login(kafka: KafkaServer) -> Callable[..., Kafka]:
    """Makes connectors that log in with SCRAM, with some fields changed."""
    fields: dict[str, Any] = {
        "bootstrap_servers": kafka.at("SASL"),
        "tls": False,
        "mechanism": "SCRAM-SHA-512",
        "username": USER,
        "password": PASSWORD,
        "timeout": 20,
    }
    return lambda **changed: Kafka(**fields | changed)


def table(connector: Kafka, topic: str, **how: Any) -> pa.Table:
    with connector.rows(topic, **how) as rows:
        return rows.read_all()


class TestKafka(ConnectorContract):
    pass


def test_it_can_answer_list_topics_and_read_them(connector: Kafka, kafka: KafkaServer) -> None:
    assert isinstance(connector, CanAnswer)
    assert isinstance(connector, CanListNames)
    assert isinstance(connector, CanReadRows)
    name = kafka.topic("open-names.a")
    assert connector.answer().startswith("Kafka, 1 broker, ")
    assert list(connector.names("open-names.*")) == [name]
    assert list(connector.names("no*")) == []
    assert [step.error for step in tried(connector)] == [None]


def test_messages_are_rows_with_all_that_they_carry(connector: Kafka, kafka: KafkaServer) -> None:
    name = kafka.topic(partitions=2)
    headers = [("kind", b"a"), ("kind", b"\xff"), ("none", None)]
    sent = [
        {"key": b"k", "value": b"\x00\xff", "headers": headers, "partition": 1, "timestamp": 1_700_000_000_123},
        {"key": None, "value": None, "partition": 0, "timestamp": 1_700_000_000_124},
    ]
    kafka.send(name, sent)
    rows = table(connector, name).sort_by("partition").to_pylist()
    assert [str(row.pop("timestamp")) for row in rows] == [
        "2023-11-14 22:13:20.124000+00:00",
        "2023-11-14 22:13:20.123000+00:00",
    ]
    written = [{"name": name, "value": value} for name, value in headers]
    assert rows == [
        {"key": None, "value": None, "headers": None, "partition": 0, "offset": 0},
        {"key": b"k", "value": b"\x00\xff", "headers": written, "partition": 1, "offset": 0},
    ]
    assert table(connector, name, columns=["offset", "key"]).column_names == ["offset", "key"]
    with pytest.raises(InputError, match=r"no column `offsett`. Did you mean `offset`"):
        table(connector, name, columns=["offsett"])


def test_a_limit_takes_the_newest_or_the_earliest(connector: Kafka, kafka: KafkaServer) -> None:
    name = kafka.topic(partitions=3)
    kafka.send(name, [{"value": b"%d" % n, "partition": n % 3, "timestamp": 1000 + n} for n in range(30)])
    assert [int(value.as_py()) for value in table(connector, name, limit=4)["value"]] == [26, 27, 28, 29]
    earliest = Kafka(bootstrap_servers=kafka.plain, tls=False, limited_to="earliest")
    found = [int(value.as_py()) for value in table(earliest, name, limit=4)["value"]]
    assert len(found) == 4
    assert table(connector, name, limit=0).num_rows == 0
    assert table(connector, name, limit=100).num_rows == table(connector, name).num_rows == 30


def test_the_newest_are_found_behind_gaps(connector: Kafka, kafka: KafkaServer) -> None:
    name = kafka.topic()
    kafka.send(name, [b"1", b"2"])
    transaction(kafka, name, [b"aborted"] * 20, commit=False)
    assert table(connector, name, limit=2)["value"].to_pylist() == [b"1", b"2"]


def test_an_empty_topic_has_no_rows(connector: Kafka, kafka: KafkaServer) -> None:
    assert table(connector, kafka.topic(partitions=2)).num_rows == 0


def test_what_no_transaction_committed_is_not_read(connector: Kafka, kafka: KafkaServer) -> None:
    name = kafka.topic()
    kafka.send(name, [b"plain"])
    transaction(kafka, name, [b"aborted"], commit=False)
    transaction(kafka, name, [b"committed"], commit=True)
    with open_transaction(kafka, name, [b"open"]):
        kafka.send(name, [b"behind"])
        assert table(connector, name)["value"].to_pylist() == [b"plain", b"committed"]
    assert table(connector, name)["value"].to_pylist() == [b"plain", b"committed", b"behind"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_it_logs_in_by_password(login: Callable[..., Kafka], kafka: KafkaServer, mechanism: str) -> None:
    name = kafka.topic()
    kafka.send(name, [b"1"])
    assert table(login(mechanism=mechanism), name).num_rows == 1


def test_it_talks_tls(login: Callable[..., Kafka], kafka: KafkaServer) -> None:
    name = kafka.topic()
    kafka.send(name, [b"1"])
    tls = {"bootstrap_servers": kafka.at("TLS"), "tls": True}
    assert table(login(**tls, ca_file=str(kafka.tls)), name).num_rows == 1
    with pytest.raises(StoreError, match=r"does not trust the certificate of the other. Check the host"):
        login(**tls).answer()
    with pytest.raises(StoreError, match=r"with these settings. Check"):
        login(**tls, ca_file="/no/such/file").answer()


def test_it_takes_a_token_by_reference(
    login: Callable[..., Kafka], kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = kafka.topic()
    monkeypatch.setenv("KAFKA_TOKEN", token()[0])
    by_token = login(mechanism="OAUTHBEARER", username="", password="", token="env://KAFKA_TOKEN")
    assert table(by_token, name).num_rows == 0
    monkeypatch.setenv("KAFKA_TOKEN", token(seconds=-10)[0])
    with pytest.raises(CredentialsError, match=r"refuses this login. Check `mechanism`"):
        by_token.answer()


def test_it_fetches_tokens_for_a_client(login: Callable[..., Kafka], kafka: KafkaServer) -> None:
    with token_server() as url:
        fields = {"mechanism": "OAUTHBEARER", "username": "", "password": "", "token_url": url, "client_id": "me"}
        assert table(login(**fields, client_secret="swordfish"), kafka.topic()).num_rows == 0
        refused(login(**fields, client_secret=WRONG), CredentialsError, "refuses this login")


def test_a_wrong_password_is_told_at_once(login: Callable[..., Kafka]) -> None:
    for mechanism in ("PLAIN", "SCRAM-SHA-512"):
        began = time.monotonic()
        refused(login(mechanism=mechanism, password=WRONG), CredentialsError, "refuses this login. Check `mechanism`")
        assert time.monotonic() - began < 10, "it does not wait for all of its time"


def test_a_password_that_was_changed_is_looked_up_anew(login: Callable[..., Kafka], tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text(WRONG)
    by_file = login(password=f"file://{secret}?ttl=600")
    refused(by_file, CredentialsError, "refuses this login")
    assert resolve(by_file.password) == WRONG, "it is kept for a while"
    secret.write_text(PASSWORD)
    assert by_file.answer()


def test_an_unset_secret_is_told(login: Callable[..., Kafka]) -> None:
    with pytest.raises(FuseError, match="KAFKA_NOT_SET"):
        login(password="env://KAFKA_NOT_SET").answer()


@pytest.mark.parametrize("servers", ["127.0.0.1:1", "no-such-host.invalid:9092"])
def test_a_host_that_is_not_there_is_told_in_time(servers: str) -> None:
    began = time.monotonic()
    refused(Kafka(bootstrap_servers=servers, tls=False, timeout=1.5), StoreUnavailableError, "can't be reached. Check")
    assert time.monotonic() - began < 6


def test_a_wrong_choice_of_tls_is_told(kafka: KafkaServer) -> None:
    mixed = Kafka(bootstrap_servers=kafka.plain, timeout=2)
    with pytest.raises(StoreError, match="Check `tls`"):
        mixed.answer()
    with pytest.raises(FuseError, match="Check"):
        Kafka(bootstrap_servers=kafka.at("TLS"), tls=False, timeout=2).answer()


def test_a_server_that_says_nothing_is_told_in_time() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        lost = Kafka(bootstrap_servers=f"127.0.0.1:{silent.getsockname()[1]}", tls=False, timeout=1.5)
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="does not answer in time"):
            lost.answer()
        assert time.monotonic() - began < 6


@pytest.mark.parametrize("name", ["open-nosuch", "no such; topic", "", "^open.*", "a\x00b", "ü", "..", "a" * 300])
def test_no_such_topic_is_told(connector: Kafka, name: str) -> None:
    with pytest.raises(NotThereError, match="There is no topic"):
        table(connector, name)


def test_a_topic_that_is_forbidden_is_told(login: Callable[..., Kafka], kafka: KafkaServer) -> None:
    name = kafka.topic(f"closed-{time.monotonic_ns()}")
    with pytest.raises(CredentialsError, match=r"does not let this login do that .*`DESCRIBE` and `READ`"):
        table(login(), name)
    assert name not in list(login().names())


def test_a_broker_that_goes_away_while_it_is_read_is_told(kafka: KafkaServer) -> None:
    name = kafka.topic()
    kafka.send(name, [b"x"])
    with line(kafka.line, kafka.ports["LINE"]) as between:
        one = Kafka(bootstrap_servers=f"127.0.0.1:{kafka.line}", tls=False, timeout=2)
        with one.rows(name) as rows:  # which has asked for the offsets
            between.cut()
            with pytest.raises(StoreUnavailableError, match=r"can't be reached|does not answer"):
                rows.read_all()


def test_a_line_that_breaks_for_a_moment_costs_nothing(kafka: KafkaServer) -> None:
    name = kafka.topic()
    kafka.send(name, [b"%d" % n + b"x" * 2000 for n in range(3000)])
    with line(kafka.line, kafka.ports["LINE"]) as between:
        one = Kafka(bootstrap_servers=f"127.0.0.1:{kafka.line}", tls=False, timeout=20)
        with one.rows(name, columns=["offset"]) as rows:
            found = rows.read_next_batch().column(0).to_pylist()
            between.cut()
            between.mend()
            found += rows.read_all().column(0).to_pylist()
    assert found == list(range(3000))


def test_the_clients_log_goes_to_ours_and_holds_no_secret(
    login: Callable[..., Kafka], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    # Whatever tests before have done to the levels of loggers above it.
    with caplog.at_level(logging.DEBUG, logger=failures.__name__):
        for _ in range(5):  # what it says comes when it is asked for, which may be after the refusal
            with pytest.raises(CredentialsError):
                login(password=WRONG).answer()
            if OURS.search(caplog.text):
                break
    out, err = capfd.readouterr()
    assert OURS.search(caplog.text)
    assert not {WRONG, PASSWORD} & {word for word in (WRONG, PASSWORD) if word in caplog.text + out + err}
    # The broker's own clients, which tests send by, do talk there, when they like.
    assert "fuse_dagster#" not in out + err, "it does not talk past the log"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bootstrap_servers": "kafka://a:1"}, "no list of servers"),
        ({"bootstrap_servers": "a"}, "no list of servers"),
        ({"bootstrap_servers": "a:1,b:99999"}, "no list of servers"),
        ({"bootstrap_servers": "user:pass@a:1"}, "no list of servers"),
        ({"timeout": 0}, "no time to wait"),
        ({"mechanism": "PLAIN"}, r"`\$.username`: The mechanism `PLAIN` needs it. `\$.password`"),
        ({"username": "me"}, "belongs to a login"),
        ({"mechanism": "OAUTHBEARER"}, "needs `token`, or all of"),
        ({"mechanism": "OAUTHBEARER", "token": "a", "client_id": "b"}, "`token` is given as well"),
        ({"tls": False, "ca_file": "a"}, "It is for TLS"),
        ({"certificate_file": "a"}, "is given without it"),
        ({"schema_registry": "registry"}, "It is no URL"),
        ({"registry_username": "a"}, "Give both, or none"),
        ({"mechanism": "GSSAPI"}, "none of the values"),
        ({"limited_to": "latest"}, "none of the values"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Kafka(**{"bootstrap_servers": "a:1"} | fields)


def refused(connector: Kafka, kind: type[FuseError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        connector.answer()
    assert not [secret for secret in (WRONG, PASSWORD) if secret in str(caught.value)]
    assert caught.value.__cause__ is None


def transaction(kafka: KafkaServer, topic: str, messages: list[bytes], *, commit: bool) -> None:
    with open_transaction(kafka, topic, messages, commit=commit):
        pass


class open_transaction:  # noqa: N801 - it is used as a function
    def __init__(self, kafka: KafkaServer, topic: str, messages: list[bytes], *, commit: bool = False) -> None:
        from confluent_kafka import Producer

        self._commit = commit
        settings = {"bootstrap.servers": kafka.plain, "transactional.id": f"{topic}-{time.monotonic_ns()}"}
        self._producer = Producer(settings)
        self._producer.init_transactions(30)
        self._producer.begin_transaction()
        for message in messages:
            self._producer.produce(topic, message)
        self._producer.flush(30)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        end = self._producer.commit_transaction if self._commit else self._producer.abort_transaction
        end(30)


class token_server:  # noqa: N801 - it is used as a function
    """Hands out tokens for a client whose secret is `swordfish`, by the client credentials flow of OAuth 2."""

    def __enter__(self) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                from base64 import b64decode

                self.rfile.read(int(self.headers["content-length"]))
                knows = b64decode(self.headers["authorization"].split()[1]) == b"me:swordfish"
                said = {"access_token": token()[0], "expires_in": 600} if knows else {"error": "invalid_client"}
                body = json.dumps(said).encode()
                self.send_response(200 if knows else 401)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_port}/token"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
