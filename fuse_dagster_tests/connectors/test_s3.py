from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import boto3
import polars as pl
import pytest

from fuse_dagster import S3
from fuse_dagster.connectors.declaring import DeclarationError
from fuse_dagster.core.errors import ConfigError, StoreError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.tables import Append, write
from fuse_dagster.testing.connectors import LakeContract, ListContract, ReadContract, content
from fuse_dagster.testing.object_stores import StoreContract
from fuse_dagster_tests.contract.files import ShownFilesContract
from fuse_dagster_tests.contract.spark_on_store import SparkOnStoreContract
from fuse_dagster_tests.contract.store_faults import StoreFaultsContract

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuse_dagster_tests.servers.s3 import S3Server


@pytest.fixture
def other(s3: S3Server) -> Callable[..., S3]:
    """Makes connectors to one empty folder of the bucket, with some fields changed."""
    fields: dict[str, Any] = {
        "bucket": "lake",
        "prefix": uuid.uuid4().hex,
        "region": "us-east-1",
        "access_key_id": "lake-key-id",
        "secret_access_key": "lake-signing-key",
        "endpoint": f"http://127.0.0.1:{s3.port}",
        "allow_http": True,
    }
    return lambda **changed: S3(**fields | changed)


@pytest.fixture
def connector(other: Callable[..., S3]) -> S3:
    return other()


class TestS3(LakeContract, ListContract, ReadContract, StoreContract, ShownFilesContract, StoreFaultsContract):
    wrong_credentials: ClassVar = {"secret_access_key": "something-else"}
    missing_container: ClassVar = {"bucket": "no-such-bucket"}

    @pytest.fixture
    def put(self, connector: S3, s3: S3Server) -> Callable[[str, bytes], None]:
        client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{s3.port}",
            aws_access_key_id="lake-key-id",
            aws_secret_access_key="lake-signing-key",
            region_name="us-east-1",
        )

        def write_by_others(path: str, data: bytes) -> None:
            client.put_object(Bucket="lake", Key=f"{connector.prefix}/{path}", Body=data)

        return write_by_others


@pytest.mark.spark
class TestSparkOnS3(SparkOnStoreContract):
    wrong_credentials: ClassVar = {"secret_access_key": "something-else"}


def test_a_store_without_conditional_put_takes_files_and_no_tables(connector: S3, other: Callable[..., S3]) -> None:
    table, frame = connector.uri("table"), pl.DataFrame({"a": [1]})
    write(table, frame, Append(), storage_options=connector.storage_options())
    unsafe = other(conditional_put="none")
    options = unsafe.storage_options()
    with pytest.raises(StoreError, match=r"no conditional put.* Nothing was written"):
        write(table, frame, Append(), storage_options=options)
    with pytest.raises(StoreError, match=r"no conditional put.* Nothing was written"):
        write(unsafe.uri("new"), frame, Append(), storage_options=options | {"AWS_S3_ALLOW_UNSAFE_RENAME": "true"})
    assert scan(table, storage_options=options).collect().rows() == [(1,)]
    unsafe.write("a.csv", b"1")
    assert content(unsafe, "a.csv") == b"1"


def test_markers_of_folders_are_no_files(connector: S3) -> None:
    connector.write("in/a", b"1")
    import obstore

    obstore.put(connector.opened(), "in", b"")
    connector.write("in/empty", b"")
    assert [entry.path for entry in connector.list()] == ["in/a", "in/empty"]


def test_a_profile_gives_keys_and_region(
    connector: S3, other: Callable[..., S3], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "credentials"
    files.write_text(
        "[team]\naws_access_key_id = lake-key-id\naws_secret_access_key = lake-signing-key\nregion = eu-west-3\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(files))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    by_profile = other(profile="team", access_key_id="", secret_access_key="", region="")
    by_profile.write("a", b"1")
    assert content(connector, "a") == b"1"
    assert by_profile.storage_options()["aws_region"] == "eu-west-3"
    assert by_profile.storage_options()["aws_secret_access_key"] == "lake-signing-key"
    with pytest.raises(ConfigError, match="no AWS profile `tem`"):
        other(profile="tem", access_key_id="", secret_access_key="").storage_options()


def test_three_buckets_with_three_keys_meet_in_one_session_of_spark() -> None:
    confs = [
        S3(bucket=name, access_key_id=f"{name}-id", secret_access_key=f"{name}-secret", endpoint=f"https://{name}.org")
        for name in ("one", "two", "three")
    ]
    merged: dict[str, str] = {}
    for each in confs:
        conf = each.spark_conf()
        assert not {name for name in conf if name in merged and merged[name] != conf[name]}
        merged |= conf
    for name in ("one", "two", "three"):
        assert merged[f"spark.hadoop.fs.s3a.bucket.{name}.secret.key"] == f"{name}-secret"
        assert merged[f"spark.hadoop.fs.s3a.bucket.{name}.endpoint"] == f"https://{name}.org"


def test_spark_assumes_a_role_by_itself_so_that_long_sessions_last() -> None:
    conf = S3(bucket="b", role_arn="arn:aws:iam::1:role/r", access_key_id="i", secret_access_key="s").spark_conf()
    bucket = "spark.hadoop.fs.s3a.bucket.b."
    assert conf[f"{bucket}assumed.role.arn"] == "arn:aws:iam::1:role/r"
    assert conf[f"{bucket}aws.credentials.provider"].endswith(".AssumedRoleCredentialProvider")
    assert conf[f"{bucket}assumed.role.credentials.provider"].endswith(".SimpleAWSCredentialsProvider")


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        S3(bukcet="x", access_key_id="k", endpoint="http://here", timeout=-1, prefix="a//b", conditional_put="maybe")
    said = str(caught.value)
    assert isinstance(caught.value, DeclarationError)
    assert {problem.field for problem in caught.value.problems} >= {"bukcet", "timeout"}
    for field in ("bukcet", "bucket", "secret_access_key", "endpoint", "timeout", "prefix", "conditional_put"):
        assert f"`$.{field}`: " in said
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_value_that_is_refused_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        S3(bucket="b", secret_access_key={"planted": "canary"})
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "fields", [{"session_token": "t"}, {"profile": "p", "access_key_id": "i", "secret_access_key": "s"}]
)
def test_one_way_to_log_in_is_enough(fields: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"can't be declared so"):
        S3(bucket="b", **fields)
