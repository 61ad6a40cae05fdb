"""Kafka for tests: one broker, which is its own controller, as a child process on free ports."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from fuse_dagster_tests.house.source import ROOT

JARS = ROOT / ".venv" / "kafka" / "jars"
USER, PASSWORD = "reader", "reader's; secret=1"
"""May read the topics that begin with `open`, and see those."""
CONNECTION_STRING = "Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=lake;SharedAccessKey=canary+/="
"""What Event Hubs takes for a password, of a user who is called `$ConnectionString`."""
OPEN = "open"

_OF_JAVA = (
    "-Xms128m",
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Dlog4j2.level=WARN",
)
_LISTENERS = {"PLAINTEXT": "PLAINTEXT", "SASL": "SASL_PLAINTEXT", "TLS": "SASL_SSL", "LINE": "PLAINTEXT"}
_PATIENCE = 120


@dataclass(frozen=True)
class KafkaServer:
    """A running broker.

    Attributes:
        ports: Name of a listener -> its port on 127.0.0.1: `PLAINTEXT`, where everybody may do everything; `SASL` and
            `TLS`, where a login is needed; `LINE`, whose clients are sent on to `line`.
        line: A port before `LINE`, for what a test puts between.
        tls: The certificate that `TLS` shows.
    """

    ports: Mapping[str, int]
    line: int
    tls: Path

    @property
    def plain(self) -> str:
        """Address of the listener without a login."""
        return self.at("PLAINTEXT")

    def at(self, listener: str) -> str:
        """Address of a listener."""
        return f"127.0.0.1:{self.ports[listener]}"

    def admin(self) -> AdminClient:
        """A client that may do everything."""
        return AdminClient({"bootstrap.servers": self.plain})

    def topic(self, name: str | None = None, *, partitions: int = 1, **config: str) -> str:
        """Make a topic, by default under a new name; its settings with `_` for each dot."""
        name = name or f"{OPEN}-{uuid.uuid4().hex[:12]}"
        made = NewTopic(name, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()})
        admin = self.admin()
        admin.create_topics([made])[name].result(30)
        _until(lambda: len(admin.list_topics(name, timeout=10).topics[name].partitions) == partitions)
        return name

    def delete(self, name: str) -> None:
        """Delete a topic, and wait until it is gone."""
        admin = self.admin()
        admin.delete_topics([name])[name].result(30)
        _until(lambda: name not in admin.list_topics(timeout=10).topics)

    def truncate(self, name: str, partition: int, before: int) -> None:
        """Forget the messages before an offset, as retention does."""
        place = TopicPartition(name, partition, before)
        admin = self.admin()
        admin.delete_records([place])[place].result(30)

    def send(self, topic: str, messages: Iterable[Any], **settings: Any) -> None:
        """Write messages: each bytes, or the arguments of a producer's `produce`."""
        producer = Producer({"bootstrap.servers": self.plain, "linger.ms": 1} | settings)
        for message in messages:
            producer.produce(topic, **(message if isinstance(message, dict) else {"value": message}))
        assert producer.flush(30) == 0


def token(user: str = USER, seconds: float = 600) -> tuple[str, float]:
    """A token without a signature, which the broker takes, and when it runs out."""
    now = time.time()
    claims = {"sub": user, "iat": now, "exp": now + seconds}
    parts = ({"alg": "none"}, claims)
    coded = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return f"{'.'.join(coded)}.", now + seconds


def missing() -> str:
    """Why the broker can't start here; empty where it can."""
    if not list(JARS.glob("kafka_2.13-*.jar")):
        return "Kafka is not here: run .ci/kafka"
    return "" if shutil.which("java") else "Kafka needs Java, and there is no `java` here"


@contextlib.contextmanager
def kafka_server(folder: Path, tls: Path) -> Iterator[KafkaServer]:
    """Start the broker, and end it afterwards.

    Args:
        folder: Where it keeps its log and its data.
        tls: A certificate with its key.
    """
    folder.mkdir(parents=True)
    *ports, line, controller = _free(len(_LISTENERS) + 2)
    server = KafkaServer(dict(zip(_LISTENERS, ports, strict=True)), line, tls)
    settings = folder / "server.properties"
    settings.write_text(_settings(server, controller, folder / "data"), encoding="utf-8")
    java = ["java", *_OF_JAVA, "-cp", f"{JARS}/*"]
    with (folder / "log.txt").open("wb") as log:
        told: dict[str, Any] = {"stdout": log, "stderr": subprocess.STDOUT, "cwd": folder}
        named = ["--cluster-id", base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()]
        user = [f'SCRAM-SHA-{bits}=[name={USER},password="{PASSWORD}"]' for bits in (256, 512)]
        users = [word for one in user for word in ("--add-scram", one)]
        form = [*java, "kafka.tools.StorageTool", "format", "--config", str(settings), *named, *users, "--standalone"]
        assert subprocess.run(form, check=False, **told).returncode == 0, _last(folder)
        process = subprocess.Popen([*java, "kafka.Kafka", str(settings)], **told)
    try:
        _wait(process, server, folder)
        _allow(server)
        yield server
    finally:
        process.kill()
        process.wait()


def _settings(server: KafkaServer, controller: int, data: Path) -> str:
    """The broker's settings: one of everything, and nothing made without being asked for."""
    names = list(_LISTENERS)
    advertised = {**server.ports, "LINE": server.line}
    quoted = PASSWORD.replace('"', '\\"')
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    lines = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.listener.names": "CONTROLLER",
        "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in server.ports.items())
        + f",CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": ",".join(f"{name}://127.0.0.1:{advertised[name]}" for name in names),
        "listener.security.protocol.map": ",".join(f"{name}:{kind}" for name, kind in _LISTENERS.items())
        + ",CONTROLLER:PLAINTEXT",
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": data,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        "log.cleaner.dedupe.buffer.size": 4_194_304,
        "log.cleaner.backoff.ms": 200,
        "num.network.threads": 1,
        "num.io.threads": 2,
        "background.threads": 1,
    }
    for name in ("sasl", "tls"):
        at = f"listener.name.{name}"
        lines[f"{at}.sasl.enabled.mechanisms"] = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"
        lines[f"{at}.plain.sasl.jaas.config"] = (
            f'{plain} user_{USER}="{quoted}" user_$ConnectionString="{CONNECTION_STRING}";'
        )
        for bits in (256, 512):
            module = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            lines[f"{at}.scram-sha-{bits}.sasl.jaas.config"] = module
        module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
        lines[f"{at}.oauthbearer.sasl.jaas.config"] = module
    lines["listener.name.tls.ssl.keystore.type"] = "PEM"
    lines["listener.name.tls.ssl.keystore.location"] = server.tls
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def _allow(server: KafkaServer) -> None:
    """Let the user read what is open, and nothing else."""
    rights = [(ResourceType.TOPIC, OPEN, ResourcePatternType.PREFIXED, AclOperation.READ)]
    rights += [(ResourceType.GROUP, "*", ResourcePatternType.LITERAL, AclOperation.READ)]
    bindings = [
        AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
        for kind, name, pattern, operation in rights
        for user in (USER, "$ConnectionString")
    ]
    admin = server.admin()  # what it began ends with it
    for done in admin.create_acls(bindings).values():
        done.result(30)


def _wait(process: subprocess.Popen[bytes], server: KafkaServer, folder: Path) -> None:
    patience = time.monotonic() + _PATIENCE
    while True:
        try:
            with socket.create_connection(("127.0.0.1", server.ports["PLAINTEXT"]), timeout=1):
                pass
            if server.admin().list_topics(timeout=2).brokers:
                return
        except (OSError, KafkaException):
            pass
        lost = process.poll() is not None or time.monotonic() > patience
        assert not lost, _last(folder)
        time.sleep(0.2)


def _until(done: Any) -> None:
    patience = time.monotonic() + 30
    while not done():
        assert time.monotonic() < patience
        time.sleep(0.02)


def _free(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        found = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in found:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in found]


def _last(folder: Path) -> str:
    return (folder / "log.txt").read_text(errors="replace")[-3000:]
