"""Who comes from dagster-deltalake changes one import: what was written is found, and goes on."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster_deltalake import AzureConfig, GcsConfig, LocalConfig, S3Config
from dagster_deltalake.config import ClientConfig
from dagster_deltalake_polars import DeltaLakePolarsIOManager

from fuse_dagster import ADLS, GCS, S3, DeltaIOManager, DeltaTables, Local, OneLake
from fuse_dagster.connectors.deltalake_configs import connector_of
from fuse_dagster.core.errors import ConfigError


@dg.asset(key_prefix=["silver"])
def planes() -> pl.DataFrame:
    return pl.DataFrame({"tailnum": ["N10156", "N102UW"], "seats": [55, 182]})


@dg.asset
def carriers() -> pl.DataFrame:
    return pl.DataFrame({"carrier": ["UA"]})


@dg.asset(ins={"planes": dg.AssetIn(["silver", "planes"])})
def seats(planes: pl.DataFrame, carriers: pl.DataFrame) -> pl.DataFrame:
    return planes.select(pl.col("seats").sum(), carriers=pl.lit(carriers.height))


def materialize(assets: list[dg.AssetsDefinition], io_manager: Any, *, selection: str | None = None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the other package, which is not ours to mend
        result = dg.materialize(assets, resources={"io_manager": io_manager}, selection=selection)
    assert result.success


def test_tables_are_found_where_the_other_io_manager_left_them(tmp_path: Path) -> None:
    root = str(tmp_path / "lake")
    materialize([planes, carriers], DeltaLakePolarsIOManager(root_uri=root, storage_options=LocalConfig()))
    ours = DeltaIOManager(root_uri=root, storage_options=LocalConfig())
    materialize([planes, carriers, seats], ours, selection="seats")
    assert pl.read_delta(f"{root}/public/seats").rows() == [(237, 1)]
    materialize([planes, carriers, seats], ours)
    assert sorted(str(log.parent.relative_to(root)) for log in Path(root).rglob("_delta_log")) == [
        "public/carriers",
        "public/seats",
        "silver/planes",
    ]


def test_the_resource_takes_the_same_arguments(tmp_path: Path) -> None:
    root = str(tmp_path / "lake")
    materialize([planes, carriers], DeltaLakePolarsIOManager(root_uri=root, storage_options=LocalConfig()))
    tables = DeltaTables(root_uri=root, storage_options=LocalConfig())
    assert tables.read("carriers").collect().rows() == [("UA",)]
    assert tables.read("silver/planes").collect().height == 2


def test_a_storage_stands_for_the_lake_itself(tmp_path: Path) -> None:
    lake = DeltaIOManager(lake=S3Config(bucket="lake", access_key_id="id", secret_access_key="signing-key")).lake
    assert isinstance(lake, S3)
    assert lake.table_uri("carriers") == "s3://lake/carriers"
    with pytest.raises(ConfigError, match="`LocalConfig` does not say where tables lie"):
        DeltaIOManager(lake=LocalConfig())


def test_a_key_of_three_parts_is_refused_rather_than_laid_elsewhere(tmp_path: Path) -> None:
    lake = DeltaIOManager(root_uri=str(tmp_path), storage_options=LocalConfig()).lake
    with pytest.raises(ConfigError, match="dagster-deltalake made the folder `b/c`"):
        lake.table_uri("a", "b", "c")


def test_what_has_no_counterpart_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as failure:
        DeltaIOManager(root_uri="lake", mode="append", schema="sales", table_config={"delta.appendOnly": "true"})
    message = str(failure.value)
    for part in ("`mode`: `append`", 'key_prefix=["sales"]', "`table_config`", "`storage_options`: It belongs"):
        assert part in message.replace("'", '"'), message
    with pytest.raises(ConfigError, match="Give these, or `lake`"):
        DeltaIOManager(root_uri="lake", storage_options=LocalConfig(), lake=Local(root="lake"))


def test_an_azure_configuration_becomes_adls() -> None:
    config = AzureConfig(account_name="contoso", client_id="id", client_secret="env://SECRET", tenant_id="tenant")
    lake = connector_of(config, "abfss://lake@contoso.dfs.core.windows.net/prod")
    assert lake == ADLS(
        account="contoso",
        container="lake",
        prefix="prod",
        client_id="id",
        client_secret="env://SECRET",
        tenant_id="tenant",
    )
    by_cli = connector_of(AzureConfig(account_name="contoso", use_azure_cli=True, container_name="lake"))
    assert by_cli == ADLS(account="contoso", container="lake", login="cli")
    assert connector_of(AzureConfig(account_name="contoso", sas_key="env://SAS"), "az://lake") == ADLS(
        account="contoso", container="lake", sas_token="env://SAS"
    )


def test_an_azure_configuration_of_fabric_becomes_onelake() -> None:
    config = AzureConfig(account_name="onelake", use_fabric_endpoint=True, use_azure_cli=True)
    root = "abfss://Sales@onelake.dfs.fabric.microsoft.com/lake.Lakehouse"
    assert connector_of(config, f"{root}/Tables/dbo") == OneLake(
        workspace="Sales", item="lake.Lakehouse", prefix="dbo", login="cli"
    )
    with pytest.raises(ConfigError, match="no part of an item"):
        connector_of(config, root)
    with pytest.raises(ConfigError, match="account_key"):
        connector_of(AzureConfig(account_name="onelake", account_key="env://KEY"), f"{root}/Files")


def test_an_s3_configuration_becomes_s3() -> None:
    config = S3Config(
        access_key_id="env://ID",
        secret_access_key="env://SECRET",
        token="env://TOKEN",
        endpoint="http://minio:9000",
        virtual_hosted_style_request="true",
        allow_unsafe_rename=True,
    )
    lake = connector_of(config, "s3a://lake/prod", client_options=ClientConfig(allow_http=True, timeout="2m"))
    assert lake == S3(
        bucket="lake",
        prefix="prod",
        access_key_id="env://ID",
        secret_access_key="env://SECRET",
        session_token="env://TOKEN",
        endpoint="http://minio:9000",
        path_style=False,
        allow_http=True,
        timeout=120,
    )


def test_a_gcs_configuration_becomes_gcs() -> None:
    assert connector_of(GcsConfig(service_account="/keys/lake.json"), "gs://lake/prod") == GCS(
        bucket="lake", prefix="prod", service_account="/keys/lake.json"
    )


def test_a_variable_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKE_ROOT", "s3://lake/prod")
    keys = S3Config(access_key_id=dg.EnvVar("LAKE_ID"), secret_access_key=dg.EnvVar("LAKE_SECRET"))
    lake = connector_of(keys, dg.EnvVar("LAKE_ROOT"))
    assert isinstance(lake, S3)
    assert isinstance(lake.secret_access_key, dg.EnvVar)
    assert lake.uri("a") == "s3://lake/prod/a"


@pytest.mark.parametrize(
    ("config", "root_uri", "words"),
    [
        (S3Config(), "", "Neither `root_uri` nor `bucket` says where tables lie"),
        (S3Config(bucket="raw"), "s3://lake", "`root_uri` names `lake`, and `bucket` is `raw`"),
        (S3Config(), "gs://lake", "begins with `gs://`, which is another store's. Valid: `s3://`, `s3a://`"),
        (S3Config(unsigned_payload=True, checksum="sha256"), "s3://lake", r"unsigned_payload.*\$\.checksum"),
        (AzureConfig(account_name="contoso", token="abc"), "az://lake", "A token holds for an hour"),
        (
            AzureConfig(account_name="contoso"),
            "abfss://lake@other.dfs.core.windows.net/",
            "not the host of",
        ),
        (GcsConfig(application_credentials="x.json"), "gs://lake", "GOOGLE_APPLICATION_CREDENTIALS"),
        (LocalConfig(), "s3://lake", "`LocalConfig` is a folder of this machine"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(config: Any, root_uri: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as failure:
        connector_of(config, root_uri)
    assert "abc" not in str(failure.value)


def test_a_client_option_without_counterpart_is_refused() -> None:
    with pytest.raises(ConfigError, match="proxy_url"):
        connector_of(S3Config(), "s3://lake", client_options=ClientConfig(proxy_url="http://proxy"))
    with pytest.raises(ConfigError, match=r"`client_options.timeout` is `soon`"):
        connector_of(S3Config(), "s3://lake", client_options=ClientConfig(timeout="soon"))
