"""Storages as dagster-deltalake declares them, taken over as connectors, so that its users can move."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from dagster import EnvVar

from fuse_dagster.connectors.adls import ADLS
from fuse_dagster.connectors.declaring import DeclarationError, Problem
from fuse_dagster.connectors.gcs import GCS
from fuse_dagster.connectors.lake import Lake
from fuse_dagster.connectors.local import Local
from fuse_dagster.connectors.object_store import looked_up
from fuse_dagster.connectors.onelake import SECTIONS, Address, OneLake, parse
from fuse_dagster.connectors.s3 import S3
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean

_AZURE = re.compile(r"^(?P<account>[^.]+)\.(?:dfs|blob)\.core\.windows\.net$")
_SECONDS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0}


@runtime_checkable
class StorageConfig(Protocol):
    """What `AzureConfig`, `S3Config`, `GcsConfig` and `LocalConfig` of dagster-deltalake have in common."""

    provider: str

    def str_dict(self) -> dict[str, str]:
        """Storage options as delta-rs takes them."""


@dataclass(frozen=True, slots=True)
class _Address:
    """A root URI in parts; the bucket is empty where there was no URI."""

    bucket: str
    prefix: str
    host: str


def connector_of(
    config: StorageConfig, root_uri: str = "", *, client_options: object = None, schema_folder: str = ""
) -> Lake:
    """Make a connector of a storage of dagster-deltalake.

    Args:
        config: `AzureConfig`, `S3Config`, `GcsConfig` or `LocalConfig`. Fields that hold an `EnvVar` keep it.
        root_uri: Where its tables lie; not needed where the configuration names a bucket or container.
        client_options: Its `ClientConfig`, if there is one.
        schema_folder: Of the connector, see there.

    Returns:
        The connector, with the same bucket, keys and limits. `allow_unsafe_rename` and `copy_if_not_exists` are left
        out: commits rest on conditional put here, which needs neither.

    Raises:
        ConfigError: The address does not fit the configuration, or a field has no counterpart: all of them at once,
            with what to do instead.

    Examples:
        >>> from dagster_deltalake import S3Config  # doctest: +SKIP
        >>> connector_of(S3Config(region="eu-central-1"), "s3://lake/prod").uri("silver", "airports")  # doctest: +SKIP
        's3://lake/prod/silver/airports'
    """
    if config.provider not in _TAKEN:
        msg = f"`{config.provider}` is no storage of dagster-deltalake. {did_you_mean(config.provider, _TAKEN)}"
        raise ConfigError(msg)
    given = _given(config)
    client = _given(client_options) if client_options is not None else {}
    missing = _NO_COUNTERPART.get(config.provider, {})
    problems = [Problem(name, missing[name]) for name in given if name in missing]
    problems += [Problem(f"client_options.{name}", _NO_CLIENT) for name in client if name not in _CLIENT]
    if problems:
        listed = " ".join(f"`$.{problem.field}`: {problem.words}" for problem in problems)
        raise DeclarationError(f"`{type(config).__name__}` can't be taken over. {listed}", problems)
    return _TAKEN[config.provider](given, root_uri, {**_client(client), "schema_folder": schema_folder})


def _given(config: object) -> dict[str, Any]:
    """Fields that were set, by name, as they were given."""
    values = {name: getattr(config, name) for name in getattr(type(config), "model_fields", ())}
    return {name: value for name, value in values.items() if name != "provider" and value not in (None, False, "")}


def _client(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value if name == "allow_http" else _seconds(name, value) for name, value in given.items()}


def _seconds(name: str, value: object) -> float:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|)\s*", str(value))
    if found is None:
        raise ConfigError(f"`client_options.{name}` is `{value}`. Valid: seconds, as `30` or `30s`.")
    return float(found[1]) * _SECONDS[found[2]]


def _address(root_uri: str, schemes: tuple[str, ...], bucket: object, field: str) -> _Address:
    """Take a root URI apart, and hold it to the bucket of the configuration."""
    root_uri = looked_up(root_uri)
    if not root_uri:
        if not bucket:
            msg = f"Neither `root_uri` nor `{field}` says where tables lie. Give one of them."
            raise ConfigError(msg)
        return _Address(str(bucket), "", "")
    parts = urlsplit(root_uri)
    if parts.scheme not in schemes:
        valid = ", ".join(f"`{scheme}://`" for scheme in schemes)
        raise ConfigError(f"`root_uri` begins with `{parts.scheme}://`, which is another store's. Valid: {valid}.")
    name, _, host = parts.netloc.partition("@")
    if bucket and not isinstance(bucket, EnvVar) and bucket != name:
        raise ConfigError(f"`root_uri` names `{name}`, and `{field}` is `{bucket}`. Leave one of the two out.")
    return _Address(name, parts.path.strip("/"), host)


def _renamed(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names[name]: value for name, value in given.items() if name in names}


def _s3(given: Mapping[str, Any], root_uri: str, common: Mapping[str, Any]) -> Lake:
    place = _address(root_uri, ("s3", "s3a"), given.get("bucket"), "bucket")
    same = {name: name for name in ("access_key_id", "secret_access_key", "region", "endpoint")}
    fields = _renamed(given, {**same, "token": "session_token"})
    if "virtual_hosted_style_request" in given:
        fields["path_style"] = str(given["virtual_hosted_style_request"]).lower() not in {"true", "1"}
    return S3(bucket=place.bucket, prefix=place.prefix, **fields, **common)


def _gcs(given: Mapping[str, Any], root_uri: str, common: Mapping[str, Any]) -> Lake:
    place = _address(root_uri, ("gs",), given.get("bucket"), "bucket")
    names = {"service_account": "service_account", "service_account_key": "service_account"}
    return GCS(bucket=place.bucket, prefix=place.prefix, **_renamed(given, names), **common)


def _azure(given: Mapping[str, Any], root_uri: str, common: Mapping[str, Any]) -> Lake:
    names = {name: name for name in ("client_id", "client_secret", "tenant_id", "account_key")}
    fields = _renamed(given, {**names, "sas_key": "sas_token"}) | dict(common)
    if "use_azure_cli" in given:
        fields["login"] = "cli"
    if "use_fabric_endpoint" in given or "fabric.microsoft.com" in looked_up(root_uri):
        return _onelake(parse(looked_up(root_uri)), root_uri, fields)
    schemes = ("abfss", "abfs", "az", "azure", "adl")
    place = _address(root_uri, schemes, given.get("container_name"), "container_name")
    account = given["account_name"]
    found = _AZURE.match(place.host)
    if place.host and (found is None or (not isinstance(account, EnvVar) and found["account"] != account)):
        msg = f"`root_uri` lies on `{place.host}`, which is not the host of the account `{account}`. Correct one."
        raise ConfigError(msg)
    return ADLS(account=account, container=place.bucket, prefix=place.prefix, **fields)


def _onelake(place: Address, root_uri: str, fields: Mapping[str, Any]) -> Lake:
    first, _, prefix = place.path.partition("/")
    section = next((name for name in SECTIONS if name == first), None)
    if section is None:
        raise ConfigError(f"`root_uri` is `{root_uri}`, no part of an item. Valid: its `Tables` or `Files`, or below.")
    return OneLake(workspace=place.workspace, item=place.item, section=section, prefix=prefix, **fields)


def _local(_: Mapping[str, Any], root_uri: str, common: Mapping[str, Any]) -> Lake:
    root_uri = looked_up(root_uri)
    if not root_uri:
        raise ConfigError("`LocalConfig` does not say where tables lie. Give `root_uri`, the folder.")
    scheme = urlsplit(root_uri).scheme
    if scheme not in {"", "file"}:
        raise ConfigError(f"`root_uri` begins with `{scheme}://`, and `LocalConfig` is a folder of this machine.")
    root = urlsplit(root_uri).path if scheme else root_uri
    return Local(root=root, schema_folder=common["schema_folder"])


_TAKEN: dict[str, Callable[[Mapping[str, Any], str, Mapping[str, Any]], Lake]] = {
    "azure": _azure,
    "gcs": _gcs,
    "local": _local,
    "s3": _s3,
}
_CLIENT = ("allow_http", "connect_timeout", "timeout")
_NO_CLIENT = "It has no counterpart. Leave it out; proxies are taken from `HTTPS_PROXY`."
_ENVIRONMENT = "It has no counterpart. Leave it out, and set the environment variable `{}`, which is read without it."
_NO_COUNTERPART = {
    "azure": {
        "federated_token_file": _ENVIRONMENT.format("AZURE_FEDERATED_TOKEN_FILE"),
        "token": "A token holds for an hour, and can't be renewed here. Give a service principal, `use_azure_cli` "
        "or a managed identity.",
        "msi_resource_id": "It has no counterpart. Take `ADLS` with `login: managed_identity` and `client_id`.",
        "msi_endpoint": _ENVIRONMENT.format("IDENTITY_ENDPOINT"),
    },
    "gcs": {"application_credentials": _ENVIRONMENT.format("GOOGLE_APPLICATION_CREDENTIALS")},
    "s3": {
        "imdsv1_fallback": "Version 1 of the instance's metadata is not asked. Let the instance answer version 2.",
        "unsigned_payload": "It has no counterpart: what is sent is signed. Leave it out.",
        "checksum": "It has no counterpart. Leave it out.",
        "metadata_endpoint": _ENVIRONMENT.format("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
        "container_credentials_relative_uri": _ENVIRONMENT.format("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    },
}
