"""What Spark raises, and what it says in one line, without the values of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuse_dagster.core.errors import FuseError, first_line
from fuse_dagster.core.store_failures import store_error

if TYPE_CHECKING:
    from pathlib import Path

_VALUES = " violated by row with values"


def failures() -> tuple[type[Exception], ...]:
    """The classes of what Spark raises: its own, and those of the bridge to the JVM, which Spark Connect lacks."""
    from pyspark.errors import PySparkException

    try:
        from py4j.protocol import Py4JError
    except ModuleNotFoundError:
        return (PySparkException,)
    return (PySparkException, Py4JError)


def condition(error: Exception) -> str | None:
    """Spark's or Delta's own name of what went wrong, as `DELTA_VERSION_NOT_FOUND`; None where it has none."""
    from pyspark.errors import PySparkException

    if isinstance(error, PySparkException):
        return error.getCondition()
    # What pyspark has no class for comes as the bridge's error; not every exception of the JVM has a condition.
    thrown = getattr(error, "java_exception", None)
    try:
        return None if thrown is None else thrown.getCondition()
    except failures():
        return None


def refusal(error: Exception, place: str | Path) -> FuseError | None:
    """The error to raise where it is a store, or the way to it, that failed Spark; None where it is another matter."""
    return store_error(error, str(place))


def why(error: Exception) -> str:
    """What an error of Spark says in one line; of a constraint's, which one it is, but not the row that breaks it."""
    thrown = getattr(error, "java_exception", None)
    said = first_line(error) if thrown is None else str(thrown.getMessage()).strip().partition("\n")[0]
    return said.partition(_VALUES)[0]
