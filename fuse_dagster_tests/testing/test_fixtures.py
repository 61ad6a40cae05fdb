"""The fixtures work in a project of somebody else's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = 'pytest_plugins = ["fuse_dagster.testing.fixtures"]\n'
TESTS = """
from fuse_dagster.tables import Overwrite, write
from fuse_dagster.testing import airports, assert_frames_equal
import dagster as dg


def test_a_lake(local_lake, dagster_instance):
    write(local_lake.uri("airports"), airports().head(5), Overwrite())
    assert isinstance(dagster_instance, dg.DagsterInstance)


def test_spark(spark, local_lake):
    frame = airports().head(5)
    write(local_lake.uri("airports"), frame, Overwrite())
    assert_frames_equal(spark.read.format("delta").load(local_lake.uri("airports")), frame, keys="icao")
"""


@pytest.mark.spark
@pytest.mark.slow
def test_the_plugin_gives_a_session_a_lake_and_an_instance(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    # Nothing is left in the folder where the tests ran: no metastore, no warehouse, no logs.
    left = {path.name for path in tmp_path.iterdir()} - {"__pycache__"}
    assert left == {"conftest.py", "test_it.py"}
