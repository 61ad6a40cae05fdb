"""What a server refuses, in words that say what to do; without credentials in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from fuse_dagster import secrets
from fuse_dagster.connectors.http.messages import Answer, BrokenError
from fuse_dagster.connectors.http.retrying import BUSY
from fuse_dagster.core.errors import CredentialsError, FuseError, NotThereError, StoreError, StoreUnavailableError

_LONGEST = 200
_SAYS = ("error_description", "message", "detail", "title", "error", "errors", "code", "reason", "status")

_BROKEN: dict[str, tuple[type[StoreError | StoreUnavailableError], str]] = {
    "host": (
        StoreUnavailableError,
        "can't be reached, or broke the connection. Check its host and port, DNS, firewalls and proxies.",
    ),
    "time": (
        StoreUnavailableError,
        "does not answer in time. Check firewalls and proxies, ask for smaller pages, or raise `timeout`.",
    ),
    "cut": (
        StoreUnavailableError,
        "broke off in the middle of an answer. Run this again; where it happens often, ask for smaller pages.",
    ),
    "certificate": (
        StoreError,
        "shows a certificate that this machine does not trust. Check the host, or name its authority in `ca_file`.",
    ),
    "scheme": (StoreError, "does not speak TLS there. Check the port, and whether it is `http://`."),
    "proxy": (
        StoreUnavailableError,
        "can't be reached through the proxy that the environment names. Check `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`.",
    ),
    "large": (StoreError, "answers with more than is read at once. Ask for smaller pages."),
    "address": (StoreError, "is no address that a request can be sent to. Check the host and the path."),
}


def broken(error: BrokenError, place: str, *, tried: str = "", repeatable: bool = True) -> FuseError:
    """The error to raise for a connection that broke.

    Args:
        error: What happened.
        place: The address, for people.
        tried: How often and how long it was tried, as a sentence.
        repeatable: Whether it might have been tried again.
    """
    raised, words = _BROKEN[error.kind]
    extra = "" if repeatable or not error.arrived else _ONCE
    return raised(f"`{place}` {words}{tried and f' {tried}'}{extra}")


_ONCE = " It was asked only once, as it may change something; if it doesn't, say so by `safe`."


def refused(
    answer: Answer, place: str, *, hide: Iterable[str] = (), tried: str = "", check: str = "", repeatable: bool = True
) -> FuseError:
    """The error to raise for a status that is no success.

    Args:
        answer: What came.
        place: The address, for people.
        hide: Values that must not show, in case that the server repeats them.
        tried: How often and how long it was tried, as a sentence.
        check: What to look at where credentials are refused.
        repeatable: Whether it might have been tried again.
    """
    said = says(answer, hide)
    head = f"`{place}` answered with status {answer.status}{f' (it says: `{said}`)' if said else ''}."
    if answer.status in {401, 403, 407}:
        return CredentialsError(f"{head} {check or 'Check the credentials, and what they may read.'}")
    if answer.status in {404, 410}:
        return NotThereError(f"{head} There is nothing there. Check the address and the path.")
    if answer.status in BUSY:
        extra = "" if repeatable else _ONCE
        return StoreUnavailableError(f"{head}{tried and f' {tried}'} Run this again later, or ask more slowly.{extra}")
    if answer.status in range(300, 400):
        return StoreError(f"{head} It leads elsewhere, and that is not followed here. Check the address.")
    return StoreError(f"{head} Check the path, the parameters and the body.")


def says(answer: Answer, hide: Iterable[str] = ()) -> str:
    """What a server says of what went wrong, short, in one line, and without the values to hide; "" for nothing."""
    try:
        found = said_in(json.loads(answer.body[:65536]))
    except (ValueError, RecursionError):
        text = answer.body[:2000].decode("utf-8", "replace")
        found = "" if "<" in text else text  # a page of HTML says nothing in one line
    return cleaned(found, hide)


def cleaned(text: str, hide: Iterable[str] = ()) -> str:
    """A text of somebody else for a message of ours: one short line, in which no credential shows."""
    for value in sorted((one for one in hide if one), key=len, reverse=True):
        text = text.replace(value, "***")
    line = re.sub(r"[\s`]+", " ", "".join(sign if sign.isprintable() else " " for sign in secrets.scrub(text))).strip()
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."


def said_in(found: object) -> str:
    """The words in an error that a server wrote as JSON; "" for none."""
    if isinstance(found, str | int | float) and not isinstance(found, bool):
        return str(found)
    if isinstance(found, list):
        return "; ".join(told for each in found[:3] if (told := said_in(each)))
    if isinstance(found, dict):
        named = [told for name in _SAYS if name in found and (told := said_in(found[name]))]
        return ": ".join(named[:2])
    return ""
