"""An empty database of each system; the servers start once."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuse_dagster_tests.connectors.databases.writing.systems import SYSTEMS, System
from fuse_dagster_tests.servers.postgres import missing_driver


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
    login = {"user": server.user, "password": server.password}
    host, port, database = server.host, server.port, server.database("writing")
    if name == "postgres through odbc":
        if why := missing_driver():
            pytest.skip(why)
        place = {"SERVER": host, "PORT": str(port), "DATABASE": database}
        return System(name, login | {"driver": "PostgreSQL Unicode", "system": "postgres", "attributes": place})
    return System(name, login | {"host": host, "port": port, "database": database})
