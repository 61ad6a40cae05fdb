"""Importing the package costs little: what is heavy is loaded on use.

Sets of modules are compared, never times.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from fuse_dagster_tests.house.source import PACKAGE
from fuse_dagster_tests.house.test_arrows import WITHOUT_DAGSTER

# The data libraries are a second or two together, which every `dagster` command would pay.
ON_USE = {"deltalake", "duckdb", "matplotlib", "pandas", "polars", "pyarrow", "pyspark", "sqlglot"}


def _loaded_by(statement: str) -> set[str]:
    program = f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def _packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_importing_the_package_loads_little_beyond_dagster() -> None:
    ours = _loaded_by("import fuse_dagster")
    dagsters = _loaded_by("import dagster")
    assert not _packages(ours) & ON_USE
    assert _packages(ours - dagsters) <= {"fuse_dagster"}
    assert len(ours - dagsters) < 40, sorted(ours - dagsters)


@pytest.mark.parametrize("room", sorted(WITHOUT_DAGSTER))
def test_rooms_below_orchestration_work_without_dagster(room: str) -> None:
    if not (PACKAGE / room).is_dir():
        return  # a room that no work has reached yet
    loaded = _loaded_by(f"import fuse_dagster.{room}")
    assert "dagster" not in _packages(loaded)
    assert "pyspark" not in _packages(loaded)


def test_every_public_name_is_there() -> None:
    import fuse_dagster

    assert sorted(fuse_dagster.__all__) == sorted(set(fuse_dagster.__all__))
    for name in fuse_dagster.__all__:
        assert getattr(fuse_dagster, name) is not None
        assert name in dir(fuse_dagster)
