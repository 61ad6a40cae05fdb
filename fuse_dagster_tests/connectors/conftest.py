"""The servers that stand for cloud stores; each starts once, with the first test that asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fuse_dagster_tests.servers.azurite import AzuriteServer, azurite_server, missing
from fuse_dagster_tests.servers.certificate import certificate
from fuse_dagster_tests.servers.gcs import gcs_server
from fuse_dagster_tests.servers.proxy import FaultyProxy, faulty_proxy
from fuse_dagster_tests.servers.s3 import S3Server, s3_server
from fuse_dagster_tests.servers.vault import ROOT_TOKEN, VaultServer, vault_server


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


@pytest.fixture(scope="session")
def proxy_before() -> Iterator[Callable[[int], FaultyProxy]]:
    """Gives the proxy before a port, which starts with the first test that asks for it."""
    with ExitStack() as stack:
        found: dict[int, FaultyProxy] = {}

        def before(port: int) -> FaultyProxy:
            if port not in found:
                found[port] = stack.enter_context(faulty_proxy(port))
            return found[port]

        yield before


@pytest.fixture(scope="session")
def vault_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    with vault_server(tmp_path_factory.mktemp("vault")) as server:
        yield server


@pytest.fixture
def vault(vault_process: VaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VaultServer:
    """A vault that references are resolved from while a test runs."""
    for name in ("VAULT_NAMESPACE", "VAULT_ROLE_ID", "VAULT_SECRET_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VAULT_ADDR", vault_process.address)
    monkeypatch.setenv("VAULT_TOKEN", ROOT_TOKEN)
    monkeypatch.setenv("HOME", str(tmp_path))
    return vault_process
