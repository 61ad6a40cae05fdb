"""Tells people about failed runs, if someone says where: off until it is switched on in the UI."""

import json
import os
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import dagster as dg

from fuse_dagster.core.errors import ConfigError

WEBHOOK = "FUSE_ALERT_WEBHOOK"
"""Environment variable with the address to post to. It is a secret: whoever knows it can post."""

TIMEOUT_SECONDS = 10.0


@dg.run_failure_sensor(
    name="alert_on_failure",
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=f"Posts a message about every failed run to the webhook that `{WEBHOOK}` holds, or logs it.",
)
def alert_on_failure(context: dg.RunFailureSensorContext) -> None:
    """Say which run failed, and why."""
    run = context.dagster_run
    text = f"Run {run.run_id[:8]} of job {run.job_name} failed: {context.failure_event.message}"
    webhook = os.environ.get(WEBHOOK)
    if webhook is None:
        context.log.warning("%s (`%s` is not set, so nobody was told)", text, WEBHOOK)
        return
    post(text, webhook)
    context.log.info("Told %s: %s", urlsplit(webhook).hostname, text)


def post(text: str, webhook: str) -> None:
    """Post a message as `{"text": ...}`, which Slack, Mattermost and many others take.

    Args:
        text: The message.
        webhook: An http or https address. Only its host name ever appears in logs and errors.

    Raises:
        ConfigError: The address is of another scheme.
        ConnectionError: The host did not accept the message within ten seconds; the sensor will show it.
    """
    address = urlsplit(webhook)
    if address.scheme not in ("http", "https"):
        raise ConfigError(f"`{WEBHOOK}` must hold an address that starts with `http://` or `https://`")
    request = Request(webhook, json.dumps({"text": text}).encode(), {"Content-Type": "application/json"})  # noqa: S310
    try:
        with urlopen(request, timeout=TIMEOUT_SECONDS):  # noqa: S310
            return
    except HTTPError as error:
        error.close()
        reason: object = f"it answered {error.code} {error.reason}"
    except (HTTPException, UnicodeError) as error:
        # Their texts may hold the address: `InvalidURL` shows its path.
        reason = type(error).__name__
    except OSError as error:
        reason = getattr(error, "reason", error)
    # Raised outside the handler: the cause would carry the address, and with it the secret.
    raise ConnectionError(f"the alert webhook at `{address.hostname}` did not take the message: {reason}")
