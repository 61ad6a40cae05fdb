"""The servers that stand for cloud stores; each starts once, with the first test that asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fuse_dagster_tests.servers.azurite import AzuriteServer, azurite_server, missing
from fuse_dagster_tests.servers.certificate import certificate
from fuse_dagster_tests.servers.gcs import gcs_server
from fuse_dagster_tests.servers.s3 import S3Server, s3_server


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3") / "server", others=("raw", "gold", "between")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with gcs_server(tmp_path_factory.mktemp("gcs") / "server") as server:
        yield server


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzuriteServer]:
    if reason := missing():
        pytest.skip(reason)
    with azurite_server(tmp_path_factory.mktemp("azurite") / "server") as server:
        yield server


@pytest.fixture(scope="session")
def azurite_with_tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzuriteServer]:
    """It talks TLS, and takes tokens of Entra ID."""
    if reason := missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("azurite-tls")
    with azurite_server(folder / "server", tls=certificate(folder)) as server:
        yield server
