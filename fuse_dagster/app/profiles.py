"""The profile of this process, its connections, and whether each can be reached."""

from __future__ import annotations

import logging
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from fuse_dagster import secrets
from fuse_dagster.app.envelope import message
from fuse_dagster.connectors.base import CanAnswer, CanDelete, CanList, CanRead, CanWrite, Connector
from fuse_dagster.connectors.lake import Lake
from fuse_dagster.connectors.object_store import ObjectStore
from fuse_dagster.connectors.profiles import LiteralSecretWarning, Profile, load_profile
from fuse_dagster.core.errors import ConfigError, FuseError, StoreError
from fuse_dagster.core.naming import did_you_mean

logger = logging.getLogger(__name__)

_NOBODYS = "fuse-probe"
_PROBE = b"fuse_dagster tries whether it may write here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One thing that was tried of a connection.

    Attributes:
        what: What it was.
        ok: Whether it went well.
        seconds: How long it took.
        said: What is wrong and what to do about it; "" where it went well.
        error: What was raised; None where it went well.
    """

    what: str
    ok: bool
    seconds: float
    said: str = ""
    error: FuseError | None = None


def profile() -> Profile:
    """Load the profile that `FUSE_PROFILE` or `fuse.yaml` chooses; what it warns of is logged.

    Raises:
        ConfigError: There is no `fuse.yaml`, or something is wrong with it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LiteralSecretWarning)
        found = load_profile()
    for text in found.warnings:
        logger.warning("%s", text)
    return found


def connection_of(name: str) -> Connector:
    """A connection of the profile.

    Raises:
        ConfigError: There is no such connection, no `fuse.yaml`, or something is wrong with it.
    """
    found = profile()
    if name not in found.connections:
        msg = f"The profile `{found.name}` has no connection `{name}`. {did_you_mean(name, found.connections)}"
        raise ConfigError(msg)
    return found.connections[name]


def lake_of(name: str) -> Lake:
    """A connection of the profile that holds tables and files.

    Raises:
        ConfigError: As `connection_of`; or it holds none.
    """
    found = connection_of(name)
    if not isinstance(found, Lake):
        msg = f"The connection `{name}` is a `{found.type}`, which holds no tables or files. Name one that does."
        raise ConfigError(msg)
    return found


def references_of(connector: Connector) -> Iterator[tuple[str, str]]:
    """Field and reference of each secret that a connection needs; a literal one is none."""
    for field in sorted(secrets.secret_fields(type(connector))):
        value = getattr(connector, field)
        if isinstance(value, str) and value and secrets.mask(value) != secrets.mask("x"):
            yield field, secrets.mask(value)


def tried(connector: Connector, *, write: bool = False) -> Iterator[Tried]:
    """Try whether a connection works, step by step, and stop at the first that fails.

    Its secrets are resolved, then it is asked who it is, or for a file that is not there; with `write`, a small file is
    written, read and removed again.

    Args:
        connector: The connection.
        write: Whether it is tried to write, too.
    """
    for what, step in _steps(connector, write=write):
        started = time.perf_counter()
        try:
            step()
        except FuseError as error:
            seconds = time.perf_counter() - started
            yield Tried(what=what, ok=False, seconds=seconds, said=message(error), error=error)
            return
        yield Tried(what=what, ok=True, seconds=time.perf_counter() - started)


def _steps(connector: Connector, *, write: bool) -> Iterator[tuple[str, Callable[[], object]]]:
    for field, reference in references_of(connector):
        yield f"resolve `{field}` ({reference})", partial(secrets.resolve, getattr(connector, field))
    place = connector.place
    if isinstance(connector, Lake):
        yield "make its settings", connector.storage_options
    if isinstance(connector, ObjectStore) and connector.service:
        place = f"{place} at {connector.service}"
    if isinstance(connector, CanAnswer):
        yield f"ask {place} who it is", connector.answer
    if isinstance(connector, CanRead):
        yield f"ask {place} for a file", lambda: connector.exists(_NOBODYS)
    elif isinstance(connector, CanList):
        yield f"list {place}", lambda: next(iter(connector.list(_NOBODYS)), None)
    name = f"{_NOBODYS}-{uuid.uuid4().hex}"
    if write and isinstance(connector, CanWrite) and isinstance(connector, CanRead):
        yield "write a file", lambda: connector.write(name, _PROBE)
        yield "read it", lambda: _compare(connector, name)
        if isinstance(connector, CanDelete):
            yield "remove it", lambda: connector.delete(name)


def _compare(connector: CanRead, name: str) -> None:
    with connector.open(name) as file:
        found = file.read()
    if found != _PROBE:
        msg = f"`{name}` was written, but reads otherwise. Another program writes here, or the store is stale."
        raise StoreError(msg)
