"""DBFS, the older file system of a Databricks workspace.

Protocol: https://docs.databricks.com/api/workspace/dbfs
"""

import base64
import contextlib
import posixpath
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, ClassVar, Literal

from fuse_dagster.connectors.base import Entry
from fuse_dagster.connectors.databricks import DatabricksFiles, Facts, if_there
from fuse_dagster.core.errors import StoreUnavailableError

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient
    from databricks.sdk.service.files import DbfsAPI

BLOCK = 1024 * 1024
"""Bytes that one request to the DBFS API may carry."""


class DBFS(DatabricksFiles):
    """The DBFS of a workspace, which Databricks advises against: new workspaces have none, and volumes replace it.

    Examples:
        >>> DBFS(prefix="landing").uri("airports")
        'dbfs:/landing/airports'
    """

    type: Literal["dbfs"] = "dbfs"

    checks: ClassVar[Mapping[str, str]] = {
        "credentials": "Check `host`, the login (`token`, `client_id` and `client_secret`, `profile`, or the "
        "environment's), and that the workspace has DBFS and lets the login use it.",
        "container": "Check `host`, and that the workspace has DBFS: new ones have none. Take a volume instead.",
        "host": "Check `host`, DNS, firewalls and proxies.",
    }

    @property
    def root(self) -> str:
        """The root of DBFS."""
        return "/"

    @property
    def mounted_as(self) -> str:
        """Where a cluster mounts it."""
        return "dbfs"

    def files(self, client: "WorkspaceClient") -> "FilesOfDBFS":
        """The DBFS API."""
        from databricks.sdk.service.files import DbfsAPI

        # The client's own, which it would hand out, takes a `#` or `?` in a name for the end of the path.
        return FilesOfDBFS(DbfsAPI(client.api_client))  # type: ignore[no-untyped-call]  # so it is


@dataclass(frozen=True, slots=True)
class FilesOfDBFS:
    """The DBFS API of a workspace.

    Attributes:
        api: The way to it, logged in.
    """

    api: "DbfsAPI"

    def walk(self, folder: str) -> Iterator[Entry]:
        """Yield all files below a folder; nothing where there is none."""
        folders = [folder]
        while folders:
            here = folders.pop()
            with if_there():
                for each in self.api.list(here):
                    if each.is_dir:
                        folders.append(each.path or "")
                    elif each.path != here:
                        when = datetime.fromtimestamp((each.modification_time or 0) / 1000, tz=UTC)
                        yield Entry(path=each.path or "", size=each.file_size or 0, modified=when)

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder at a path."""
        with if_there():
            return bool(self.api.get_status(path).is_dir)
        return False

    def facts(self, path: str) -> Facts | None:
        """What there is to say about a file; None where there is none."""
        with if_there():
            said = self.api.get_status(path)
            return None if said.is_dir else Facts(said.file_size or 0, str(said.modification_time))
        return None

    def part(self, path: str, start: int, end: int, facts: Facts) -> bytes:
        """The bytes of a file from a position up to another one, by as many requests as it takes.

        Raises:
            StoreUnavailableError: The file is another one by now.
        """
        found = bytearray()
        while len(found) < end - start:
            said = self.api.read(path, offset=start + len(found), length=min(BLOCK, end - start - len(found)))
            if not said.bytes_read:
                break
            found += base64.b64decode(said.data or "")
        if self.facts(path) != facts or len(found) != end - start:
            raise StoreUnavailableError(
                f"`dbfs:{path}` was replaced while it was read. Read it again, from its beginning."
            )
        return bytes(found)

    def write(self, path: str, data: BinaryIO) -> None:
        """Write a file under a name of its own, block by block, and give it its name when it is whole.

        DBFS can't replace a file by another one: the old one is deleted first, so that for a moment there is none.

        Raises:
            StoreUnavailableError: A block arrived twice, or not at all; the old file is as it was.
        """
        from databricks.sdk.core import DatabricksError

        api, folder = self.api, posixpath.dirname(path)
        unfinished = posixpath.join(folder, f".fuse-{uuid.uuid4().hex}")
        api.mkdirs(folder)
        try:
            handle, sent = api.create(unfinished, overwrite=True).handle or 0, 0
            while block := data.read(BLOCK):
                api.add_block(handle, base64.b64encode(block).decode())
                sent += len(block)
            api.close(handle)
            # A block whose answer was lost is sent again, and then it is there twice.
            if api.get_status(unfinished).file_size != sent:
                msg = f"`dbfs:{path}` did not arrive as it was sent, so it was left as it was. Write it again."
                raise StoreUnavailableError(msg)
            self.delete(path)
            api.move(unfinished, path)
        except BaseException:
            with contextlib.suppress(DatabricksError, OSError):  # the first failure is the one to tell
                api.delete(unfinished)
            raise

    def delete(self, path: str) -> None:
        """Delete a file; nothing happens where there is none."""
        with if_there():
            self.api.delete(path)
