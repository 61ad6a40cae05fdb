"""A folder or a bucket for each test; the S3 server starts once, with the first test that asks for it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuse_dagster_tests.servers.s3 import S3Server, s3_server
from fuse_dagster_tests.tables.faults.places import Place


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3") / "server") as server:
        yield server


@pytest.fixture
def disk_place(tmp_path: Path) -> Place:
    return Place(str(tmp_path / "table"))


@pytest.fixture
def s3_place(s3: S3Server) -> Place:
    return Place(s3.uri(uuid.uuid4().hex), s3.options())


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest) -> Place:
    found = request.getfixturevalue(f"{request.param}_place")
    assert isinstance(found, Place)
    return found
