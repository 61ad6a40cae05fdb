"""What time it is where a store runs: signatures and tokens are judged by its clock, not by ours."""

from __future__ import annotations

import urllib.error
import urllib.request
from datetime import UTC, datetime
from email.message import Message
from email.utils import parsedate_to_datetime

from fuse_dagster.core.errors import StoreUnavailableError


def time_of(address: str, *, timeout: float, check: str) -> datetime | None:
    """Ask a server for the `Date` of its answer, whatever it answers; nothing is sent but the question.

    Args:
        address: An `http://` or `https://` URL; "" for none.
        timeout: Seconds to wait.
        check: What to look at where it can't be reached.

    Returns:
        UTC to the second; None where there is no address, or the server doesn't say.

    Raises:
        StoreUnavailableError: It can't be reached.
    """
    if not address.startswith(("http://", "https://")):
        return None
    question = urllib.request.Request(address, method="HEAD")  # noqa: S310 - http or https, as seen above
    try:
        with urllib.request.urlopen(question, timeout=timeout) as answer:  # noqa: S310
            return _date(answer.headers)
    except urllib.error.HTTPError as refusal:  # it has a clock, too
        with refusal:
            return _date(refusal.headers)
    except OSError as error:
        reason = getattr(error, "reason", error)
        said = getattr(reason, "strerror", None) or type(reason).__name__
        msg = f"`{address}` can't be reached ({said}). {check}".rstrip()
        raise StoreUnavailableError(msg) from None


def _date(headers: Message) -> datetime | None:
    said = headers.get("Date")
    try:
        return parsedate_to_datetime(said).astimezone(UTC) if said else None
    except ValueError:
        return None
