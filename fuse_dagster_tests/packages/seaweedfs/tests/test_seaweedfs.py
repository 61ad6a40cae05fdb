"""The contract suites of fuse_dagster, against the server that `SEAWEEDFS_ENDPOINT` names."""

import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest
from fuse_dagster_seaweedfs import SeaweedFS
from fuse_dagster_seaweedfs.netrc_store import Netrc

from fuse_dagster import secrets
from fuse_dagster.core.errors import ConfigError, SecretError
from fuse_dagster.testing.connectors import LakeContract, ListContract, ReadContract
from fuse_dagster.testing.object_stores import StoreContract

ENDPOINT = os.environ["SEAWEEDFS_ENDPOINT"]
KEYS = {"access_key": "lake-key-id", "secret_key": "lake-signing-key"}


@pytest.fixture
def other() -> Callable[..., SeaweedFS]:
    """Makes connectors to one empty folder of the bucket, with some fields changed."""
    fields: dict[str, Any] = {"bucket": "lake", "prefix": uuid.uuid4().hex, "endpoint": ENDPOINT, "allow_http": True}
    return lambda **changed: SeaweedFS(**fields | KEYS | changed)


@pytest.fixture
def connector(other: Callable[..., SeaweedFS]) -> SeaweedFS:
    return other()


class TestSeaweedFS(LakeContract, ListContract, ReadContract, StoreContract):
    wrong_credentials: ClassVar = {"secret_key": "something-else"}
    missing_container: ClassVar = {"bucket": "no-such-bucket"}

    @pytest.fixture
    def put(self, connector: SeaweedFS) -> Callable[[str, bytes], object]:
        key, secret = KEYS.values()
        client = boto3.client(
            "s3", endpoint_url=ENDPOINT, aws_access_key_id=key, aws_secret_access_key=secret, region_name="us-east-1"
        )
        return lambda path, data: client.put_object(Bucket="lake", Key=f"{connector.prefix}/{path}", Body=data)


def test_what_is_missing_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match=r"`\$\.endpoint`: It has to be given.* `\$\.secret_key`: It has to be given"):
        SeaweedFS(bucket="lake", access_key="env://KEY")


def test_a_netrc_file_opens_the_bucket(other: Callable[..., SeaweedFS], tmp_path: Path) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine s3.internal login lake-key-id password lake-signing-key\n")
    secrets.use(Netrc(file=str(file)))
    other(access_key="netrc://s3.internal#login", secret_key="netrc://s3.internal#password").write("a", b"1")
    with pytest.raises(SecretError, match=r"no `machine s3\.external`"):
        secrets.resolve("netrc://s3.external#password")
    file.write_text("machine s3.internal swordfish\n")
    with pytest.raises(SecretError, match="no netrc file") as caught:
        secrets.resolve("netrc://s3.internal#password?ttl=0")
    assert "swordfish" not in str(caught.value)
