"""Azure's clients against fakes of Key Vault, over TLS, and of a managed identity's token endpoint."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fuse_dagster.core.errors import SecretError, SecretStoreError
from fuse_dagster.secrets.keyvault import KeyVault
from fuse_dagster.secrets.resolving import Resolver
from fuse_dagster_tests.contract.cloud_store import CloudStoreContract
from fuse_dagster_tests.servers.secret_stores import Stores, fake_stores


class TestKeyVault(CloudStoreContract):
    reference = "keyvault://tapes/s3-key"
    name = "s3-key"
    version = "version"
    busy = (429, 500, 503)
    wrong = ("keyvault://tapes", "keyvault://tapes/a_b", "keyvault://t/a", "keyvault://tapes.evil.test/a")
    module = "azure.keyvault.secrets"

    @pytest.fixture
    def fake(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
        for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"):
            monkeypatch.delenv(name, raising=False)
        look_up = socket.getaddrinfo

        def names_below_localhost(host: Any, *rest: Any, **more: Any) -> Any:
            return look_up("127.0.0.1" if str(host).endswith(".localhost") else host, *rest, **more)

        monkeypatch.setattr(socket, "getaddrinfo", names_below_localhost)
        with fake_stores() as identity, fake_stores(tls=tmp_path) as stores:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "cert.pem"))
            monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{identity.port}/identity/token")
            monkeypatch.setenv("IDENTITY_HEADER", "canary-header")
            yield stores

    @pytest.fixture
    def store(self, fake: Stores) -> KeyVault:
        return KeyVault(address=f"https://{{vault}}.localhost:{fake.port}")

    def test_no_login_is_said(self, resolver: Resolver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.delenv("IDENTITY_ENDPOINT")
        monkeypatch.delenv("IDENTITY_HEADER")
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
        self._fails(resolver, SecretError, "no Azure credential works here. Log in with `az login`")

    def test_a_vault_that_is_not_there_is_an_error_to_try_again(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            resolver = Resolver()
            resolver.use(KeyVault(address=f"https://{{vault}}.localhost:{taken.getsockname()[1]}"))
            self._fails(resolver, SecretStoreError, "does not answer")

    def test_the_address_is_that_of_the_public_cloud(self) -> None:
        assert KeyVault().address.format(vault="tapes") == "https://tapes.vault.azure.net"
