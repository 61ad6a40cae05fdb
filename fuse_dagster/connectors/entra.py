"""Logins with Microsoft Entra ID, which Azure's stores share: what a connector says, for each library that asks.

Protocols: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow and
https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from fuse_dagster import secrets
from fuse_dagster.connectors.declaring import Problem, texts
from fuse_dagster.connectors.failures import in_our_words
from fuse_dagster.connectors.object_store import is_plain, looked_up
from fuse_dagster.core.errors import ConfigError, MissingExtraError
from fuse_dagster.core.naming import listing

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential
    from obstore.store import ObjectStore as Store

AUTHORITY = "https://login.microsoftonline.com"
SCOPE = "https://storage.azure.com/.default"
"""What tokens are asked for: Azure's stores, and OneLake, take those of the audience Azure Storage."""

TENANT = "Of a service principal: the directory that it is in."
CLIENT = "Of a service principal; or of a managed identity, where the machine has several."
SECRET = "The secret of the service principal."  # noqa: S105 - it describes the field
LOGIN = (
    "Where nothing else is given: `default` tries what Azure's own tools try; `managed_identity` is the machine's; "
    "`cli` is that of `az login`."
)
AUTHORITY_IS = (
    "URL that hands out tokens in the clouds of governments and countries, as https://login.chinacloudapi.cn."
)

_OAUTH2 = "org.apache.hadoop.fs.azurebfs.oauth2"
_PRINCIPAL = ("tenant_id", "client_id", "client_secret")
_TOLD_BY = ("AZURE_", "IDENTITY_", "MSI_", "IMDS_")


class SaysWho(Protocol):
    """The fields of a connector that say who logs in."""

    @property
    def extra(self) -> str:
        """The extra that brings Azure's library for logins."""

    @property
    def tenant_id(self) -> str:
        """The directory of a service principal."""

    @property
    def client_id(self) -> str:
        """Of a service principal or a managed identity."""

    @property
    def client_secret(self) -> str:
        """A secret: of the service principal."""

    @property
    def login(self) -> str:
        """`default`, `managed_identity` or `cli`."""

    @property
    def authority(self) -> str:
        """URL that hands out tokens; empty for the public cloud's."""

    @property
    def checks(self) -> Mapping[str, str]:
        """Kind of failure -> what to look at."""

    @property
    def address(self) -> str:
        """URI of what it holds."""


class SaysLogin(SaysWho, Protocol):
    """The fields of a connector that say whose login is taken: somebody's, or that of a signature."""

    @property
    def sas_token(self) -> str:
        """A secret: a signature."""


def problems(given: Mapping[str, Any], *keys: str) -> list[Problem]:
    """One way to log in, and a service principal that is whole.

    Args:
        given: All fields by name, as declared.
        *keys: The fields that are a way to log in by themselves.
    """
    found: list[Problem] = []
    if principal := texts(given, ("tenant_id", "client_secret")):
        lacks = [name for name in _PRINCIPAL if not given[name]]
        words = f"`{principal[0]}` of a service principal is given without it. Give all of {listing(_PRINCIPAL)}."
        found += [Problem(name, words) for name in lacks]
    ways = [*texts(given, keys), *principal[:1]]
    if len(ways) > 1:
        found.append(Problem(ways[1], f"`{ways[0]}` is given as well. Take one of the two away."))
    if ways and given["login"] != "default":
        found.append(Problem("login", f"`{ways[0]}` is given as well. Take one of the two away."))
    if not ways and given["client_id"] and given["login"] != "managed_identity":
        words = "It belongs to a service principal, or to the `login` `managed_identity`. Give the rest of either."
        found.append(Problem("client_id", words))
    authority = given["authority"]
    if authority and is_plain(authority) and not authority.startswith(("https://", "http://")):
        found.append(Problem("authority", f"It is no URL. Valid: `{AUTHORITY}`, or that of another cloud."))
    return found


def options(says: SaysLogin) -> dict[str, str]:
    """The login in the words that delta-rs and obstore share; delta-rs wants `azure_storage_` before each.

    With a service principal, a managed identity or the Azure CLI both libraries fetch tokens themselves, and anew when
    one runs out. `default` hands them a token that holds for about an hour.

    Raises:
        FuseError: A secret can't be resolved, or there is no login.
    """
    authority = {"authority_host": looked_up(says.authority)} if says.authority else {}
    if says.sas_token:
        return {"sas_key": bare(secrets.resolve(says.sas_token))}
    if says.client_secret:
        return authority | {
            "client_id": looked_up(says.client_id),
            "client_secret": secrets.resolve(says.client_secret),
            "tenant_id": looked_up(says.tenant_id),
        }
    if says.login == "managed_identity":
        said = {"client_id": looked_up(says.client_id)} if says.client_id else {}
        # App Service, Functions and Container Apps have an endpoint of their own, which delta-rs does not look up.
        endpoint = os.environ.get("IDENTITY_ENDPOINT")
        return said | ({"msi_endpoint": endpoint} if endpoint else {})
    if says.login == "cli":
        return {"use_azure_cli": "true"}
    return {"token": token(says)}


def for_delta_rs(said: Mapping[str, str]) -> dict[str, str]:
    """Options of `options` under the names that delta-rs gives them."""
    named = {"use_azure_cli": "azure_use_azure_cli", "msi_endpoint": "azure_msi_endpoint"}
    return {named.get(name, f"azure_storage_{name}"): value for name, value in said.items()}


def hadoop(says: SaysLogin, host: str, *keys: str) -> dict[str, str]:
    """The login as Hadoop's ABFS takes it for one account, beside other accounts.

    Args:
        says: The connector.
        host: Of the account, as its URIs name it.
        *keys: The fields that are a way to log in by themselves, for the error.

    Raises:
        ConfigError: Hadoop knows no such login.
        FuseError: A secret can't be resolved.
    """
    if says.sas_token:
        said = {"account.auth.type": "SAS", "sas.fixed.token": bare(secrets.resolve(says.sas_token))}
    elif says.client_secret:
        authority = (looked_up(says.authority) or AUTHORITY).rstrip("/")
        said = {
            "account.auth.type": "OAuth",
            "account.oauth.provider.type": f"{_OAUTH2}.ClientCredsTokenProvider",
            "account.oauth2.client.id": looked_up(says.client_id),
            "account.oauth2.client.secret": secrets.resolve(says.client_secret),
            "account.oauth2.client.endpoint": f"{authority}/{looked_up(says.tenant_id)}/oauth2/token",
        }
    elif says.login == "managed_identity":
        said = {
            "account.auth.type": "OAuth",
            "account.oauth.provider.type": f"{_OAUTH2}.MsiTokenProvider",
            "account.oauth2.client.id": looked_up(says.client_id),
        }
    else:
        msg = (
            f"Hadoop's driver for Azure has no login `{says.login}`. For Spark give {listing(keys)}, a service "
            "principal, or `login: managed_identity`."
        )
        raise ConfigError(msg)
    return {f"spark.hadoop.fs.azure.{name}.{host}": value for name, value in said.items() if value}


def opened(
    container: str,
    prefix: str,
    *,
    config: Mapping[str, str],
    client_options: Mapping[str, Any],
    retry_config: Mapping[str, Any],
) -> Store:
    """A container, opened by obstore once per process and kept with its connections and its token.

    Args:
        container: Its name.
        prefix: The folder in it below which paths start.
        config: What obstore is to know of the account and the login.
        client_options: How it is to talk HTTP.
        retry_config: How it is to try again.
    """
    settings = (tuple(sorted(each.items())) for each in (config, client_options, retry_config))
    return _opened(os.getpid(), container, prefix, *settings)


@lru_cache(maxsize=16)
def _opened(process: int, container: str, prefix: str, *settings: tuple[tuple[str, Any], ...]) -> Store:
    del process  # a child of this process makes its own: connections don't survive a fork
    from obstore.store import AzureStore

    config, client_options, retry_config = (dict(each) for each in settings)
    said: dict[str, Any] = {"config": config, "client_options": client_options, "retry_config": retry_config}
    return AzureStore(container, prefix=prefix or None, **said)


def bare(token: str) -> str:
    """A SAS token without the `?` that portals put before it."""
    return token.strip().removeprefix("?")


def token(says: SaysWho) -> str:
    """A token for storage; see `access`.

    Raises:
        FuseError: A secret can't be resolved, or there is no login.
    """
    return access(says, SCOPE).token


def access(says: SaysWho, scope: str) -> AccessToken:
    """A token and when it runs out, by Azure's own library, which keeps it until shortly before.

    Args:
        says: The connector.
        scope: What it is for, as `https://storage.azure.com/.default`.

    Raises:
        FuseError: A secret can't be resolved, or there is no login.
    """
    told = {name: value for name, value in os.environ.items() if name.startswith(_TOLD_BY)}
    principal = tuple(looked_up(each) for each in (says.tenant_id, says.client_id))
    secret = secrets.resolve(says.client_secret) if says.client_secret else ""
    whose = (says.login, *principal, secret)
    try:
        credential = _credential(tuple(sorted(told.items())), looked_up(says.authority), *whose)
    except ModuleNotFoundError as error:
        msg = f'This login needs the package `{error.name}`. Install it with: pip install "fuse-dagster[{says.extra}]"'
        raise MissingExtraError(msg) from error
    with in_our_words(says.address, says.checks):
        return credential.get_token(scope)


@lru_cache(maxsize=8)
def _credential(told: tuple[tuple[str, str], ...], authority: str, *whose: str) -> TokenCredential:
    """Who asks for tokens, kept for the tokens that it keeps."""
    del told  # where the environment says something else, somebody else is meant
    from azure import identity

    # Who names an authority trusts it: it need not be one of those that Microsoft lists.
    named: dict[str, Any] = {"authority": authority, "disable_instance_discovery": True} if authority else {}
    login, tenant, client, secret = whose
    if secret:
        return identity.ClientSecretCredential(tenant, client, secret, **named)
    if login == "managed_identity":
        return identity.ManagedIdentityCredential(client_id=client or None)
    if login == "cli":
        return identity.AzureCliCredential()
    return identity.DefaultAzureCredential(**named)
