"""What a vector database, or the way to it, refuses: in our words, with the fields of the connector."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fuse_dagster import secrets
from fuse_dagster.core.errors import (
    ConflictError,
    FuseError,
    InputError,
    NotThereError,
    StoreError,
    StoreUnavailableError,
)
from fuse_dagster.core.store_failures import FAULTS

AGAIN = frozenset({"busy", "cut", "host", "time"})
"""Kinds of failure that may be gone when one asks again."""
_SAID = 300

_BY_STATUS = {
    401: "credentials", 403: "credentials", 404: "absent", 408: "time", 409: "taken", 413: "large", 429: "busy",
    502: "busy", 503: "busy", 504: "busy", 400: "refused", 422: "refused",
}  # fmt: skip
_BY_CODE = {
    "UNAUTHENTICATED": "credentials", "PERMISSION_DENIED": "credentials", "NOT_FOUND": "absent",
    "DEADLINE_EXCEEDED": "time", "ALREADY_EXISTS": "taken", "RESOURCE_EXHAUSTED": "busy", "UNAVAILABLE": "host",
    "INVALID_ARGUMENT": "refused",
}  # fmt: skip


def kind_of(error: BaseException, *, local: bool) -> str:
    """The kind of a failure: a key of `FAULTS`, or `absent`, `taken`, `large`, `locked`, `refused`, `foreign`, "".

    Args:
        error: What the client raised.
        local: Whether it works in a folder or in memory, without a server.
    """
    if local:
        return _local_kind(error)
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return _BY_STATUS.get(status, "busy" if status >= 500 else "foreign")
    if type(error).__name__ == "ResourceExhaustedResponse":
        return "busy"
    code = getattr(error, "code", None)
    if callable(code):
        return _BY_CODE.get(getattr(code(), "name", ""), "")
    source = getattr(error, "source", error)
    return _transport_kind(source)


def _local_kind(error: BaseException) -> str:
    said = str(error)
    if "already accessed by another instance" in said:
        return "locked"
    if isinstance(error, ValueError) and said.endswith("not found"):
        return "absent"
    if isinstance(error, ValueError) and said.endswith("already exists"):
        return "taken"
    return "refused" if isinstance(error, ValueError | KeyError | TypeError) else ""


def _transport_kind(source: BaseException) -> str:
    import httpx

    if isinstance(source, httpx.TimeoutException):
        return "time"
    said = str(source).lower()
    if "certificate" in said or "wrong_version_number" in said or "wrong version number" in said:
        return "certificate" if "certificate" in said else "scheme"
    if isinstance(source, httpx.ConnectError):
        return "host"
    if isinstance(source, httpx.TransportError):
        return "cut"
    return "foreign" if isinstance(source, ValueError) else ""


def retry_after(error: BaseException) -> float:
    """Seconds after which the server wants to be asked again; 0 where it doesn't say."""
    said = getattr(error, "retry_after_s", None)
    headers = getattr(error, "headers", None)
    if said is None and headers is not None:
        said = headers.get("Retry-After")
    try:
        return max(0.0, float(said)) if said is not None else 0.0
    except ValueError:
        return 0.0


def worded(
    error: BaseException, place: str, checks: Mapping[str, str], *, local: bool, what: str = "", hint: str = ""
) -> FuseError:
    """The error to raise instead of one of the client.

    Args:
        error: What was raised.
        place: The address that was asked.
        checks: Kind of failure -> what to look at, in the fields of the connector.
        local: Whether there is no server.
        what: The collection that it was about.
        hint: What else there is, for one that is absent.
    """
    kind = kind_of(error, local=local)
    there = f"`{what}` at `{place}`" if what else f"`{place}`"
    if kind in FAULTS:
        fault = FAULTS[kind]
        status = getattr(error, "status_code", None)
        said = f" (it answers {status})" if isinstance(status, int) else ""
        return fault.raised(f"`{place}` {fault.what}{said}. {checks.get(kind, '')}".rstrip())
    raised, words = {
        "absent": (NotThereError, f"There is no collection {there}. {hint}"),
        "taken": (ConflictError, f"{there} is there already: another program made it meanwhile. Run this again."),
        "large": (InputError, f"{there} refuses one point as too large. Shorten its payload, or raise its limit."),
        "locked": (
            StoreUnavailableError,
            f"`{place}` is used by another process, and a folder takes one at a time. Wait for it, or run a server.",
        ),
        "refused": (InputError, f"{there} refuses what was asked: {_said(error)}"),
        "foreign": (StoreError, f"`{place}` gives no answer of Qdrant. {checks.get('foreign', '')}"),
    }.get(kind, (StoreError, f"{there} can't be used: its client failed with `{type(error).__name__}`."))
    return raised(words.rstrip())


def _said(error: BaseException) -> str:
    """The server's own reason, without secrets."""
    content: Any = getattr(error, "content", None)
    text = str(error)
    if isinstance(content, bytes):
        try:
            text = str(json.loads(content)["status"]["error"])
        except (ValueError, KeyError, TypeError):
            text = "it doesn't say why"
    details = getattr(error, "details", None)
    if callable(details):
        text = str(details())
    return secrets.scrub(" ".join(text.split()))[:_SAID]
