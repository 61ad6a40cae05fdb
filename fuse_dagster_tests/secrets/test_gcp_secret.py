"""Google's client against a fake of Secret Manager."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fuse_dagster.core.errors import SecretError
from fuse_dagster.secrets.gcp_secret import GcpSecret
from fuse_dagster.secrets.resolving import Resolver
from fuse_dagster_tests.contract.cloud_store import CloudStoreContract
from fuse_dagster_tests.servers.secret_stores import Stores, fake_stores


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a service account, whose key signs what the client sends; the fake doesn't check it."""
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path_factory.mktemp("account") / "account.json"
    facts = {
        "type": "service_account",
        "project_id": "tapes",
        "client_email": "reader@tapes.test",
        "private_key": pem.decode(),
        "private_key_id": "1",
        "token_uri": "http://127.0.0.1:1/token",
    }
    file.write_text(json.dumps(facts))
    return file


class TestGcpSecret(CloudStoreContract):
    reference = "gcp-secret://tapes/s3-key"
    name = "tapes/s3-key"
    version = "version"
    forbidden = (401, 403)
    busy = (429, 500, 503)
    wrong = ("gcp-secret://tapes", "gcp-secret://tapes/", "gcp-secret://tapes/s3/key")
    module = "google.cloud.secretmanager"

    @pytest.fixture
    def fake(self, account: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
        with fake_stores() as stores:
            yield stores

    @pytest.fixture
    def store(self, fake: Stores) -> GcpSecret:
        return GcpSecret(endpoint=f"http://127.0.0.1:{fake.port}")

    def test_a_secret_that_is_no_text_is_said(self, fake: Stores, resolver: Resolver) -> None:
        fake.values["tapes/s3-key"] = "binary:\xff\xfeswordfish"
        self._fails(resolver, SecretError, "no text in UTF-8")

    def test_no_login_is_said(self, resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none"))
        self._fails(resolver, SecretError, "no Google credentials work here. Run `gcloud auth")
