"""Logins that hand out temporary credentials: the real clients of AWS and Azure against fakes of their endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fuse_dagster import ADLS, S3
from fuse_dagster.core.errors import StoreError
from fuse_dagster.testing.connectors import content
from fuse_dagster_tests.servers.logins import Logins, logins
from fuse_dagster_tests.servers.s3 import S3Server


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Logins]:
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AZURE_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    with logins() as started:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", started.address)
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{started.address}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "header")
        yield started


def test_a_role_is_assumed_and_its_keys_open_the_bucket(fake: Logins, s3: S3Server) -> None:
    lake = S3(
        bucket="lake",
        prefix="by-role",
        region="us-east-1",
        access_key_id="may-only-assume",
        secret_access_key="a-secret",
        role_arn=fake.role,
        endpoint=f"http://127.0.0.1:{s3.port}",
        allow_http=True,
    )
    lake.write("a", b"1")
    assert content(lake, "a") == b"1"
    assert fake.asked[0]["RoleArn"] == [fake.role]
    fake.keys = ("k", "s", "t")
    options = lake.storage_options()
    assert [options[f"aws_{name}"] for name in ("access_key_id", "secret_access_key", "session_token")] == [
        "k",
        "s",
        "t",
    ]


def test_a_role_that_may_not_be_assumed_says_what_to_check(fake: Logins) -> None:
    lake = S3(
        bucket="b", region="us-east-1", access_key_id="i", secret_access_key="s", role_arn="arn:aws:iam::1:role/x"
    )
    with pytest.raises(StoreError, match="`role_arn`") as caught:
        lake.storage_options()
    assert "canary" not in f"{caught.value} {caught.value.__cause__}"


def test_the_default_login_of_azure_gives_a_token(fake: Logins) -> None:
    options = ADLS(account="a", container="c").storage_options()
    assert options["azure_storage_token"] == fake.token
    asked = len(fake.asked)
    assert ADLS(account="b", container="c").storage_options()["azure_storage_token"] == fake.token
    assert len(fake.asked) == asked, "it holds for an hour, and is not asked for again"


def test_no_login_at_all_says_what_to_check(fake: Logins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    with pytest.raises(StoreError, match=r"refused to these credentials.* or `login`"):
        ADLS(account="a", container="c").storage_options()
