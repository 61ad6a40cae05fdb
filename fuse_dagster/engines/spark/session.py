"""Spark sessions: one is made where there is none, and taken where there is one."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fuse_dagster.core.errors import ConfigError, MissingExtraError, first_line
from fuse_dagster.core.naming import listing
from fuse_dagster.engines.spark.environment import ENVIRONMENTS, detect
from fuse_dagster.engines.spark.lakes import Lake, packages, reach
from fuse_dagster.engines.spark.settings import Conf, Setting, SparkSettings, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyspark.sql import SparkSession

DATABRICKS = "databricks"
"""As `remote`: Databricks Connect, which finds workspace, login and compute as Databricks' own tools do."""

_STARTING = threading.Lock()


def spark_session(
    settings: SparkSettings | Conf | None = None, *, remote: str = "", lakes: Iterable[Lake] = ()
) -> SparkSession:
    """Take the session of this process, or start one that reads and writes Delta tables.

    A session that runs already keeps its settings; those that the caller chose are set on it where that is possible.

    Args:
        settings: Layered settings, or those of the code alone.
        remote: A Spark Connect server, as `sc://host:15002`; or `databricks` for Databricks Connect. By default
            Spark runs where this process does.
        lakes: Connectors that the session is to reach, each with its own credentials. A session that is started on this
            machine also gets the jars that they need; one that runs already has to have them.

    Returns:
        The session. One that is started here is in UTC.

    Raises:
        MissingExtraError: pyspark, databricks-connect or Java is not installed.
        ConfigError: Spark does not start or connect, or runs already with another value of a setting that
            can't change any more; or lakes disagree.
        FuseError: A secret of a lake can't be resolved.

    Examples:
        >>> spark_session({"spark.sql.shuffle.partitions": 8}).range(3).count()  # doctest: +SKIP
        3
    """
    chosen = settings if isinstance(settings, SparkSettings) else SparkSettings(conf=settings or {})
    near = tuple(lakes)
    chosen = replace(chosen, packages=(*chosen.packages, *packages(near)))
    with _STARTING:
        if not remote:
            session = _in_process(chosen)
        elif remote == DATABRICKS:
            session = _databricks(chosen)
        else:
            session = _connect(chosen, remote)
    reach(session, near)
    return session


def _in_process(settings: SparkSettings) -> SparkSession:
    kind = _pyspark().SparkSession
    running = _running(kind)
    asked = settings.asked()
    if running is None and not detect(settings.environ).manages_session:
        _find_java()
        # Workers on this machine need our packages: without this they run whatever `python3` means to the shell.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if running is not None:
        _refuse_fixed(running, asked)
    builder = kind.builder
    for name, setting in (asked if running is not None else settings.resolved()).items():
        builder = builder.config(name, setting.value)
    session = _started(builder, "Java 17 or newer has to be there, and each setting has to be a valid one")
    _refuse_fixed(session, asked)
    return session


def _running(kind: type[SparkSession]) -> SparkSession | None:
    """The session of this process, whichever thread made it."""
    from pyspark.errors import PySparkException

    try:
        return kind.active()
    except PySparkException:
        return None  # there is none


def _connect(settings: SparkSettings, remote: str) -> SparkSession:
    if not remote.startswith("sc://"):
        msg = f"`{shown('remote', remote)}` is no Spark Connect server. Valid: `sc://host:port`, `{DATABRICKS}`."
        raise ConfigError(msg)
    return _configured(_pyspark().SparkSession.builder.remote(remote), settings)


def _databricks(settings: SparkSettings) -> SparkSession:
    try:
        from databricks.connect import DatabricksSession  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ModuleNotFoundError as error:
        msg = (
            "Databricks Connect needs the package `databricks-connect`, which brings its own pyspark. "
            "In an environment without pyspark, install it with: pip install databricks-connect fuse-dagster"
        )
        raise MissingExtraError(msg) from error
    return _configured(DatabricksSession.builder, settings)


def _configured(builder: Any, settings: SparkSettings) -> SparkSession:
    """Connect; the server has its own master, jars and memory."""
    served = SparkSettings(
        conf=settings.conf,
        profiles=settings.profiles,
        profile=settings.profile,
        environ=settings.environ,
        environment=ENVIRONMENTS[DATABRICKS],
    )
    session = _started(builder, "the server has to run, and let this machine in")
    _refuse_fixed(session, served.asked())
    for name, value in served.values().items():
        if session.conf.isModifiable(name):
            session.conf.set(name, value)
    return session


def _started(builder: Any, needed: str) -> SparkSession:
    from pyspark.errors import PySparkException

    try:
        session: SparkSession = builder.getOrCreate()
    except (PySparkException, OSError, ValueError) as error:
        msg = f"Spark does not start: {first_line(error)}. For it to start, {needed}."
        raise ConfigError(msg) from error
    return session


def _refuse_fixed(session: SparkSession, asked: dict[str, Setting]) -> None:
    """Raise where a setting that was chosen has another value in this session, and can't change any more."""
    fixed = {name: setting.value for name, setting in asked.items() if not session.conf.isModifiable(name)}
    ignored = [name for name, value in fixed.items() if _value(session, name) != value]
    if ignored:
        msg = (
            f"A Spark session runs already, and {listing(ignored)} can't change in it. Set them where it is started, "
            "stop it with `session.stop()` before, or leave these settings as they are."
        )
        raise ConfigError(msg)


def _value(session: SparkSession, name: str) -> str | None:
    from pyspark.errors import PySparkAttributeError

    try:
        # A session takes any name that it doesn't know and hands it back; what counts is what its context began with.
        return session.sparkContext.getConf().get(name)
    except PySparkAttributeError:  # over Spark Connect there is no context
        return session.conf.get(name, None)


def _pyspark() -> Any:
    try:
        import pyspark.sql
    except ModuleNotFoundError as error:
        msg = f'Spark needs the package `{error.name}`. Install it with: pip install "fuse-dagster[spark]"'
        raise MissingExtraError(msg) from error
    return pyspark.sql


def _find_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if (Path(home) / "bin" / "java").exists() if home else shutil.which("java"):
        return
    msg = (
        f"Spark needs Java 17 or newer, and no `java` is found {f'below `JAVA_HOME` ({home})' if home else 'here'}. "
        "Install one, as by `apt-get install default-jre-headless`, or set `JAVA_HOME` to where it lies."
    )
    raise MissingExtraError(msg)
