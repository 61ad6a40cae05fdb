"""What a database refuses, told by its codes and said in our words; no password or statement is repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from fuse_dagster.core.errors import (
    CredentialsError,
    FuseError,
    InputError,
    NotThereError,
    StoreError,
    StoreUnavailableError,
)
from fuse_dagster.secrets import scrub


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of failure.

    Attributes:
        raised: The class that fits.
        what: What is the matter, after the address.
        check: What to look at; connectors put the names of their fields instead.
        quotes: Whether what the system says is repeated: it is about names and values, not about the login.
    """

    raised: type[FuseError]
    what: str
    check: str
    quotes: bool = False


FAULTS = {
    "host": Fault(
        StoreUnavailableError, "can't be reached", "Check the host and port, DNS, firewalls, and that the server runs."
    ),
    "time": Fault(
        StoreUnavailableError,
        "does not answer in time",
        "Check the host and port, and firewalls; raise `connect_timeout` where the line is slow.",
    ),
    "certificate": Fault(
        StoreError, "does not agree with us on an encrypted connection", "Check the fields for TLS and the certificate."
    ),
    "credentials": Fault(
        CredentialsError, "is refused to these credentials", "Check the user and the password, and that they are valid."
    ),
    "database": Fault(StoreError, "has no such database", "Check its name for a typing error, or make it."),
    "driver": Fault(
        StoreError,
        "has no such ODBC driver or data source on this machine",
        "Check their names; `odbcinst -q -d` and `odbcinst -q -s` list what is there.",
    ),
    "busy": Fault(
        StoreUnavailableError,
        "is busy: it has no connection left, or gave way to another transaction",
        "Run this again later, with fewer connections.",
    ),
    "cut": Fault(
        StoreUnavailableError,
        "broke the connection off; nothing that was read counts",
        "Run this again; where it happens often, look at the server's log, and at proxies on the way.",
    ),
    "slow": Fault(
        StoreUnavailableError,
        "ended the statement, because it took too long or somebody cancelled it",
        "Narrow what is asked, add an index, or raise `statement_timeout`.",
    ),
    "rights": Fault(
        StoreError, "forbids this to the user", "Grant the user what is missing, as SELECT on the table.", quotes=True
    ),
    "readonly": Fault(
        InputError, "was asked to change something, and reading changes nothing", "Ask by a SELECT.", quotes=True
    ),
    "table": Fault(NotThereError, "has no such table", "List the names to see what there is.", quotes=True),
    "column": Fault(
        InputError, "has no such column", "Correct the name; the table may have been changed.", quotes=True
    ),
    "syntax": Fault(InputError, "doesn't understand the question", "Correct it.", quotes=True),
    "costs": Fault(
        InputError,
        "would read more than is allowed",
        "Narrow what is asked, or raise `maximum_bytes_billed`.",
        quotes=True,
    ),
    "value": Fault(InputError, "can't work with a value", "Correct it, or what the question makes of it.", quotes=True),
}
"""Kind -> how it is raised and worded."""

IN_DOUBT = frozenset({"cut", "host", "time", "slow", None})
"""Kinds of failure that leave open whether a commit happened."""

BY_STATE = {
    "08": "host", "08003": "cut", "08006": "cut", "08007": "cut", "08S01": "cut", "28": "credentials",
    "3D000": "database", "3F000": "table", "42501": "rights", "42P01": "table", "42S02": "table", "42703": "column",
    "42S22": "column", "42": "syntax", "57014": "slow", "57P": "cut", "57P03": "host", "57P05": "cut", "53300": "busy",
    "40": "busy", "55P03": "busy", "22": "value", "23": "value", "21": "value", "2F": "readonly", "25006": "readonly",
    "HYT00": "time", "HYT01": "time", "HY008": "slow", "HY105": "value", "IM": "driver", "07": "syntax",
    "0A": "syntax", "26": "syntax", "34": "syntax",
}  # fmt: skip
"""SQLSTATE, or how it begins -> kind."""


def by_state(state: str | None) -> str | None:
    """The kind of failure of a SQLSTATE; None where it says nothing."""
    for length in (5, 3, 2):
        if state and state[:length] in BY_STATE:
            return BY_STATE[state[:length]]
    return None


def worded(error: Exception, kind: str | None, place: str, checks: Mapping[str, str], said: str = "") -> FuseError:
    """The error to raise instead of a driver's.

    Args:
        error: What the driver raised.
        kind: A key of `FAULTS`; None for what nobody foresaw.
        place: The address, without secrets.
        checks: Kind -> what to look at, in the words of the connector.
        said: What the system says, in one line.
    """
    if kind is None:
        code = f" ({said})" if said else ""
        return StoreError(
            f"`{place}` can't be used: its driver failed with `{type(error).__name__}`{scrub(code)}. Check the fields "
            "of the connection, and that the system is one of its kind."
        )
    fault = FAULTS[kind]
    quote = f": {scrub(said.strip().rstrip('.'))}" if fault.quotes and said else ""
    return fault.raised(f"`{place}` {fault.what}{quote}. {checks.get(kind, fault.check)}")


@contextmanager
def in_our_words(
    place: str, checks: Mapping[str, str], told: Callable[[Exception], tuple[str | None, str] | None]
) -> Iterator[None]:
    """Run what talks to a database; errors of its driver come out as ours, without the driver's behind them.

    Args:
        place: The address, without secrets.
        checks: Kind -> what to look at.
        told: Says of a driver's error of which kind it is, and what the system says in one line; None of any other.

    Raises:
        StoreError: The system refuses.
        StoreUnavailableError: It can't be reached, breaks off, or takes too long.
        NotThereError: It has no such table.
        InputError: It doesn't understand the question, or can't work with a value.
    """
    try:
        yield
    except FuseError:
        raise
    except Exception as error:
        known = told(error)
        if known is None:
            raise
        kind, said = known
        # The driver's message, which a traceback would show as the cause, may hold the address with the password.
        raise worded(error, kind, place, checks, said) from None
