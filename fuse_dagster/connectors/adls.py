"""Azure Data Lake Storage Gen2, and blob containers of Azure."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors import entra
from fuse_dagster.connectors.declaring import Problem
from fuse_dagster.connectors.hadoop import ABFS_PACKAGES
from fuse_dagster.connectors.object_store import ObjectStore, looked_up, name_problems

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Store

_KEYS = ("account_key", "sas_token")


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
    tenant_id: str = Field(default="", description=entra.TENANT)
    client_id: str = Field(default="", description=entra.CLIENT)
    client_secret: str = secrets.secret_field(description=entra.SECRET)
    login: Literal["default", "managed_identity", "cli"] = Field(default="default", description=entra.LOGIN)
    authority: str = Field(default="", description=entra.AUTHORITY_IS)

    extra: ClassVar[str] = "adls"
    checks: ClassVar[Mapping[str, str]] = {
        "credentials": "Check `account_key`, `sas_token` (rights, end), the service principal or `login`, that "
        "it has the role Storage Blob Data Contributor, and that `account` and `container` are the ones you mean.",
        "container": "Check `container` and `account` for a typing error; or make the container.",
        "host": "Check `account` (its name is part of the host) and `endpoint`, DNS, firewalls and proxies.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """Names, one way to log in, and a service principal that is whole."""
        names = name_problems(given, "account", "container")
        return super().problems(given) + names + entra.problems(given, *_KEYS)

    @property
    def host(self) -> str:
        """The host of the account's Data Lake address, which is the account's name to both engines."""
        return f"{looked_up(self.account)}.dfs.core.windows.net"

    @property
    def root(self) -> str:
        """URI of the container, which delta-rs and Spark both understand."""
        return f"abfss://{looked_up(self.container)}@{self.host}"

    @property
    def service(self) -> str:
        """URL of the endpoint, or of the account."""
        return super().service or f"https://{self.host}"

    def storage_options(self) -> dict[str, str]:
        """Say what delta-rs needs to reach the container, with secrets that are resolved now.

        Raises:
            FuseError: A secret can't be resolved, or there is no login.
        """
        said = entra.for_delta_rs(self._login())
        if self.endpoint:
            said["azure_storage_endpoint"] = looked_up(self.endpoint)
        return {"azure_storage_account_name": looked_up(self.account), **said, **self.client_settings()}

    def opened(self) -> "Store":
        """The container, opened by obstore.

        Raises:
            FuseError: A secret can't be resolved, or there is no login.
        """
        config = {"account_name": looked_up(self.account), **self._login()}
        if self.endpoint:
            config["endpoint"] = looked_up(self.endpoint)
        prefix = looked_up(self.prefix).strip("/")
        container = looked_up(self.container)
        http, retry = self.client_options(), self.retry_config()
        return entra.opened(container, prefix, config=config, client_options=http, retry_config=retry)

    def spark_conf(self) -> dict[str, str]:
        """Say what Spark needs to reach the account by Hadoop's ABFS, beside other accounts.

        Raises:
            ConfigError: Hadoop knows no such login.
            FuseError: A secret can't be resolved.
        """
        if self.account_key:
            return {f"spark.hadoop.fs.azure.account.key.{self.host}": secrets.resolve(self.account_key)}
        return entra.hadoop(self, self.host, *_KEYS)

    def spark_packages(self) -> tuple[str, ...]:
        """Say which jars ABFS needs: 3 MB."""
        return ABFS_PACKAGES

    def _login(self) -> dict[str, str]:
        """The one way to log in, in the words that delta-rs and obstore share."""
        return {"account_key": secrets.resolve(self.account_key)} if self.account_key else entra.options(self)
