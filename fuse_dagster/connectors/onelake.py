"""Microsoft Fabric OneLake.

Its address, by name and by GUID: https://learn.microsoft.com/fabric/onelake/onelake-access-api
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args
from urllib.parse import quote, unquote, urlsplit

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors import entra
from fuse_dagster.connectors.declaring import Problem
from fuse_dagster.connectors.failures import in_our_words
from fuse_dagster.connectors.hadoop import ABFS_PACKAGES
from fuse_dagster.connectors.object_store import ObjectStore, file_parts, is_plain, looked_up
from fuse_dagster.core.errors import ConfigError

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Store

ACCOUNT = "onelake"
"""All of OneLake is one account; workspaces are its containers."""
HOST = "onelake.dfs.fabric.microsoft.com"
Section = Literal["Tables", "Files"]
SECTIONS: tuple[Section, ...] = get_args(Section)
"""The parts of an item."""

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# The common one, those of regions, and those of workspaces behind a private link.
_HOSTS = re.compile(
    r"(?:(?:[a-z0-9]+-)?onelake\.(?:dfs|blob)|[0-9a-f]{32}\.z[0-9a-f]{2}\.(?:dfs|blob|onelake))\.fabric\.microsoft\.com",
    re.IGNORECASE,
)
_NAME_IN_HOST = re.compile(r"[A-Za-z0-9_.~-]+")
_KEYS = ("sas_token",)
_VALID = (
    f"Valid: `onelake://workspace/item.Lakehouse/Tables/name`, `abfss://workspace@{HOST}/...` or "
    f"`https://{HOST}/workspace/...`, or all of it with the GUIDs of workspace and item."
)


@dataclass(frozen=True, slots=True)
class Address:
    """A place in OneLake.

    Attributes:
        workspace: Its name, as the portal shows it, or its GUID.
        item: Its name with its type, as `sales.Lakehouse`; or its GUID, where `workspace` is one.
        path: What lies in the item, as `Tables/airports`; empty for the item itself.
    """

    workspace: str
    item: str
    path: str = ""

    @property
    def by_guid(self) -> bool:
        """Whether it is said by GUIDs, which stay when things are renamed."""
        return bool(_GUID.fullmatch(self.workspace))


def parse(uri: str) -> Address:
    """Take the address of a place in OneLake apart, in any of the forms that Fabric and its tools print.

    Args:
        uri: As `onelake://`, `abfss://` or `https://`; the hosts of regions, and both of `dfs` and `blob`, are taken.

    Raises:
        ConfigError: It is no such address, or mixes names and GUIDs.

    Examples:
        >>> parse("abfss://Sales@onelake.dfs.fabric.microsoft.com/lake.Lakehouse/Tables/airports")
        Address(workspace='Sales', item='lake.Lakehouse', path='Tables/airports')
    """
    scheme, found, rest = uri.partition("://")
    host, _, path = rest.partition("/")
    if scheme == "onelake":
        workspace, host = host, HOST
    elif scheme in {"abfss", "abfs"}:
        workspace, _, host = host.partition("@")
    elif scheme == "https":
        workspace, _, path = unquote(urlsplit(uri).path).lstrip("/").partition("/")
    if not found or scheme not in {"onelake", "abfss", "abfs", "https"}:
        raise ConfigError(f"`{uri}` is no address of OneLake. {_VALID}")
    if not _HOSTS.fullmatch(host):
        raise ConfigError(f"`{uri}` lies on the host `{host}`, which is not OneLake's. {_VALID}")
    item, _, inner = path.strip("/").partition("/")
    address = Address(unquote(workspace), item, inner)
    if wrong := _wrong(address.workspace, address.item):
        raise ConfigError(f"`{uri}` is no address of OneLake: {' '.join(problem.words for problem in wrong)} {_VALID}")
    return address


def to_onelake(uri: str) -> str:
    """Say an address in the short form, which people read: `onelake://workspace/item.Lakehouse/Tables/name`.

    Raises:
        ConfigError: It is no address of OneLake.
    """
    address = parse(uri)
    return "/".join(part for part in (f"onelake://{address.workspace}", address.item, address.path) if part)


def to_abfss(uri: str) -> str:
    """Say an address in the form that delta-rs, obstore and Spark open.

    Raises:
        ConfigError: It is no address of OneLake, or its workspace has a name that this form can't hold.

    Examples:
        >>> to_abfss("onelake://Sales/lake.Lakehouse/Files/in.csv")
        'abfss://Sales@onelake.dfs.fabric.microsoft.com/lake.Lakehouse/Files/in.csv'
    """
    address = parse(uri)
    if unfit := _unfit(address.workspace):
        raise ConfigError(f"`{uri}` can't be opened by that name. {unfit}")
    return "/".join(part for part in (f"abfss://{address.workspace}@{HOST}", address.item, address.path) if part)


def to_https(uri: str) -> str:
    """Say an address as a URL, which browsers and Azure's tools take; spaces and accents are encoded.

    Raises:
        ConfigError: It is no address of OneLake.
    """
    address = parse(uri)
    return f"https://{HOST}/" + "/".join(
        quote(part) for part in (address.workspace, address.item, address.path) if part
    )


class OneLake(ObjectStore):
    """An item of Microsoft Fabric, as a lakehouse: its tables, or its files.

    Of a SAS token and a service principal one is given. Where none is, `login` says whose is taken.

    Examples:
        >>> OneLake(workspace="Sales", item="lake.Lakehouse", prefix="dbo").uri("airports")
        'abfss://Sales@onelake.dfs.fabric.microsoft.com/lake.Lakehouse/Tables/dbo/airports'
    """

    type: Literal["onelake"] = "onelake"
    workspace: str = Field(description="Name of the workspace, or its GUID, which has to be if the name has spaces.")
    item: str = Field(
        description="Name and type of the item, as `lake.Lakehouse`; or its GUID, beside that of the workspace."
    )
    section: Section = Field(
        default="Tables",
        description="The part of the item: Fabric shows as tables what lies in `Tables`, one below another folder only "
        "where the lakehouse has schemas; `Files` takes anything.",
    )
    sas_token: str = secrets.secret_field(description="A signature of OneLake's, which holds for an hour at most.")
    tenant_id: str = Field(default="", description=entra.TENANT)
    client_id: str = Field(default="", description=entra.CLIENT)
    client_secret: str = secrets.secret_field(description=entra.SECRET)
    login: Literal["default", "managed_identity", "cli", "fabric"] = Field(
        default="default", description=f"{entra.LOGIN} `fabric` is, in a notebook of Fabric, that of who runs it."
    )
    authority: str = Field(default="", description=entra.AUTHORITY_IS)

    extra: ClassVar[str] = "onelake"
    checks: ClassVar[Mapping[str, str]] = {
        "credentials": "Check the service principal, `login` or `sas_token` (an hour at most), that it has a role in "
        "the workspace, and that the tenant lets service principals and other apps in.",
        "container": "Check `workspace` for a typing error, or give its GUID.",
        "host": "Check `endpoint`, DNS, firewalls and proxies.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """Names or GUIDs of both, one way to log in, and a service principal that is whole."""
        found = super().problems(given)
        workspace, item = given["workspace"], given["item"]
        if workspace is not None and item is not None and is_plain(workspace) and is_plain(item):
            found += _wrong(workspace, item)
            if not found and (unfit := _unfit(workspace)):
                found.append(Problem("workspace", unfit))
        return found + entra.problems(given, *_KEYS)

    @property
    def root(self) -> str:
        """URI of the item's tables or files, which delta-rs and Spark both understand."""
        return f"abfss://{looked_up(self.workspace)}@{HOST}/{looked_up(self.item)}/{self.section}"

    def storage_options(self) -> dict[str, str]:
        """Say what delta-rs needs to reach the workspace, with secrets that are resolved now.

        Raises:
            FuseError: A secret can't be resolved, or there is no login.
        """
        said = entra.for_delta_rs(self._login()) | {"azure_use_fabric_endpoint": "true"}
        if self.endpoint:
            said["azure_storage_endpoint"] = looked_up(self.endpoint)
        return {"azure_storage_account_name": ACCOUNT, **said, **self.client_settings()}

    def opened(self) -> "Store":
        """The item's tables or files, opened by obstore.

        Raises:
            FuseError: A secret can't be resolved, or there is no login.
        """
        config = {"account_name": ACCOUNT, "use_fabric_endpoint": "true", **self._login()}
        if self.endpoint:
            config["endpoint"] = looked_up(self.endpoint)
        parts = (looked_up(self.item), self.section, looked_up(self.prefix).strip("/"))
        inside = "/".join(part for part in parts if part)
        http, retry = self.client_options(), self.retry_config()
        workspace = looked_up(self.workspace)
        return entra.opened(workspace, inside, config=config, client_options=http, retry_config=retry)

    def delete(self, path: str) -> None:
        """Delete a file; nothing happens where there is none. Folders stay, as Fabric keeps them.

        Raises:
            StoreError: OneLake refuses.
            StoreUnavailableError: It can't be reached.
        """
        key = "/".join(file_parts(path))
        # obstore sends every delete as a batch, which OneLake answers with 400:
        # https://github.com/apache/arrow-rs-object-store/issues/701
        self._asked(lambda _: self._remove(key), path)

    def _remove(self, key: str) -> None:
        from azure.core import PipelineClient
        from azure.core.exceptions import HttpResponseError
        from azure.core.pipeline.policies import RetryPolicy
        from azure.core.rest import HttpRequest

        said = self._login()
        base = looked_up(self.endpoint).rstrip("/") or f"https://{ACCOUNT}.blob.fabric.microsoft.com"
        inside = self.address.removeprefix(self.root).strip("/")
        names = (looked_up(self.workspace), looked_up(self.item), self.section, inside, key)
        url = "/".join([base, *(quote(name) for name in names if name)])
        headers = {"x-ms-version": "2023-11-03"}
        if "sas_key" in said:
            url = f"{url}?{said['sas_key']}"
        else:
            headers["Authorization"] = f"Bearer {said.get('token') or entra.token(self)}"
        wait: dict[str, Any] = {"connection_timeout": self.connect_timeout, "read_timeout": self.timeout}
        client: PipelineClient[HttpRequest, Any] = PipelineClient(
            base, policies=[RetryPolicy(retry_total=3, retry_backoff_factor=0.4)]
        )
        with client:
            answer = client.send_request(HttpRequest("DELETE", url, headers=headers), **wait)
            absent = answer.status_code == 404 and "ContainerNotFound" not in answer.text()
            if not absent and answer.status_code >= 400:
                raise HttpResponseError(f"status code: {answer.status_code} {answer.text()}")

    def spark_conf(self) -> dict[str, str]:
        """Say what Spark needs to reach OneLake by Hadoop's ABFS, outside Fabric.

        All of OneLake is one account to Hadoop: one login per session holds for all workspaces. To Fabric's own Spark
        nothing need be said.

        Raises:
            ConfigError: Hadoop knows no such login.
            FuseError: A secret can't be resolved.
        """
        return {} if self.login == "fabric" else entra.hadoop(self, HOST, *_KEYS)

    def spark_packages(self) -> tuple[str, ...]:
        """Say which jars ABFS needs: 3 MB. Fabric's own Spark brings them."""
        return () if self.login == "fabric" else ABFS_PACKAGES

    def _login(self) -> dict[str, str]:
        """The one way to log in, in the words that delta-rs and obstore share."""
        return {"token": _token_of_notebook(self)} if self.login == "fabric" else entra.options(self)


def _token_of_notebook(lake: OneLake) -> str:
    """The token that a notebook of Fabric has for its user; Azure's own library finds none there.

    Raises:
        ConfigError: This is no notebook of Fabric.
        StoreError: It hands out no token.
    """
    try:
        notebook: Any = import_module("notebookutils")
    except ModuleNotFoundError:
        msg = (
            "`login` is `fabric`, and this is no notebook or job of Fabric: it has no `notebookutils`. Valid "
            "elsewhere: `default`, `managed_identity`, `cli`, a service principal or a SAS token."
        )
        raise ConfigError(msg) from None
    with in_our_words(lake.address, lake.checks):
        return str(notebook.credentials.getToken("storage"))


def _wrong(workspace: str, item: str) -> list[Problem]:
    """What can't be the names of a workspace and an item, or mixes names and GUIDs."""
    found = [
        Problem(field, "It needs a name, or a GUID, without a scheme and folders.")
        for field, value in (("workspace", workspace), ("item", item))
        if not value or value in {".", ".."} or set(value) & set("/:@\\") or not value.isprintable()
    ]
    if found:
        return found
    guids = [bool(_GUID.fullmatch(value)) for value in (workspace, item)]
    if guids[0] != guids[1]:
        words = "One of `workspace` and `item` is a GUID and the other is a name. Give both by name, or both by GUID."
        return [Problem("item", words)]
    if not guids[1] and not re.fullmatch(r".+\.[A-Za-z]+", item):
        return [Problem("item", f"`{item}` says no type. Valid: `{item}.Lakehouse`, `{item}.Warehouse`, or the GUID.")]
    return []


def _unfit(workspace: str) -> str:
    """Why a workspace can't stand in an `abfss://` address; empty where it can."""
    if _NAME_IN_HOST.fullmatch(workspace):
        return ""
    return (
        f"The name `{workspace}` holds spaces or other signs that an `abfss://` address has no place for. Give the "
        "GUIDs of workspace and item instead; they stand in the address of the lakehouse in Fabric's portal."
    )
