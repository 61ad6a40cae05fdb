"""The alert about a failed run reaches a real webhook, and its address reaches nobody else."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.definitions.demo.alerts import WEBHOOK, alert_on_failure, post

if TYPE_CHECKING:
    from collections.abc import Iterator


class Webhook(BaseHTTPRequestHandler):
    """Takes messages; answers 500 below `/broken`, and nothing below `/silent`."""

    received: list[str] = []  # noqa: RUF012 - one server per test

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/silent"):
            self.close_connection = True
            return
        self.received.append(json.loads(body)["text"])
        self.send_response(500 if self.path.startswith("/broken") else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing on the terminal of whoever runs the tests."""


@pytest.fixture
def webhook() -> Iterator[str]:
    Webhook.received = []
    with HTTPServer(("127.0.0.1", 0), Webhook) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@dg.op
def cannot_work() -> None:
    raise ValueError("`airports.csv` is empty")


@dg.job
def failing() -> None:
    cannot_work()


@pytest.fixture
def failed() -> Iterator[dg.RunFailureSensorContext]:
    with dg.DagsterInstance.ephemeral() as instance:
        result = failing.execute_in_process(instance=instance, raise_on_error=False)
        yield dg.build_run_status_sensor_context(
            sensor_name="alert_on_failure",
            dagster_event=result.get_run_failure_event(),
            dagster_instance=instance,
            dagster_run=result.dagster_run,
        ).for_run_failure()


def test_a_failed_run_is_told_to_the_webhook(
    failed: dg.RunFailureSensorContext, webhook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WEBHOOK, f"{webhook}/hooks/s3cret")
    alert_on_failure(failed)
    (message,) = Webhook.received
    assert failed.dagster_run.run_id[:8] in message
    assert "failing" in message


def test_without_a_webhook_nothing_is_sent(
    failed: dg.RunFailureSensorContext, webhook: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(WEBHOOK, raising=False)
    alert_on_failure(failed)
    assert Webhook.received == []
    assert webhook


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("{webhook}/broken/s3cret", "it answered 500"),
        ("{webhook}/silent/s3cret", "RemoteDisconnected"),
        ("http://127.0.0.1:1/s3cret", "refused"),
        ("{webhook}/a path/s3cret", "InvalidURL"),
        ("http://127.0.0.1:s3cret/hooks", "InvalidURL"),
        ("{webhook}/\u00e9/s3cret", "UnicodeEncodeError"),
    ],
)
def test_a_webhook_that_fails_is_an_error_without_its_address(address: str, reason: str, webhook: str) -> None:
    with pytest.raises(ConnectionError, match=rf"127\.0\.0\.1.*{reason}") as error:
        post("text", address.format(webhook=webhook))
    assert "s3cret" not in str(error.value)
    assert error.value.__context__ is None


def test_only_web_addresses_are_taken() -> None:
    with pytest.raises(ConfigError, match="http"):
        post("text", "file:///etc/passwd")


def test_alerts_are_off_until_switched_on() -> None:
    assert alert_on_failure.default_status is dg.DefaultSensorStatus.STOPPED
