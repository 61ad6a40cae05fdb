"""Whether the connections of a profile can be used: packages, secrets, clocks, and what each store answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from fuse_dagster.app.connecting import describe
from fuse_dagster.app.envelope import message
from fuse_dagster.app.findings import Finding, Status
from fuse_dagster.app.profiles import references_of, tried
from fuse_dagster.connectors.base import CanTellTime, Connector
from fuse_dagster.core.errors import FuseError
from fuse_dagster.secrets import resolve

DRIFT, SKEW = 5.0, 300.0
"""Seconds: what is worth a note, and what makes clouds refuse tokens. Signatures are refused after 900."""


def of_connection(name: str, connector: Connector) -> Iterator[Finding]:
    """Look at a connection step by step, and stop where the next would only fail again.

    Args:
        name: As in the profile.
        connector: The connection.
    """
    described = describe(connector.type)
    if described.missing:
        found = f"{described.extra} lacks {', '.join(described.missing)}"
        yield Finding(what=f"extra of {name}", status=Status.FAIL, found=found, do=described.install)
        return
    ready = True
    for field, reference in references_of(connector):
        one = _of_secret(f"secret {name}.{field}", getattr(connector, field), reference)
        ready = ready and one.status is not Status.FAIL
        yield one
    if isinstance(connector, CanTellTime):
        clock = _of_clock(f"clock of {name}", connector)
        ready = ready and clock.status is not Status.FAIL
        yield clock
    if ready:
        yield _of_answers(f"connection {name}", connector)


def _of_secret(what: str, value: str, reference: str) -> Finding:
    try:
        resolve(value)
    except FuseError as error:
        return Finding(what=what, status=Status.FAIL, found=reference, do=message(error))
    return Finding(what=what, status=Status.OK, found=reference)


def _of_clock(what: str, connector: CanTellTime) -> Finding:
    before = datetime.now(UTC)
    try:
        there = connector.time_there()
    except FuseError as error:
        return Finding(what=what, status=Status.FAIL, found="the store can't be reached", do=message(error))
    if there is None:
        return Finding(what=what, status=Status.OK, found="the store doesn't say what time it is")
    # Its clock was read at some time between question and answer, and cut to the second.
    after = datetime.now(UTC)
    early, late = (there - after).total_seconds(), (there - before).total_seconds() + 1
    drift = 0.0 if early <= 0 <= late else min(early, late, key=abs)
    found = f"{there:%Y-%m-%dT%H:%M:%SZ}, {drift:+.0f} s from ours" if drift else "agrees with ours"
    do = "Set the clock here, as by NTP: stores refuse signatures and tokens of another time."
    if abs(drift) > SKEW:
        return Finding(what=what, status=Status.FAIL, found=found, do=do)
    if abs(drift) > DRIFT:
        return Finding(what=what, status=Status.NOTE, found=found, do=do)
    return Finding(what=what, status=Status.OK, found=found)


def _of_answers(what: str, connector: Connector) -> Finding:
    steps = list(tried(connector))
    if not steps[-1].ok:
        return Finding(what=what, status=Status.FAIL, found=connector.place, do=steps[-1].said)
    seconds = sum(step.seconds for step in steps)
    return Finding(what=what, status=Status.OK, found=f"{connector.place} answers in {seconds:.2f} s")
