"""boto3 against a fake of AWS Secrets Manager."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fuse_dagster.core.errors import SecretError
from fuse_dagster.secrets.aws_secrets import AwsSecrets
from fuse_dagster.secrets.resolving import Resolver
from fuse_dagster_tests.contract.cloud_store import CloudStoreContract
from fuse_dagster_tests.servers.secret_stores import Stores, fake_stores


class TestAwsSecrets(CloudStoreContract):
    reference = "aws-secrets://lake/s3"
    name = "lake/s3"
    version = "version"
    older = "a1b2c3d4-5678-90ab-cdef-EXAMPLE11111"
    busy = (400, 500)  # it throttles with 400
    module = "boto3"

    @pytest.fixture
    def fake(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
        for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-key")
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with fake_stores() as stores:
            monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", f"http://127.0.0.1:{stores.port}")
            yield stores

    @pytest.fixture
    def store(self, fake: Stores) -> AwsSecrets:
        return AwsSecrets()

    def test_a_stage_is_read(self, fake: Stores, resolver: Resolver) -> None:
        fake.values["lake/s3@AWSPREVIOUS"] = "old"
        assert resolver.resolve("aws-secrets://lake/s3?stage=AWSPREVIOUS&region=eu-west-1") == "old"

    def test_a_binary_secret_is_read_as_text(self, fake: Stores, resolver: Resolver) -> None:
        fake.values["lake/s3"] = "binary:swordfish"
        assert resolver.resolve(self.reference) == "swordfish"
        fake.values["lake/b"] = "binary:\xff\xfe"
        with pytest.raises(SecretError, match="no text in UTF-8"):
            resolver.resolve("aws-secrets://lake/b")

    def test_a_version_that_aws_does_not_allow_is_said(self, resolver: Resolver) -> None:
        with pytest.raises(SecretError, match="AWS allows no such name or version"):
            resolver.resolve(f"{self.reference}?version=2")

    def test_no_login_and_no_region_are_said(self, resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        self._fails(resolver, SecretError, "no AWS credentials are found here. Run `aws sso login`")
        monkeypatch.delenv("AWS_REGION")
        self._fails(resolver, SecretError, "no AWS region is set. Set `AWS_REGION`")
