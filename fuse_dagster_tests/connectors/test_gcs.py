from __future__ import annotations

import json
import urllib.request
import uuid
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

import pytest

from fuse_dagster import GCS, S3
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.testing.connectors import LakeContract, ListContract, ReadContract
from fuse_dagster.testing.object_stores import StoreContract
from fuse_dagster_tests.contract.files import ShownFilesContract
from fuse_dagster_tests.contract.store_faults import StoreFaultsContract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fuse_dagster_tests.servers.s3 import S3Server

# What an emulator takes for the key of a service account: nobody signs, and nobody asks Google for a token.
UNSIGNED = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": "unsigned"}


@pytest.fixture
def other(gcs: S3Server) -> Callable[..., GCS]:
    """Makes connectors to one empty folder of the bucket, with some fields changed."""
    fields: dict[str, Any] = {
        "bucket": "lake",
        "prefix": uuid.uuid4().hex,
        "service_account": json.dumps(UNSIGNED),
        "hmac_key_id": "interoperable",
        "hmac_secret": "interoperable-secret",
        "endpoint": f"http://127.0.0.1:{gcs.port}",
        "allow_http": True,
    }
    return lambda **changed: GCS(**fields | changed)


@pytest.fixture
def connector(other: Callable[..., GCS]) -> GCS:
    return other()


class TestGCS(LakeContract, ListContract, ReadContract, StoreContract, ShownFilesContract, StoreFaultsContract):
    wrong_credentials: ClassVar = {"service_account": json.dumps(UNSIGNED | {"disable_oauth": False})}
    missing_container: ClassVar = {"bucket": "no-such-bucket"}

    @pytest.fixture
    def put(self, connector: GCS) -> Callable[[str, bytes], None]:
        def write_by_others(path: str, data: bytes) -> None:
            address = f"{connector.endpoint}/lake/{connector.prefix}/{quote(path)}"
            urllib.request.urlopen(urllib.request.Request(address, data=data, method="PUT")).close()

        return write_by_others


def test_the_key_of_a_service_account_comes_from_a_file_or_from_a_reference(
    connector: GCS, other: Callable[..., GCS], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key.json"
    file.write_text(json.dumps(UNSIGNED))
    monkeypatch.setenv("LAKE_ACCOUNT", json.dumps(UNSIGNED))
    for account in (str(file), f"file://{file}", "env://LAKE_ACCOUNT"):
        same = other(service_account=account)
        same.write("a", account.encode())
        with connector.open("a") as found:
            assert found.read() == account.encode()


@pytest.mark.parametrize("account", ["/no/such/key.json", '{"half', "x" * 5000])
def test_a_key_that_is_none_is_not_shown(other: Callable[..., GCS], account: str) -> None:
    with pytest.raises(ConfigError, match="service_account") as caught:
        other(service_account=account).storage_options()
    assert account not in str(caught.value)


def test_hmac_keys_let_buckets_of_two_clouds_meet_in_one_session_of_spark(other: Callable[..., GCS]) -> None:
    one, two = other(bucket="one", endpoint="").spark_conf(), other(bucket="two", hmac_secret="2").spark_conf()
    three = S3(bucket="three", access_key_id="3", secret_access_key="3").spark_conf()
    for left, right in ((one, two), (two, three), (one, three)):
        assert not {name for name in left if name in right and left[name] != right[name]}
    assert one["spark.hadoop.fs.s3a.bucket.one.endpoint"] == "https://storage.googleapis.com"
    assert two["spark.hadoop.fs.s3a.bucket.two.secret.key"] == "2"


def test_googles_driver_takes_the_file_of_a_key_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_text("{}")
    conf = GCS(bucket="b", service_account=str(file)).spark_conf()
    assert conf["spark.hadoop.fs.gs.auth.service.account.json.keyfile"] == str(file)
    assert GCS(bucket="b").spark_conf()["spark.hadoop.fs.gs.auth.type"] == "APPLICATION_DEFAULT"
    with pytest.raises(ConfigError, match="`hmac_key_id`"):
        GCS(bucket="b", service_account="{}").spark_conf()


def test_an_hmac_key_needs_its_secret() -> None:
    with pytest.raises(ConfigError, match=r"`\$\.hmac_secret`: `hmac_key_id` is given without it"):
        GCS(bucket="b", hmac_key_id="k")
