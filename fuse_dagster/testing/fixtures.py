"""Fixtures for pytest: `pytest_plugins = ["fuse_dagster.testing.fixtures"]` in the `conftest.py` at the top."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fuse_dagster.testing.spark import spark_for_tests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dagster import DagsterInstance
    from pyspark.sql import SparkSession

    from fuse_dagster.connectors.local import Local


pytest.register_assert_rewrite("fuse_dagster.testing.connectors", "fuse_dagster.testing.object_stores")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark of the contract suites for connectors."""
    config.addinivalue_line("markers", "slow: takes more than ten seconds")


@pytest.fixture(scope="session")
def spark() -> SparkSession:
    """One Spark session with Delta for all tests that ask for it."""
    return spark_for_tests()


@pytest.fixture
def local_lake(tmp_path: Path) -> Local:
    """An empty lake of the test's own."""
    from fuse_dagster.connectors.local import Local

    return Local(root=str(tmp_path / "lake"))


@pytest.fixture
def dagster_instance() -> Iterator[DagsterInstance]:
    """A Dagster instance that keeps runs and events in memory until the test ends."""
    from dagster import DagsterInstance

    with DagsterInstance.ephemeral() as instance:
        yield instance
