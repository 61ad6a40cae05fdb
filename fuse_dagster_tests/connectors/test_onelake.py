from __future__ import annotations

import sys
import uuid
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from fuse_dagster import ADLS, OneLake
from fuse_dagster.connectors.onelake import Address, parse, to_abfss, to_https, to_onelake
from fuse_dagster.core.errors import ConfigError, FuseError, StoreError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.tables import Append, write
from fuse_dagster.testing.connectors import LakeContract, ListContract, ReadContract, content
from fuse_dagster.testing.object_stores import StoreContract
from fuse_dagster_tests.contract.files import ShownFilesContract
from fuse_dagster_tests.servers.azurite import CONTAINER, ONELAKE, sas_token
from fuse_dagster_tests.servers.entra import CLIENT, SECRET, TENANT, entra_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuse_dagster_tests.servers.azurite import AzuriteServer

GUIDS = ("6f3ce9a0-52d1-4b59-9a3f-7d1c2f0a8f11", "0b0dd5a8-1b4b-4a4c-8d5e-3a1f5d8a9c77")
HOST = "onelake.dfs.fabric.microsoft.com"


@pytest.fixture
def other(azurite: AzuriteServer) -> Callable[..., OneLake]:
    """Makes connectors to one empty folder of a lakehouse, with some fields changed."""
    fields: dict[str, Any] = {
        "workspace": CONTAINER,
        "item": "sales.Lakehouse",
        "prefix": uuid.uuid4().hex,
        "sas_token": sas_token(account=ONELAKE),
        "endpoint": azurite.endpoint_of(ONELAKE),
        "allow_http": True,
    }
    return lambda **changed: OneLake(**fields | changed)


@pytest.fixture
def connector(other: Callable[..., OneLake]) -> OneLake:
    return other()


class TestOneLake(LakeContract, ListContract, ReadContract, StoreContract, ShownFilesContract):
    big = 300_000_000  # the gigabyte passes in the tests of ADLS, by the same client
    wrong_credentials: ClassVar = {"sas_token": sas_token(account=ONELAKE)[:-8] + "AAAA%3D"}
    missing_container: ClassVar = {"workspace": "no-such-workspace"}

    @pytest.fixture
    def put(self, connector: OneLake, azurite: AzuriteServer) -> Callable[[str, bytes], None]:
        folder = f"{CONTAINER}/sales.Lakehouse/Tables/{connector.prefix}"
        return lambda path, data: azurite.put(f"{folder}/{path}", data, account=ONELAKE)


def test_tables_and_files_of_an_item_lie_apart(other: Callable[..., OneLake]) -> None:
    tables, files = other(), other(section="Files")
    files.write("a", b"1")
    assert [entry.path for entry in files.list()] == ["a"]
    assert not tables.exists("a")
    assert files.uri("t") == f"abfss://{CONTAINER}@{HOST}/sales.Lakehouse/Files/{files.prefix}/t"


def test_an_item_known_by_its_guid_is_a_place_too(azurite: AzuriteServer) -> None:
    azurite.put(GUIDS[0], account=ONELAKE, restype="container")
    lake = OneLake(
        workspace=GUIDS[0],
        item=GUIDS[1],
        prefix="dbo",
        sas_token=sas_token(account=ONELAKE),
        endpoint=azurite.endpoint_of(ONELAKE),
        allow_http=True,
    )
    write(lake.uri("t"), pl.DataFrame({"a": [1]}), Append(), storage_options=lake.storage_options())
    assert lake.uri("t") == f"abfss://{GUIDS[0]}@{HOST}/{GUIDS[1]}/Tables/dbo/t"
    assert next(iter(lake.list("t/_delta_log"))).path == "t/_delta_log/00000000000000000000.json"


def test_a_service_principal_opens_it(azurite_with_tokens: AzuriteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert azurite_with_tokens.tls is not None
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(azurite_with_tokens.tls))
    with entra_server(azurite_with_tokens.tls) as fake:
        lake = OneLake(
            workspace=CONTAINER,
            item="sales.Lakehouse",
            prefix=uuid.uuid4().hex,
            tenant_id=TENANT,
            client_id=CLIENT,
            client_secret=SECRET,
            authority=fake.address,
            endpoint=azurite_with_tokens.endpoint_of(ONELAKE),
        )
        lake.write("a", b"1")
        write(lake.uri("t"), pl.DataFrame({"a": [1]}), Append(), storage_options=lake.storage_options())
        assert content(lake, "a") == b"1"
        lake.delete("a")
        assert not lake.exists("a")
        assert set(fake.asked) == {"principal"}


def test_a_notebook_of_fabric_has_a_token(azurite_with_tokens: AzuriteServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert azurite_with_tokens.tls is not None
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(azurite_with_tokens.tls))
    with entra_server(azurite_with_tokens.tls) as fake:

        def token(audience: str) -> object:
            assert audience == "storage"
            return fake.principal(
                TENANT,
                {
                    "client_id": CLIENT,
                    "client_secret": SECRET,
                    "grant_type": "client_credentials",
                    "scope": "https://storage.azure.com/.default",
                },
            )[2]["access_token"]

        utilities = ModuleType("notebookutils")
        vars(utilities)["credentials"] = SimpleNamespace(getToken=token)
        monkeypatch.setitem(sys.modules, "notebookutils", utilities)
        endpoint = azurite_with_tokens.endpoint_of(ONELAKE)
        lake = OneLake(
            workspace=CONTAINER, item="s.Lakehouse", prefix=uuid.uuid4().hex, login="fabric", endpoint=endpoint
        )
        lake.write("a", b"1")
        assert content(lake, "a") == b"1"
        lake.delete("a")
        assert not lake.exists("a")
        assert lake.spark_conf() == {}
        vars(utilities)["credentials"] = SimpleNamespace()
        with pytest.raises(StoreError, match="failed with `AttributeError`"):
            lake.storage_options()


def test_elsewhere_there_is_no_notebook() -> None:
    with pytest.raises(ConfigError, match="no notebook or job of Fabric"):
        OneLake(workspace="w", item="i.Lakehouse", login="fabric").storage_options()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sas_token": "sig=none"}, "refused to these credentials"),
        ({"workspace": "no-such-workspace"}, "not there"),
        ({"endpoint": "http://127.0.0.1:1"}, "can't be reached"),
    ],
)
def test_what_cannot_be_deleted_says_what_to_check(
    other: Callable[..., OneLake], fields: dict[str, str], said: str
) -> None:
    with pytest.raises(FuseError, match=said):
        other(**fields, retry_timeout=1.0).delete("a")


def test_delta_rs_is_sent_to_fabric() -> None:
    lake = OneLake(workspace="w", item="i.Lakehouse", sas_token="sig=x", retry_timeout=0.1, connect_timeout=1)
    options = lake.storage_options()
    assert options["azure_storage_account_name"] == "onelake"
    assert options["azure_use_fabric_endpoint"] == "true"
    del options["azure_storage_sas_key"]  # with it, delta-rs does not show where it asks
    options["azure_storage_token"] = "x"
    with pytest.raises(Exception, match=r"onelake\.blob\.fabric\.microsoft\.com"):
        DeltaTable(lake.uri("t"), storage_options=options)


def test_spark_is_told_of_the_one_account_beside_others() -> None:
    fields = {"tenant_id": "t", "client_id": "i", "client_secret": "secret-of-fabric"}
    lake = OneLake(workspace="w", item="i.Lakehouse", **fields)
    conf, adls = lake.spark_conf(), ADLS(account="a", container="c", account_key="k").spark_conf()
    assert conf[f"spark.hadoop.fs.azure.account.oauth2.client.secret.{HOST}"] == "secret-of-fabric"
    assert conf[f"spark.hadoop.fs.azure.account.auth.type.{HOST}"] == "OAuth"
    assert not set(conf) & set(adls)
    identity = OneLake(workspace="w", item="i.Lakehouse", login="managed_identity").spark_conf()
    assert identity[f"spark.hadoop.fs.azure.account.oauth.provider.type.{HOST}"].endswith(".MsiTokenProvider")
    with pytest.raises(ConfigError, match=r"no login `cli`. For Spark give `sas_token`, a service principal"):
        OneLake(workspace="w", item="i.Lakehouse", login="cli").spark_conf()


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("onelake://Sales/lake.Lakehouse/Tables/a", Address("Sales", "lake.Lakehouse", "Tables/a")),
        (f"abfss://Sales@{HOST}/lake.Lakehouse/Tables/dbo/a/", Address("Sales", "lake.Lakehouse", "Tables/dbo/a")),
        (f"abfs://Sales@{HOST}/lake.Lakehouse", Address("Sales", "lake.Lakehouse")),
        (f"https://{HOST}/My%20sales/lake.Lakehouse/Files/a%20b", Address("My sales", "lake.Lakehouse", "Files/a b")),
        (f"abfss://My%20sales@{HOST}/lake.Lakehouse/Files/a", Address("My sales", "lake.Lakehouse", "Files/a")),
        ("onelake://My sales/lake.Lakehouse/Files/100%", Address("My sales", "lake.Lakehouse", "Files/100%")),
        (f"https://westus-{HOST}/W/w.Warehouse/Tables/a?sv=1", Address("W", "w.Warehouse", "Tables/a")),
        (
            "https://onelake.blob.fabric.microsoft.com/{}/{}/Files/a".format(*GUIDS),
            Address(*GUIDS, "Files/a"),
        ),
        ("https://{}.z6f.dfs.fabric.microsoft.com/{}/{}/Files".format("6f" * 16, *GUIDS), Address(*GUIDS, "Files")),
    ],
)
def test_every_form_of_an_address_is_understood(uri: str, address: Address) -> None:
    assert parse(uri) == address
    assert parse(to_onelake(uri)) == address
    assert parse(to_https(uri)) == address
    assert address.by_guid == (address.workspace == GUIDS[0])


@given(
    st.from_regex(r"[A-Za-z0-9_.~-]{1,20}", fullmatch=True).filter(lambda name: name not in {".", ".."}),
    st.from_regex(r"[\w ü=+#?-]{1,20}\.(Lakehouse|Warehouse)", fullmatch=True).filter(str.isprintable),
    st.lists(st.text(st.characters(exclude_characters="/", exclude_categories=["C", "Z"]), min_size=1), max_size=3),
)
def test_the_forms_of_an_address_are_one(workspace: str, item: str, parts: list[str]) -> None:
    address = Address(workspace, item, "/".join(parts))
    short = "/".join(part for part in (f"onelake://{workspace}", item, address.path) if part)
    for turn in (to_abfss, to_https, to_onelake):
        assert parse(turn(short)) == address
        assert to_onelake(turn(short)) == short
    assert to_abfss(to_https(short)) == to_abfss(short)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("s3://a/b", "is no address of OneLake"),
        ("Sales/lake.Lakehouse", "is no address of OneLake"),
        ("abfss://c@contoso.dfs.core.windows.net/a", "host `contoso.dfs.core.windows.net`, which is not OneLake's"),
        (f"abfss://c@{HOST}.evil.example/a.Lakehouse", "which is not OneLake's"),
        ("onelake://Sales/lake/Tables", r"`lake` says no type. Valid: `lake.Lakehouse`"),
        (f"onelake://{GUIDS[0]}/lake.Lakehouse", "Give both by name, or both by GUID"),
        ("onelake://Sales", "It needs a name"),
    ],
)
def test_what_is_no_address_is_refused(uri: str, said: str) -> None:
    for turn in (parse, to_abfss, to_onelake, to_https):
        with pytest.raises(ConfigError, match=said):
            turn(uri)


def test_a_workspace_with_spaces_is_opened_by_guid() -> None:
    with pytest.raises(ConfigError, match=r"`My sales` holds spaces .* Give the GUIDs"):
        to_abfss("onelake://My sales/lake.Lakehouse/Tables")
    with pytest.raises(ConfigError, match=r"`\$\.workspace`: The name `My sales` holds spaces"):
        OneLake(workspace="My sales", item="lake.Lakehouse")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"item": "lake"}, r"`\$\.item`: `lake` says no type"),
        ({"item": GUIDS[1]}, r"`\$\.item`: One of `workspace` and `item` is a GUID"),
        ({"workspace": "a/b"}, r"`\$\.workspace`: It needs a name"),
        ({"sas_token": "s", "login": "cli"}, r"`\$\.login`: `sas_token` is given as well"),
        ({"client_secret": "s"}, r"`\$\.tenant_id`: `client_secret` of a service principal"),
        ({"authority": "login.microsoftonline.us"}, r"`\$\.authority`: It is no URL"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        OneLake(**{"workspace": "w", "item": "i.Lakehouse", **fields})


def test_a_write_whose_cleaning_up_is_refused_is_a_write(other: Callable[..., OneLake]) -> None:
    lake = other(retry_timeout=0.5)
    table, options = lake.uri("t"), lake.storage_options()
    # Azurite refuses batches of deletes that are signed, as OneLake refuses all batches.
    kept = {"delta.logRetentionDuration": "interval 0 days", "delta.checkpointInterval": "2"}
    write_deltalake(table, pl.DataFrame({"a": [0]}), storage_options=options, configuration=kept)
    for number in range(1, 4):
        assert write(table, pl.DataFrame({"a": [number]}), Append(), storage_options=options).version == number
    assert scan(table, storage_options=options).collect().height == 4
    with pytest.raises(OSError, match="bulk delete"):
        DeltaTable(table, storage_options=options).cleanup_metadata()
    assert scan(table, storage_options=options).collect().height == 4
