"""How far a source was read, as the table remembers it that took its rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fuse_dagster.core.errors import TableStateError
from fuse_dagster.ingest.source import Position
from fuse_dagster.tables import Remembered, forgotten_memo, read_memo


def position_of(table: str | Path, source: str, *, storage_options: Mapping[str, str] | None = None) -> Position | None:
    """How far a source was read into a table; None where no load of it has landed.

    Args:
        table: URI or path of the table.
        source: The identity of the source.
        storage_options: As delta-rs takes them.

    Raises:
        TableStateError: It is lost.
    """
    return position_in(read_memo(table, source, storage_options=storage_options))


def position_in(memory: Remembered) -> Position | None:
    """How far a source was read, as the memory of its load says; None where it says nothing.

    Raises:
        TableStateError: It is no position.
    """
    if not memory.data:
        return None
    try:
        said = json.loads(memory.data)["position"]
        if said is None:
            return None
        at = None if said["time"] is None else datetime.fromisoformat(said["time"])
        return Position(value=said["value"], said=said["said"], time=at)
    except (ValueError, KeyError, TypeError) as error:
        raise TableStateError(
            f"what the load `{memory.name}` remembers is no position; load once with `full_refresh=True`"
        ) from error


def data_of(position: Position | None) -> bytes:
    """What a table is to remember of a load."""
    said: Any = None
    if position is not None:
        at = None if position.time is None else position.time.astimezone(UTC).isoformat()
        said = {"value": dict(position.value), "said": position.said, "time": at}
    return json.dumps({"position": said}, sort_keys=True).encode()


def remembered(
    table: str | Path, name: str, options: Mapping[str, str] | None, *, full_refresh: bool, needed: bool
) -> Remembered:
    """What the table remembers of a load; a whole truth compares with it, so that one without news commits nothing."""
    if full_refresh:
        return forgotten_memo(table, name, storage_options=options)
    try:
        return read_memo(table, name, storage_options=options)
    except TableStateError:
        if needed:
            raise
        return forgotten_memo(table, name, storage_options=options)
