from __future__ import annotations

import base64
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl
import pytest

from fuse_dagster import ADLS
from fuse_dagster.core.errors import ConfigError, StoreError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.tables import Append, write
from fuse_dagster.testing.connectors import LakeContract, ListContract, ReadContract, content
from fuse_dagster.testing.object_stores import StoreContract
from fuse_dagster_tests.contract.files import ShownFilesContract
from fuse_dagster_tests.contract.store_faults import StoreFaultsContract
from fuse_dagster_tests.servers.azurite import ACCOUNT, CONTAINER, KEY, sas_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuse_dagster_tests.servers.azurite import AzuriteServer


@pytest.fixture
def other(azurite: AzuriteServer) -> Callable[..., ADLS]:
    """Makes connectors to one empty folder of the container, with some fields changed."""
    fields: dict[str, Any] = {
        "account": ACCOUNT,
        "container": CONTAINER,
        "prefix": uuid.uuid4().hex,
        "account_key": KEY,
        "endpoint": azurite.endpoint,
        "allow_http": True,
    }
    return lambda **changed: ADLS(**fields | changed)


@pytest.fixture
def connector(other: Callable[..., ADLS]) -> ADLS:
    return other()


class TestADLS(LakeContract, ListContract, ReadContract, StoreContract, ShownFilesContract, StoreFaultsContract):
    wrong_credentials: ClassVar = {"account_key": base64.b64encode(b"somebody else's key").decode()}
    missing_container: ClassVar = {"container": "no-such-container"}

    @pytest.fixture
    def put(self, connector: ADLS, azurite: AzuriteServer) -> Callable[[str, bytes], None]:
        return lambda path, data: azurite.put(f"{CONTAINER}/{connector.prefix}/{path}", data)


@pytest.mark.parametrize("before", ["", "?"])
def test_a_sas_token_is_enough(connector: ADLS, other: Callable[..., ADLS], before: str) -> None:
    by_sas = other(account_key="", sas_token=before + sas_token())
    by_sas.write("a", b"1")
    assert content(connector, "a") == b"1"
    table, options = by_sas.uri("table"), by_sas.storage_options()
    write(table, pl.DataFrame({"a": [1]}), Append(), storage_options=options)
    assert scan(table, storage_options=connector.storage_options()).collect().rows() == [(1,)]


def test_a_sas_token_without_the_right_is_refused_and_not_shown(other: Callable[..., ADLS]) -> None:
    token = sas_token("rl")
    may_read = other(account_key="", sas_token=token)
    acts: list[Callable[[], object]] = [
        lambda: may_read.write("a", b"1"),
        lambda: write(
            may_read.uri("t"), pl.DataFrame({"a": [1]}), Append(), storage_options=may_read.storage_options()
        ),
    ]
    for act in acts:
        with pytest.raises(StoreError, match="refused to these credentials") as caught:
            act()
        signature = token.rpartition("sig=")[2]
        assert signature not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"


def test_a_key_that_is_no_key_is_told_as_one(other: Callable[..., ADLS]) -> None:
    with pytest.raises(StoreError, match="Check `account_key`"):
        other(account_key="no base64!").write("a", b"1")


def test_three_accounts_with_three_logins_meet_in_one_session_of_spark() -> None:
    lakes = [
        ADLS(account="one", container="c", account_key="key-of-one"),
        ADLS(account="two", container="c", sas_token="?sig=two"),
        ADLS(account="three", container="c", tenant_id="t", client_id="i", client_secret="secret-of-three"),
        ADLS(account="four", container="c", login="managed_identity"),
    ]
    merged: dict[str, str] = {}
    for lake in lakes:
        conf = lake.spark_conf()
        assert conf
        assert not set(conf) & set(merged)
        merged |= conf
    azure = "spark.hadoop.fs.azure."
    assert merged[f"{azure}account.key.one.dfs.core.windows.net"] == "key-of-one"
    assert merged[f"{azure}sas.fixed.token.two.dfs.core.windows.net"] == "sig=two"
    assert merged[f"{azure}account.oauth2.client.secret.three.dfs.core.windows.net"] == "secret-of-three"
    assert merged[f"{azure}account.oauth.provider.type.four.dfs.core.windows.net"].endswith(".MsiTokenProvider")


@pytest.mark.parametrize("login", ["default", "cli"])
def test_a_login_that_hadoop_has_not_is_refused(login: str) -> None:
    with pytest.raises(ConfigError, match=f"no login `{login}`"):
        ADLS(account="a", container="c", login=login).spark_conf()


def test_each_login_is_said_in_the_words_of_delta_rs() -> None:
    names = {"account": "a", "container": "c"}
    principal = ADLS(**names, tenant_id="t", client_id="i", client_secret="s").storage_options()
    assert [principal[f"azure_storage_{name}"] for name in ("tenant_id", "client_id", "client_secret")] == [
        "t",
        "i",
        "s",
    ]
    identity = ADLS(**names, login="managed_identity", client_id="i").storage_options()
    assert identity["azure_storage_client_id"] == "i"
    assert ADLS(**names, login="cli").storage_options()["azure_use_azure_cli"] == "true"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"account_key": "k", "sas_token": "s"}, r"`\$\.sas_token`: `account_key` is given as well"),
        ({"account_key": "k", "login": "cli"}, r"`\$\.login`: `account_key` is given as well"),
        ({"tenant_id": "t"}, r"`\$\.client_id`: `tenant_id` .*`\$\.client_secret`"),
        ({"client_id": "i"}, r"`\$\.client_id`: It belongs to"),
        ({"container": "a/b", "account": ""}, r"`\$\.account`: It needs a name.* `\$\.container`: It needs a name"),
    ],
)
def test_a_login_that_is_half_or_twice_is_refused(fields: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ADLS(**{"account": "a", "container": "c", **fields})
