"""What DBFS and Volumes share: a workspace's login, the folder that stands for it, and files by its API.

Which of three ways is taken is decided when files are touched: a `stand_in` folder; on a cluster, the folder that
Databricks mounts there; else the workspace's API.
"""

import io
import os
import shutil
import uuid
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol, TypeVar

from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.base import Entry
from fuse_dagster.connectors.declaring import Problem, texts, wrong_times
from fuse_dagster.connectors.lake import Lake, checked_parts
from fuse_dagster.connectors.local import Local
from fuse_dagster.connectors.object_store import file_parts, is_plain, looked_up
from fuse_dagster.connectors.parts import PART, Parts
from fuse_dagster.core.errors import ConfigError, FuseError, MissingExtraError, StoreError
from fuse_dagster.core.store_failures import FAULTS, fault_of

if TYPE_CHECKING:
    from databricks.sdk import WorkspaceClient

T = TypeVar("T")

MOUNTS = Path("/")
"""Where a cluster mounts what a workspace holds: `Volumes` and `dbfs` below it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A file of a workspace.

    Attributes:
        size: Bytes.
        changed: When it was written last, as the API says it.
    """

    size: int
    changed: str


class Files(Protocol):
    """Files of a workspace by one of its APIs; paths are absolute."""

    def walk(self, folder: str) -> Iterator[Entry]:
        """Yield all files below a folder, with absolute paths; nothing where there is none."""

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder at a path."""

    def facts(self, path: str) -> Facts | None:
        """What there is to say about a file; None where there is none."""

    def part(self, path: str, start: int, end: int, facts: Facts) -> bytes:
        """The bytes of a file from a position up to another one.

        Raises:
            StoreUnavailableError: The file is another one by now.
        """

    def write(self, path: str, data: BinaryIO) -> None:
        """Write a file whole, and the folders above it."""

    def delete(self, path: str) -> None:
        """Delete a file; nothing happens where there is none."""


class DatabricksFiles(Lake):
    """Files of a Databricks workspace. Tables lie there only for Spark, or in a `stand_in` folder."""

    prefix: str = Field(default="", description="Keep everything below this folder, so that several can share.")
    host: str = Field(default="", description="URL of the workspace, as `https://dbc-1234.cloud.databricks.com`.")
    token: str = secrets.secret_field(description="A token of a person or a service principal.")
    client_id: str = Field(default="", description="Of a service principal, for OAuth.")
    client_secret: str = secrets.secret_field(description="The OAuth secret of the service principal.")
    profile: str = Field(
        default="", description="A profile of `~/.databrickscfg`, as `databricks auth login` writes it."
    )
    stand_in: str = Field(
        default="", description="A folder of this machine that stands for the workspace's files, for development."
    )
    timeout: float = Field(default=60.0, description="Seconds to wait for an answer.")
    retry_timeout: float = Field(default=60.0, description="Seconds for which what fails is tried again.")

    checks: ClassVar[Mapping[str, str]] = {}
    """Kind of failure -> what to look at, in the fields of the connector."""

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """Times above zero, good names, one way to log in, and none beside a stand-in."""
        found = wrong_times(given, ("timeout", "retry_timeout"))
        if is_plain(given["prefix"]) and given["prefix"]:
            try:
                checked_parts(given["prefix"].strip("/").split("/"))
            except ConfigError as error:
                found.append(Problem("prefix", str(error)))
        host = given["host"]
        if host and is_plain(host) and not host.startswith(("https://", "http://")):
            found.append(Problem("host", "It is no URL. Valid: `https://` and the host of the workspace."))
        principal = texts(given, ("client_id", "client_secret"))
        if len(principal) == 1:
            (other,) = {"client_id", "client_secret"} - set(principal)
            found.append(Problem(other, f"`{principal[0]}` of a service principal is given without it. Give both."))
        ways = [*texts(given, ("token",)), *principal[:1], *texts(given, ("profile",))]
        if len(ways) > 1:
            found.append(Problem(ways[1], f"`{ways[0]}` is given as well. Take one of the two away."))
        if given["stand_in"] and (said := [*texts(given, ("host",)), *ways]):
            found.append(Problem("stand_in", f"`{said[0]}` is given as well. Take one of the two away."))
        return found

    @property
    @abstractmethod
    def root(self) -> str:
        """Absolute path in the workspace, without the prefix."""

    @property
    @abstractmethod
    def mounted_as(self) -> str:
        """Where a cluster mounts the root, below `MOUNTS`."""

    @abstractmethod
    def files(self, client: "WorkspaceClient") -> Files:
        """The API that holds the files."""

    @property
    def address(self) -> str:
        """What Spark on Databricks calls the place."""
        return f"dbfs:{self._path()}"

    def uri(self, *parts: str) -> str:
        """Say where the thing with this name lies: a path in the `stand_in` folder, else an address of Spark's.

        Raises:
            ConfigError: A part is empty, `.`, `..`, or holds a sign of `REFUSED` or a control sign.
        """
        if self.stand_in:
            return self._local(Path(looked_up(self.stand_in))).uri(*parts)
        return "/".join([self.address.rstrip("/"), *checked_parts(parts)])

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield every file below the folder `prefix`, sorted by path; nothing where there is none.

        Raises:
            StoreError: The workspace refuses, or has no such volume.
            StoreUnavailableError: It can't be reached.
        """
        if folder := self._folder():
            yield from folder.list(prefix)
            return
        path = self._path(*(file_parts(prefix.strip("/")) if prefix.strip("/") else ()))

        def every(files: Files) -> list[Entry]:
            found = [*files.walk(path)]
            if not found and not files.is_folder(self.root):
                raise FAULTS["container"].raised(
                    f"`{self.address}` {FAULTS['container'].what}. {self._check('container')}"
                )
            return found

        skip = len(self._path().rstrip("/")) + 1
        found = [
            Entry(path=each.path[skip:], size=each.size, modified=each.modified) for each in self._asked(every, path)
        ]
        yield from sorted(found, key=lambda entry: entry.path)

    def exists(self, path: str) -> bool:
        """Say whether there is a file or folder at `path`."""
        if folder := self._folder():
            return folder.exists(path)
        place = self._path(*file_parts(path))
        return self._asked(lambda files: files.facts(place) is not None or files.is_folder(place), place)

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading bytes; it is fetched in parts, as far as it is read.

        Raises:
            FileNotFoundError: There is no file at `path`.
            StoreUnavailableError: Also while it is read, where somebody replaced it meanwhile.
        """
        if folder := self._folder():
            return folder.open(path)
        place = self._path(*file_parts(path))
        facts = self._asked(lambda files: files.facts(place), place)
        if facts is None:
            raise FileNotFoundError(f"There is no file `dbfs:{place}`. List its folder to see what there is.")

        def part(start: int, end: int) -> bytes:
            return self._asked(lambda files: files.part(place, start, end, facts), place)

        return io.BufferedReader(Parts(facts.size, part), buffer_size=min(PART, max(1, facts.size)))

    def write(self, path: str, data: bytes | BinaryIO) -> None:
        """Write a file whole, in place of one that is there; readers see the old bytes or the new ones.

        Args:
            path: Name below the root, with `/` between its parts.
            data: The bytes, or a file opened for reading them, which is sent in parts: memory does not grow with it.

        Raises:
            StoreError: The workspace refuses.
            StoreUnavailableError: It can't be reached.
        """
        names = file_parts(path)
        source = io.BytesIO(data) if isinstance(data, bytes) else data
        if self.stand_in:
            self._local(Path(looked_up(self.stand_in))).write(path, source)
        elif folder := self._folder():
            _write_mounted(Path(folder.uri(*names)), source)
        else:
            place, rewinds = self._path(*names), source.seekable()
            start = source.tell() if rewinds else 0

            def send(files: Files) -> None:
                if rewinds:
                    source.seek(start)
                files.write(place, source)

            self._asked(send, place, again=rewinds)

    def delete(self, path: str) -> None:
        """Delete a file; nothing happens where there is none. Folders stay.

        Raises:
            StoreError: The workspace refuses.
            StoreUnavailableError: It can't be reached.
        """
        if folder := self._folder():
            folder.delete(path)
        else:
            place = self._path(*file_parts(path))
            self._asked(lambda files: files.delete(place), place)

    def _path(self, *names: str) -> str:
        parts = (self.root.strip("/"), looked_up(self.prefix).strip("/"), *names)
        return "/" + "/".join(part for part in parts if part)

    def _local(self, below: Path) -> Local:
        return Local(root=str(below / self.mounted_as / looked_up(self.prefix).strip("/")))

    def _folder(self) -> Local | None:
        """The folder that holds the files here; None where the API does."""
        if self.stand_in:
            return self._local(Path(looked_up(self.stand_in)))
        asked = self.host or self.token or self.client_id or self.profile
        if asked or not os.environ.get("DATABRICKS_RUNTIME_VERSION") or not (MOUNTS / self.mounted_as).is_dir():
            return None
        return self._local(MOUNTS)

    def _check(self, kind: str) -> str:
        return self.checks.get(kind, "") or FAULTS[kind].check

    def _asked(self, question: Callable[[Files], T], path: str, *, again: bool = True) -> T:
        """Ask the workspace; where it refuses, references are resolved anew and it is asked once more."""
        with self._in_our_words(path):
            try:
                return question(self.files(self._client()))
            except Exception as error:
                if _kind(error) != "credentials" or not again or not self.forget_secrets():
                    raise
            return question(self.files(self._client()))

    def _client(self) -> "WorkspaceClient":
        said = {name: looked_up(getattr(self, name)) for name in ("host", "client_id", "profile")}
        said |= {name: secrets.resolve(value) for name in ("token", "client_secret") if (value := getattr(self, name))}
        given = tuple((name, value) for name, value in said.items() if value)
        found = tuple(sorted(each for each in os.environ.items() if each[0].startswith("DATABRICKS_")))
        return _opened((os.getpid(), found), given, self.timeout, max(1, round(self.retry_timeout)))

    @contextmanager
    def _in_our_words(self, path: str) -> Iterator[None]:
        try:
            yield
        except (FuseError, FileNotFoundError):
            raise
        except Exception as error:  # noqa: BLE001 - raised again, worded
            # The original message may hold what was configured: it is neither repeated nor kept as the cause.
            kind = _kind(error)
            if kind is None:
                check = "Check `host`, and that the API of the workspace is the one that this connector speaks."
                msg = (
                    f"`dbfs:{path}` can't be used: the workspace's client failed with `{type(error).__name__}`. {check}"
                )
                raise StoreError(msg) from None
            fault = FAULTS[kind]
            raise fault.raised(f"`dbfs:{path}` {fault.what}. {self._check(kind)}") from None


def if_there() -> suppress:
    """Run what asks for a file or folder; where there is none, it ends there."""
    from databricks.sdk.errors import NotFound

    return suppress(NotFound)


def _kind(error: Exception) -> str | None:
    """The kind of failure, a key of `FAULTS`; None for another."""
    from databricks.sdk import errors as said

    kinds: dict[str, tuple[type[Exception], ...]] = {
        "credentials": (said.Unauthenticated, said.PermissionDenied),
        "container": (said.NotFound,),
        "busy": (said.TooManyRequests, said.TemporarilyUnavailable, said.InternalError),
    }
    found = next((kind for kind, types in kinds.items() if isinstance(error, types)), None)
    if found is None and isinstance(error, TimeoutError) and isinstance(error.__cause__, Exception):
        return _kind(error.__cause__)  # the retries ran out
    if found is None and isinstance(error, ValueError) and not isinstance(error, OSError):
        return "credentials"  # what the SDK raises where it finds no login, or OAuth refuses one
    return found or fault_of(error)


@lru_cache(maxsize=8)
def _opened(where: object, given: tuple[tuple[str, str], ...], timeout: float, retry_timeout: int) -> "WorkspaceClient":
    # A child of this process makes its own, as connections don't survive a fork; and the client reads the environment.
    del where
    try:
        from databricks.sdk import WorkspaceClient
        from databricks.sdk.core import Config
    except ModuleNotFoundError as error:
        msg = f'Databricks needs the package `{error.name}`. Install it with: pip install "fuse-dagster[databricks]"'
        raise MissingExtraError(msg) from error
    named: dict[str, Any] = dict(given)
    return WorkspaceClient(config=Config(http_timeout_seconds=timeout, retry_timeout_seconds=retry_timeout, **named))


def _write_mounted(place: Path, source: BinaryIO) -> None:
    """Write a file from its beginning to its end, which is all that a cluster's mounts can, and give it its name."""
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f".fuse-{uuid.uuid4().hex}")
    try:
        with unfinished.open("wb") as file:
            shutil.copyfileobj(source, file, PART)
        unfinished.replace(place)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
