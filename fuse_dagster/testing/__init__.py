"""What projects import in their own tests: assertions on frames, sample data, a Spark session, pytest fixtures."""

from __future__ import annotations

from fuse_dagster.testing.frames import assert_frames_equal
from fuse_dagster.testing.sample_data import airports, changes, flights, releases, snapshots
from fuse_dagster.testing.spark import spark_for_tests

__all__ = ["airports", "assert_frames_equal", "changes", "flights", "releases", "snapshots", "spark_for_tests"]
