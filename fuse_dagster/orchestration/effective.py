"""From when on a batch of a history holds: a partition's start, its key read as a time, or the run's own time."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from importlib import import_module
from typing import TYPE_CHECKING, cast

from dagster import MultiPartitionsDefinition, TimeWindowPartitionsDefinition

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.orchestration.partitions import time_window

if TYPE_CHECKING:
    from dagster import PartitionsDefinition

    from fuse_dagster.orchestration.declarations import Declaration

EffectiveFunction = Callable[[str], datetime | date]

_NO_TIME = (
    "The keys of static and dynamic partitions are names, and a snapshot needs a time. Give `effective_format`: "
    "a format of strptime such as `%Y%m%d`, or a function from the key to a time."
)
_NO_WHOLE_SNAPSHOT = (
    "A partition of several dimensions is no whole snapshot: each would end the keys of the others. Partition the "
    'history by time alone, or give `effective_column`, or `source="changes"`.'
)
_CLOCK = re.compile(r"%[HIMSfpcXsTR]")


def needs_time(declared: Declaration) -> bool:
    """Whether each batch has one time that must come from its partition or run, rather than from its rows."""
    history = declared.history
    return history is not None and history.source == "snapshot" and history.effective_column is None


def effective_problems(declared: Declaration, definition: PartitionsDefinition[str] | None) -> list[str]:
    """What is wrong with where a history's times come from, told when definitions load."""
    said = [declared.effective_format, declared.effective_function]
    given = [each for each in said if each is not None]
    if not needs_time(declared):
        return ["`effective_format` is there, but no batch of this asset has a time of its own."] if given else []
    if len(given) == 2:
        return ["`effective_format` and `effective_function` are both there. Keep one."]
    if isinstance(definition, MultiPartitionsDefinition):
        return [_NO_WHOLE_SNAPSHOT]
    reads_keys = definition is not None and not isinstance(definition, TimeWindowPartitionsDefinition)
    if given and not reads_keys:
        where = "the run" if definition is None else "the start of the partition"
        return [f"`effective_format` reads partition keys, but here the time is that of {where}. Take it out."]
    if reads_keys and not given:
        return [_NO_TIME]
    return [] if declared.effective_function is None else _unreachable(declared.effective_function)


def effective_at(declared: Declaration, definition: PartitionsDefinition[str], key: str) -> datetime | date:
    """From when on the batch of one partition holds.

    Args:
        declared: The declaration of a history whose batches need a time.
        definition: The partitioning of the asset.
        key: The partition.

    Returns:
        The start of a time partition, UTC; otherwise what the key says: a time where the format has a clock or a zone
        (naive without a zone), or else a date.

    Raises:
        ConfigError: The key can't be read as a time.
    """
    if isinstance(definition, TimeWindowPartitionsDefinition):
        return time_window(definition, key)[0]
    if declared.effective_function is not None:
        moment: object = load_function(declared.effective_function)(key)
        if not isinstance(moment, date):
            msg = (
                f"`{declared.effective_function}` gives `{moment!r}` for the partition `{key}`. Return a date or time."
            )
            raise ConfigError(msg)
        return moment
    layout = declared.effective_format
    if layout is None:
        raise ConfigError(effective_problems(declared, definition)[0])
    try:
        parsed = datetime.strptime(key, layout)  # noqa: DTZ007 - a zone is in the format, or in `timezone`
    except ValueError as error:
        msg = f"The partition key `{key}` is no time of the format `{layout}`. Correct the key or `effective_format`."
        raise ConfigError(msg) from error
    return parsed if parsed.tzinfo is not None or _CLOCK.search(layout) else parsed.date()


def name_function(function: EffectiveFunction) -> str:
    """Name a function so that another process finds it: `module:function`.

    Raises:
        ConfigError: It is a lambda, or defined inside another function.
    """
    name = f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', repr(function))}"
    if "<" in name or "?" in name:
        msg = (
            f"`effective_format` is `{name}`, which another process can't import. "
            "Define it as a function at the top level of a module."
        )
        raise ConfigError(msg)
    return name


def load_function(name: str) -> EffectiveFunction:
    """Import a function named by `name_function`.

    Raises:
        ConfigError: It is not there.
    """
    problems = _unreachable(name)
    if problems:
        raise ConfigError(problems[0])
    module, _, attribute = name.partition(":")
    return cast("EffectiveFunction", getattr(import_module(module), attribute))


def _unreachable(name: str) -> list[str]:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError as error:
        return [f"`{name}` can't be imported: {error}."]
    return [] if callable(found) else [f"`{module}` has no function `{attribute}`. Define it at its top level."]
