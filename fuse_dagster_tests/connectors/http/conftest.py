from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fuse_dagster_tests.servers.rest import RestServer, rest_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def started() -> Iterator[RestServer]:
    with rest_server() as server:
        yield server


@pytest.fixture
def rest(started: RestServer) -> RestServer:
    """A server as new."""
    started.reset()
    return started
