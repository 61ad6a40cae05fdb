"""Stores that a Spark session reaches by Hadoop's drivers, each with its own credentials."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from urllib.parse import urlsplit

from fuse_dagster.core.errors import ConfigError, StoreError
from fuse_dagster.core.naming import listing

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

GUARDED = "fuse_dagster.ConditionalLogStore"
"""The class, in the jar of this package, that writes Delta's log by conditional puts."""

SINGLE_WRITER = "spark.fuse_dagster.single_writer"
"""With `.` and a bucket after it: nobody else writes tables there, so that a commit need not be guarded."""

_HADOOP = "spark.hadoop."
_S3A = "org.apache.hadoop.fs.s3a.S3AFileSystem"
_TEMPORARY = ".session.token"
# Hadoop opens a bucket once per process and keeps it with the settings of then, so these are of the process as well.
_OPENED: dict[str, bytes] = {}
_REACHING = threading.Lock()


@runtime_checkable
class Lake(Protocol):
    """What can say how Spark reaches it; every connector can."""

    def spark_conf(self) -> dict[str, str]:
        """Settings of the session, with secrets that are resolved now."""

    def spark_packages(self) -> tuple[str, ...]:
        """Maven coordinates of the drivers."""


def packages(lakes: Iterable[Lake]) -> tuple[str, ...]:
    """The drivers that lakes need, each once."""
    return tuple(dict.fromkeys(one for lake in lakes for one in lake.spark_packages()))


def reach(session: SparkSession, lakes: Iterable[Lake]) -> None:
    """Let a session reach lakes, each with its own credentials; it may run already.

    The settings are put on the running session rather than among those that it is started with, which the list of
    processes shows to everybody on the machine.

    Args:
        session: Classic or Connect.
        lakes: What it is to reach.

    Raises:
        ConfigError: Two lakes ask for different values of one setting, as for one bucket with two keys; or a lake asks
            for another value than one that this process has used before, which Hadoop would keep.
        FuseError: A secret can't be resolved.
    """
    wanted = _together(lakes)
    with _REACHING:
        _refuse_changed(wanted)
        for name, value in wanted.items():
            session.conf.set(name.removeprefix(_HADOOP), value)
        _OPENED.update({name: _digest(value) for name, value in wanted.items()})


def refuse_unguarded(session: SparkSession, table: str, storage_options: Mapping[str, str] | None) -> None:
    """Refuse to write a table where another writer's commit could be replaced without a word.

    Delta's own log on S3 is safe from one Spark driver at a time, and from nothing beside it. A session that is started
    here writes it by conditional puts, if the store holds them.

    Args:
        session: What is to write.
        table: URI of the table.
        storage_options: As delta-rs takes them; they say whether the store has conditional puts.

    Raises:
        StoreError: The commit can't be guarded, and nobody promised to be the only writer. Nothing was written.
    """
    place = urlsplit(table)
    if not _by_s3a(session, place.scheme) or session.conf.get(f"{SINGLE_WRITER}.{place.netloc}", "") == "true":
        return
    log = f"spark.delta.logStore.{place.scheme}.impl"
    has_puts = {**(storage_options or {})}.get("aws_conditional_put") != "disabled" and place.scheme != "gs"
    if has_puts and session.conf.get(log, "") == GUARDED:
        return
    reason = (
        f"this Spark session commits without a guard (`{log}` is not `{GUARDED}`). Let the session be started here"
        if has_puts
        else "the store has no conditional put that Spark could use. Write it with the local engine"
    )
    raise StoreError(
        f"`{table}` can't be written through Spark: a commit could replace another writer's without a word, because "
        f"{reason}; or, where one Spark driver and nothing beside it writes there, say so with `single_writer=True` of "
        f"the connector (for a session of your own: `{SINGLE_WRITER}.{place.netloc}=true`). Nothing was written."
    )


def _by_s3a(session: SparkSession, scheme: str) -> bool:
    if scheme in {"s3", "s3a"}:
        return True
    names = ("fs.gs.impl", "spark.hadoop.fs.gs.impl")
    return scheme == "gs" and any(session.conf.get(name, "") == _S3A for name in names)


def _together(lakes: Iterable[Lake]) -> dict[str, str]:
    found: dict[str, str] = {}
    for lake in lakes:
        conf = lake.spark_conf()
        differing = sorted(name for name, value in conf.items() if found.get(name, value) != value)
        if differing:
            raise ConfigError(
                f"Two lakes of one Spark session disagree about {listing(differing)}, and a session reaches a bucket "
                "or an account in one way. Give both the same, or let each have a process of its own."
            )
        found |= conf
    return found


def _refuse_changed(wanted: Mapping[str, str]) -> None:
    # Keys that are temporary are others each time they are fetched; the ones in use serve until they expire.
    passing = {name.removesuffix(_TEMPORARY) for name in wanted if name.endswith(_TEMPORARY)}
    changed = sorted(
        name
        for name, value in wanted.items()
        if _OPENED.get(name, _digest(value)) != _digest(value) and not any(name.startswith(one) for one in passing)
    )
    if changed:
        raise ConfigError(
            f"Spark in this process has reached the same place with another value of {listing(changed)}, and Hadoop "
            "keeps what it opened a place with. Start a new process for the new value, or leave it as it was."
        )


def _digest(value: str) -> bytes:
    return hashlib.blake2b(value.encode()).digest()
