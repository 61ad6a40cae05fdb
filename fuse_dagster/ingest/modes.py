"""By which modes a source may be loaded, so that no row is doubled, and none is lost that another load brought."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.engines.local.addresses import normal_uri
from fuse_dagster.tables import Append, Overwrite, WriteMode
from fuse_dagster.tables.loads.files import other_loads
from fuse_dagster.tables.view import open_view

if TYPE_CHECKING:
    from fuse_dagster.ingest.source import Source


def refuse_doubling(source: Source, mode: WriteMode) -> None:
    """Refuse a mode that does not fit what a source brings.

    Raises:
        ConfigError: Rows would be doubled, or go with those of the same part.
    """
    if getattr(source, "is_part", False) and mode.is_whole_truth:
        raise ConfigError(
            f"a part of `{source.identity}` is read, and {type(mode).__name__} takes it for the whole truth: all else "
            "would be gone. Replace the part by `Overwrite(where=...)`, or use a mode that keeps what is absent"
        )
    if not getattr(source, "is_part", False) and isinstance(mode, Overwrite) and mode.replaces_part:
        raise ConfigError(
            f"what is new in `{source.identity}` would replace rows of the same part that earlier loads brought. Read "
            "that part of the source (a window, or `only`), or use Upsert, or `Overwrite(replace_keys=[...])`"
        )
    if getattr(source, "repeats", False) and isinstance(mode, Append) and not mode.once:
        raise ConfigError(
            f"`{source.identity}` brings rows again that were loaded before (`reread`, or a window), which an Append "
            "would double; load it by Upsert or History, by `Append(once=[...])`, or replace the part by Overwrite"
        )


def refreshing(mode: WriteMode, table: str | Path, identity: str, options: Mapping[str, str] | None) -> WriteMode:
    """The mode of a full refresh: what only adds rows would double them, so they replace what is there.

    Raises:
        ConfigError: Other sources have loads in the table, whose rows would go.
    """
    if not isinstance(mode, Append) or mode.once_by_key:
        return mode
    others = other_loads(open_view(normal_uri(table), options), identity)
    if others:
        raise ConfigError(
            f"a full refresh of `{identity}` would replace all rows of `{table}`, and other sources have loads there "
            f"({', '.join(others)}). Nothing was read; give each source a table of its own, or use a mode with keys"
        )
    return Overwrite(partition_by=mode.partition_by, skip_if_unchanged=False)
