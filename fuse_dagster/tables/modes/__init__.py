"""The write modes: frozen declarations of how a batch becomes a table, with no logic beyond checking themselves."""

from __future__ import annotations

from fuse_dagster.tables.modes.append import Append
from fuse_dagster.tables.modes.history import History
from fuse_dagster.tables.modes.overwrite import Overwrite
from fuse_dagster.tables.modes.upsert import Upsert

WriteMode = Append | Overwrite | Upsert | History

__all__ = ["Append", "History", "Overwrite", "Upsert", "WriteMode"]
