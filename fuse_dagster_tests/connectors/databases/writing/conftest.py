"""An empty database of each system; the servers start once."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuse_dagster_tests.connectors.databases.writing.systems import SYSTEMS, System


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest, tmp_path: Path) -> System:
    return made(request, request.param, tmp_path)


@pytest.fixture
def postgresql(request: pytest.FixtureRequest, tmp_path: Path) -> System:
    return made(request, "postgres", tmp_path)


@pytest.fixture
def mysql(request: pytest.FixtureRequest, tmp_path: Path) -> System:
    return made(request, "mariadb", tmp_path)


def made(request: pytest.FixtureRequest, name: str, folder: Path) -> System:
    if name in {"duckdb", "sqlite"}:
        return System(name, {"path": str(folder / f"a.{name}")})
    server = request.getfixturevalue("mariadb" if name == "mariadb" else "postgres")
    login = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
    return System(name, login | {"database": server.database("writing")})
