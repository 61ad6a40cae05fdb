"""Databricks' client against a fake of a workspace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fuse_dagster.core.errors import SecretError
from fuse_dagster.secrets.databricks_secret import DatabricksSecret
from fuse_dagster.secrets.resolving import Resolver
from fuse_dagster_tests.contract.cloud_store import CloudStoreContract
from fuse_dagster_tests.servers.secret_stores import Stores, fake_stores


class TestDatabricksSecret(CloudStoreContract):
    reference = "databricks-secret://lake/s3-key"
    name = "lake/s3-key"
    forbidden = (400, 403)
    busy = (500,)
    wrong = ("databricks-secret://lake", "databricks-secret://lake/", "databricks-secret://lake/s3/key")
    module = "databricks.sdk"

    @pytest.fixture
    def fake(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
        with fake_stores() as stores:
            monkeypatch.setenv("DATABRICKS_HOST", f"http://127.0.0.1:{stores.port}")
            monkeypatch.setenv("DATABRICKS_TOKEN", "canary-token")
            monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none"))
            yield stores

    @pytest.fixture
    def store(self, fake: Stores) -> DatabricksSecret:
        return DatabricksSecret()

    def test_a_secret_that_is_no_text_is_said(self, fake: Stores, resolver: Resolver) -> None:
        fake.values["lake/s3-key"] = "binary:\xff\xfeswordfish"
        self._fails(resolver, SecretError, "no text in UTF-8")

    def test_no_login_is_said(self, resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("DATABRICKS_TOKEN")
        self._fails(resolver, SecretError, "no Databricks login works here. Set `DATABRICKS_HOST`")
