"""What a history was declared with, as it remembers it, so that nobody has to say it again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.engines.local.reading import to_moment
from fuse_dagster.tables import History
from fuse_dagster.tables.commit import APP_ID
from fuse_dagster.tables.history.memory.inspecting import open_history
from fuse_dagster.tables.history.memory.store import read_manifest
from fuse_dagster.tables.history.times import to_instant
from fuse_dagster.tables.maintaining.history import is_history
from fuse_dagster.tables.view import open_view


@dataclass(frozen=True, slots=True)
class Times:
    """Names of the columns that a history adds, and the zone that its dates are read in."""

    valid_from: str = "valid_from"
    valid_to: str = "valid_to"
    is_current: str = "is_current"
    timezone: str | None = None


def moment_in(text: str, timezone: str | None) -> dt.datetime:
    """A point in time as somebody writes it.

    Args:
        text: A date, or a time with or without a zone, in ISO 8601.
        timezone: The zone of a history: dates and naive times are read in it. None: dates are midnight UTC.

    Raises:
        ConfigError: It is none, or a naive time and there is no zone.
        TimeValueError: A wall time that the zone skips or repeats.
    """
    try:
        value = dt.datetime.fromisoformat(text)
    except ValueError:
        return to_moment(text)  # which says what is valid
    return to_moment(text) if timezone is None else to_instant(value, timezone)


def declared(table: str, storage_options: Mapping[str, str]) -> History:
    """The declaration that a history was written with, as far as it belongs to the table.

    Args:
        table: URI or path.
        storage_options: As delta-rs takes them.

    Raises:
        TableNotFoundError: There is no table.
        TableStateError: It is no history of ours, or its memory is gone.
    """
    view = open_history(table, storage_options)
    said = dict(read_manifest(view, view.table.transaction_version(APP_ID) or 0).declared)
    valid_from, valid_to, is_current = said.pop("own")
    overwritten = said.pop("overwrite_columns", None) or ()
    return History(
        **said, overwrite_columns=overwritten, valid_from=valid_from, valid_to=valid_to, is_current=is_current
    )


def times_of(table: str, storage_options: Mapping[str, str]) -> Times:
    """Names of a history's own columns, and its zone.

    Raises:
        ConfigError: The table is no history.
        TableNotFoundError: There is no table.
        TableStateError: The memory is gone.
    """
    view = open_view(table, storage_options)
    if view.exists and not is_history(view):
        msg = (
            f"`{view.uri}` is no history, so nothing in it held as of a moment. For the version of the table that was "
            "current then, read it with `--timestamp`."
        )
        raise ConfigError(msg)
    mode = declared(table, storage_options)
    return Times(mode.valid_from, mode.valid_to, mode.is_current, mode.timezone)
