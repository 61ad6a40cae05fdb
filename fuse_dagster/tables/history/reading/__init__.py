"""Reading a history: what held at a moment, what happened in a span, and the version that held at each fact's time."""

from __future__ import annotations

from fuse_dagster.tables.history.reading.asking import PointInTime
from fuse_dagster.tables.history.reading.events import changes, numbered
from fuse_dagster.tables.history.reading.joining import point_in_time
from fuse_dagster.tables.history.reading.moments import as_of, current

__all__ = ["PointInTime", "as_of", "changes", "current", "numbered", "point_in_time"]
