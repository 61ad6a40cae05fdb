"""Azure Data Lake Storage Gen2, and blob containers of Azure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.declaring import Problem, texts
from fuse_dagster.connectors.failures import in_our_words
from fuse_dagster.connectors.object_store import ObjectStore, looked_up, name_problems
from fuse_dagster.core.errors import ConfigError, MissingExtraError
from fuse_dagster.core.naming import listing

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Store

_SCOPE = "https://storage.azure.com/.default"
_OAUTH2 = "org.apache.hadoop.fs.azurebfs.oauth2"
_PRINCIPAL = ("tenant_id", "client_id", "client_secret")


class ADLS(ObjectStore):
    """A container of Azure Data Lake Storage Gen2.

    Of an account key, a SAS token and a service principal one is given. Where none is, `login` says whose is taken.

    Examples:
        >>> ADLS(account="contoso", container="lake", prefix="prod").uri("silver", "airports")
        'abfss://lake@contoso.dfs.core.windows.net/prod/silver/airports'
    """

    type: Literal["adls"] = "adls"
    account: str = Field(description="The storage account: the first word of its address.")
    container: str = Field(description="The container (file system). It has to be there already.")
    account_key: str = secrets.secret_field(description="A key of the account, which may do all there.")
    sas_token: str = secrets.secret_field(description="A signature with some rights for some time, without the `?`.")
    tenant_id: str = Field(default="", description="Of a service principal: the directory that it is in.")
    client_id: str = Field(
        default="", description="Of a service principal; or of a managed identity, where the machine has several."
    )
    client_secret: str = secrets.secret_field(description="The secret of the service principal.")
    login: Literal["default", "managed_identity", "cli"] = Field(
        default="default",
        description="Where no key, SAS or service principal is given: `default` tries what Azure's own tools try; "
        "`managed_identity` is the machine's; `cli` is that of `az login`.",
    )

    checks: ClassVar[Mapping[str, str]] = {
        "credentials": "Check `account_key`, `sas_token` (rights, end), the service principal or `login`, that "
        "it has the role Storage Blob Data Contributor, and that `account` and `container` are the ones you mean.",
        "container": "Check `container` and `account` for a typing error; or make the container.",
        "host": "Check `account` (its name is part of the host) and `endpoint`, DNS, firewalls and proxies.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """Names, one way to log in, and a service principal that is whole."""
        found = super().problems(given) + name_problems(given, "account", "container")
        if principal := texts(given, ("tenant_id", "client_secret")):
            lacks = [name for name in _PRINCIPAL if not given[name]]
            words = f"`{principal[0]}` of a service principal is given without it. Give all of {listing(_PRINCIPAL)}."
            found += [Problem(name, words) for name in lacks]
        ways = [*texts(given, ("account_key", "sas_token")), *principal[:1]]
        if len(ways) > 1:
            found.append(Problem(ways[1], f"`{ways[0]}` is given as well. Take one of the two away."))
        if ways and given["login"] != "default":
            found.append(Problem("login", f"`{ways[0]}` is given as well. Take one of the two away."))
        if not ways and given["client_id"] and given["login"] != "managed_identity":
            words = "It belongs to a service principal, or to the `login` `managed_identity`. Give the rest of either."
            found.append(Problem("client_id", words))
        return found

    @property
    def host(self) -> str:
        """The host of the account's Data Lake address, which is the account's name to both engines."""
        return f"{looked_up(self.account)}.dfs.core.windows.net"

    @property
    def root(self) -> str:
        """URI of the container, which delta-rs and Spark both understand."""
        return f"abfss://{looked_up(self.container)}@{self.host}"

    def storage_options(self) -> dict[str, str]:
        """Say what delta-rs needs to reach the container, with secrets that are resolved now.

        Raises:
            FuseError: A secret can't be resolved, or there is no login.
        """
        said = {f"azure_storage_{name}": value for name, value in self._login().items() if name != "use_azure_cli"}
        if self._is_login("cli"):
            said["azure_use_azure_cli"] = "true"
        if self.endpoint:
            said["azure_storage_endpoint"] = looked_up(self.endpoint)
        return {"azure_storage_account_name": looked_up(self.account), **said, **self.client_settings()}

    def opened(self) -> "Store":
        """The container, opened by obstore.

        Raises:
            FuseError: A secret can't be resolved, or there is no login.
        """
        from obstore.store import AzureStore

        config: Any = {"account_name": looked_up(self.account), **self._login()}
        if self.endpoint:
            config["endpoint"] = looked_up(self.endpoint)
        return AzureStore(
            looked_up(self.container),
            prefix=looked_up(self.prefix).strip("/") or None,
            config=config,
            client_options=self.client_options(),  # type: ignore[arg-type]  # a dict of them
            retry_config=self.retry_config(),  # type: ignore[arg-type]
        )

    def spark_conf(self) -> dict[str, str]:
        """Say what Spark needs to reach the account by Hadoop's ABFS, beside other accounts. Needs `hadoop-azure`.

        Raises:
            ConfigError: Hadoop knows no such login.
            FuseError: A secret can't be resolved.
        """
        if self.account_key:
            return {f"spark.hadoop.fs.azure.account.key.{self.host}": secrets.resolve(self.account_key)}
        if self.sas_token:
            said = {"account.auth.type": "SAS", "sas.fixed.token": _bare(secrets.resolve(self.sas_token))}
        elif self.client_secret:
            tenant = looked_up(self.tenant_id)
            said = {
                "account.auth.type": "OAuth",
                "account.oauth.provider.type": f"{_OAUTH2}.ClientCredsTokenProvider",
                "account.oauth2.client.id": looked_up(self.client_id),
                "account.oauth2.client.secret": secrets.resolve(self.client_secret),
                "account.oauth2.client.endpoint": f"https://login.microsoftonline.com/{tenant}/oauth2/token",
            }
        elif self.login == "managed_identity":
            said = {
                "account.auth.type": "OAuth",
                "account.oauth.provider.type": f"{_OAUTH2}.MsiTokenProvider",
                "account.oauth2.client.id": looked_up(self.client_id),
            }
        else:
            msg = (
                f"Hadoop's driver for Azure has no login `{self.login}`. For Spark give `account_key`, `sas_token`, a "
                "service principal, or `login: managed_identity`."
            )
            raise ConfigError(msg)
        return {f"spark.hadoop.fs.azure.{name}.{self.host}": value for name, value in said.items() if value}

    def _is_login(self, name: str) -> bool:
        return self.login == name and not (self.account_key or self.sas_token or self.client_secret)

    def _login(self) -> dict[str, str]:
        """The one way to log in, in the words that delta-rs and obstore share."""
        if self.account_key:
            return {"account_key": secrets.resolve(self.account_key)}
        if self.sas_token:
            return {"sas_key": _bare(secrets.resolve(self.sas_token))}
        if self.client_secret:
            return {
                "client_id": looked_up(self.client_id),
                "client_secret": secrets.resolve(self.client_secret),
                "tenant_id": looked_up(self.tenant_id),
            }
        if self.login == "managed_identity":
            return {"client_id": looked_up(self.client_id)} if self.client_id else {}
        if self.login == "cli":
            return {"use_azure_cli": "true"}
        return {"token": self._default_token()}

    def _default_token(self) -> str:
        """A token of whatever login Azure's own library finds here; it holds for about an hour."""
        try:
            from azure.identity import DefaultAzureCredential
        except ModuleNotFoundError as error:
            msg = f'This login needs the package `{error.name}`. Install it with: pip install "fuse-dagster[adls]"'
            raise MissingExtraError(msg) from error
        with in_our_words(self.address, self.checks), DefaultAzureCredential() as credential:
            return credential.get_token(_SCOPE).token


def _bare(token: str) -> str:
    """A SAS token without the `?` that portals put before it."""
    return token.strip().removeprefix("?")
