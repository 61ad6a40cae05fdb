"""Unity Catalog Volumes of a Databricks workspace.

Protocol: https://docs.databricks.com/api/workspace/files
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field

from fuse_dagster.connectors.base import Entry
from fuse_dagster.connectors.databricks import DatabricksFiles, Facts, if_there
from fuse_dagster.connectors.declaring import Problem
from fuse_dagster.connectors.object_store import is_plain, looked_up
from fuse_dagster.core.errors import StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.files import FilesAPI

LARGEST = 5 * 1024**3
"""Bytes that the Files API takes as one file."""


class Volume(DatabricksFiles):
    """A volume of Unity Catalog: files of any kind, for landing and exchange. Tables lie there in a `stand_in` only.

    Examples:
        >>> Volume(name="main.raw.landing", prefix="airports").uri("2024")
        'dbfs:/Volumes/main/raw/landing/airports/2024'
    """

    type: Literal["volumes"] = "volumes"
    name: str = Field(description="Catalog, schema and volume, as `main.raw.landing`. It has to be there already.")

    checks: ClassVar[Mapping[str, str]] = {
        "credentials": "Check `host`, the login (`token`, `client_id` and `client_secret`, `profile`, or the "
        "environment's), and that it has USE CATALOG, USE SCHEMA, READ VOLUME and WRITE VOLUME.",
        "container": "Check `name` for a typing error, and that the login may see the volume.",
        "host": "Check `host`, DNS, firewalls and proxies.",
    }

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """A name of three parts, good names and times, one way to log in."""
        found = super().problems(given)
        name = given["name"]
        if name is not None and is_plain(name):
            parts = name.split(".")
            if len(parts) != 3 or not all(parts) or any(set(part) & set("/ \\") for part in parts):
                words = f"`{name}` is no name of a volume. Valid: catalog, schema and volume, as `main.raw.landing`."
                found.append(Problem("name", words))
        return found

    @property
    def root(self) -> str:
        """Absolute path of the volume."""
        return "/Volumes/" + looked_up(self.name).replace(".", "/")

    @property
    def mounted_as(self) -> str:
        """Where a cluster mounts the volume."""
        return self.root.removeprefix("/")

    def files(self, client: "WorkspaceClient") -> "FilesOfVolumes":
        """The Files API."""
        from databricks.sdk.service.files import FilesAPI

        return FilesOfVolumes(client, FilesAPI(client.api_client))  # type: ignore[no-untyped-call]  # so it is


@dataclass(frozen=True, slots=True)
class FilesOfVolumes:
    """The Files API of a workspace.

    Attributes:
        client: Logged in.
        api: The client's way to the API, as its documentation describes it.
    """

    client: "WorkspaceClient"
    api: "FilesAPI"

    def walk(self, folder: str) -> Iterator[Entry]:
        """Yield all files below a folder; nothing where there is none."""
        folders = [folder]
        while folders:
            with if_there():
                for each in self.api.list_directory_contents(folders.pop()):
                    if each.is_directory:
                        folders.append(each.path or "")
                    else:
                        when = datetime.fromtimestamp((each.last_modified or 0) / 1000, tz=UTC)
                        yield Entry(path=each.path or "", size=each.file_size or 0, modified=when)

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder at a path."""
        with if_there():
            self.api.get_directory_metadata(path)
            return True
        return False

    def facts(self, path: str) -> Facts | None:
        """What there is to say about a file; None where there is none."""
        with if_there():
            said = self.api.get_metadata(path)
            return Facts(said.content_length or 0, said.last_modified or "")
        return None

    def part(self, path: str, start: int, end: int, facts: Facts) -> bytes:
        """The bytes of a file from a position up to another one, by a range.

        Raises:
            StoreUnavailableError: The file is another one by now.
        """
        from databricks.sdk.core import DatabricksError

        asked = {"Range": f"bytes={start}-{end - 1}", "If-Unmodified-Since": facts.changed}
        if workspace := self.client.config.workspace_id:
            asked["X-Databricks-Workspace-Id"] = workspace  # as the client's own requests say it
        try:
            answer: Any = self.client.api_client.do(
                "GET",
                f"/api/2.0/fs/files{quote(path)}",
                headers=asked,
                raw=True,
                response_headers=["content-range"],
            )
        except DatabricksError as error:
            if "PRECONDITION" in f"{error.error_code} {error}".upper():
                raise _replaced(path) from None
            raise
        if not (answer.get("content-range") or f"/{facts.size}").endswith(f"/{facts.size}"):
            raise _replaced(path)
        with answer["contents"] as contents:
            return bytes(contents.read())

    def write(self, path: str, data: BinaryIO) -> None:
        """Write a file whole, in one request that streams it; the API makes the folders above it.

        Raises:
            StoreError: It is larger than the API takes.
        """
        if data.seekable():
            at = data.tell()
            size = data.seek(0, 2) - at
            data.seek(at)
            if size > LARGEST:
                msg = f"`dbfs:{path}` would have `{size}` bytes, and the Files API takes `{LARGEST}`. Split the file."
                raise StoreError(msg)
        self.api.upload(path, data, overwrite=True)

    def delete(self, path: str) -> None:
        """Delete a file; nothing happens where there is none."""
        with if_there():
            self.api.delete(path)


def _replaced(path: str) -> StoreUnavailableError:
    return StoreUnavailableError(f"`dbfs:{path}` was replaced while it was read. Read it again, from its beginning.")
