"""What all object stores share: names, listing, reading in parts, and writing whole files, by obstore."""

import io
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, TypeVar

from dagster import EnvVar
from pydantic import Field

from fuse_dagster import secrets
from fuse_dagster.connectors.base import Entry
from fuse_dagster.connectors.clocks import time_of
from fuse_dagster.connectors.declaring import Problem, wrong_times
from fuse_dagster.connectors.failures import in_our_words
from fuse_dagster.connectors.lake import Lake, checked_parts
from fuse_dagster.connectors.parts import PART, Parts
from fuse_dagster.core.asking_again import ask_again
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.store_failures import fault_of

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Store

T = TypeVar("T")


class ObjectStore(Lake):
    """A bucket or container: files by name, no folders but those in the names.

    Names of files are UTF-8, with `/` between their parts. Names of tables may not hold `%`, `[`, `]`, `^` and `|`, as
    everywhere; names of files may, so that what others have put there can be read.
    """

    prefix: str = Field(default="", description="Keep everything below this folder, so that several lakes can share.")
    endpoint: str = Field(default="", description="URL of a compatible server, where it is not the provider's own.")
    allow_http: bool = Field(
        default=False, description="Talk to an `http://` endpoint: data and signatures travel in the clear."
    )
    connect_timeout: float = Field(default=5.0, description="Seconds to wait for a connection.")
    timeout: float = Field(default=30.0, description="Seconds that one request may take, with its data.")
    retry_timeout: float = Field(
        default=60.0, description="Seconds for which what fails is tried again, with growing and jittered pauses."
    )

    checks: ClassVar[Mapping[str, str]] = {}
    """Kind of failure -> what to look at, in the fields of the connector."""

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """Times above zero, a prefix of good names, an endpoint that is a URL."""
        found = wrong_times(given, ("connect_timeout", "timeout", "retry_timeout"))
        if is_plain(given["prefix"]) and given["prefix"]:
            try:
                checked_parts(given["prefix"].strip("/").split("/"))
            except ConfigError as error:
                found.append(Problem("prefix", str(error)))
        return found + _endpoint_problems(given["endpoint"], allow_http=given["allow_http"])

    @property
    @abstractmethod
    def root(self) -> str:
        """URI of the bucket or container, without the prefix."""

    @property
    def address(self) -> str:
        """URI of what the connector holds: the root and the prefix."""
        prefix = looked_up(self.prefix).strip("/")
        return f"{self.root}/{prefix}" if prefix else self.root

    @property
    def service(self) -> str:
        """URL of the server that answers for the bucket; "" where only the provider's client knows it."""
        return looked_up(self.endpoint)

    def time_there(self) -> datetime | None:
        """Ask what time it is there, in UTC to the second; no credentials are sent.

        Raises:
            StoreUnavailableError: It can't be reached.
        """
        return time_of(self.service, timeout=self.connect_timeout, check=self.checks.get("host", ""))

    @abstractmethod
    def opened(self) -> "Store":
        """The store, opened with secrets that are resolved now.

        Raises:
            FuseError: A secret can't be resolved.
        """

    def uri(self, *parts: str) -> str:
        """Say where the thing with this name lies.

        Raises:
            ConfigError: A part is empty, `.`, `..`, or holds a sign of `REFUSED` or a control sign.
        """
        return "/".join([self.address, *checked_parts(parts)])

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield every file below the folder `prefix`, sorted by path; nothing where there is none.

        Markers that consoles leave for folders are no files.

        Raises:
            StoreError: The store refuses.
            StoreUnavailableError: It can't be reached.
        """
        import obstore

        folder = "/".join(file_parts(prefix.strip("/"))) if prefix.strip("/") else ""

        def every(store: "Store") -> list[Entry]:
            chunks = obstore.list(store, folder or None, chunk_size=1000)
            return [
                Entry(
                    path=each["path"],
                    size=each["size"],
                    modified=each["last_modified"].astimezone(UTC),
                    version=each["e_tag"] or "",
                )
                for chunk in chunks
                for each in chunk
            ]

        found = sorted(self._asked(every, prefix), key=lambda entry: entry.path)
        parents = {entry.path[:place] for entry in found for place in _slashes(entry.path)}
        yield from (entry for entry in found if entry.size or entry.path not in parents)

    def exists(self, path: str) -> bool:
        """Say whether there is a file or folder at `path`."""
        import obstore

        key = "/".join(file_parts(path))

        def seen(store: "Store") -> bool:
            try:
                obstore.head(store, key)
            except FileNotFoundError as error:
                if fault_of(error) == "container":
                    raise
                return any(chunk for chunk in obstore.list(store, key, chunk_size=1))
            return True

        return self._asked(seen, path)

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading bytes; it is fetched in parts of 8 MB, as far as it is read.

        Raises:
            FileNotFoundError: There is no file at `path`.
            StoreUnavailableError: Also while it is read, where somebody replaced it meanwhile.
        """
        import obstore

        key = "/".join(file_parts(path))

        def find(store: "Store") -> Any:
            try:
                return obstore.head(store, key)
            except FileNotFoundError:
                next(iter(obstore.list(store, key, chunk_size=1)), None)  # says so where the bucket is missing, too
                raise

        facts = self._asked(find, path)

        def part(start: int, end: int) -> Any:
            options: Any = {"range": (start, end), "if_match": facts["e_tag"]}
            return self._asked(lambda store: obstore.get(store, key, options=options).bytes(), path)

        return io.BufferedReader(Parts(facts["size"], part), buffer_size=min(PART, max(1, facts["size"])))

    def write(self, path: str, data: bytes | BinaryIO) -> None:
        """Write a file whole, in place of one that is there; readers see the old bytes or the new ones.

        Args:
            path: Name below the root, with `/` between its parts.
            data: The bytes, or a file opened for reading them, which is sent in parts of 8 MB.

        Raises:
            StoreError: The store refuses.
            StoreUnavailableError: It can't be reached.
        """
        import obstore

        key = "/".join(file_parts(path))
        rewinds = isinstance(data, bytes) or data.seekable()
        start = data.tell() if rewinds and not isinstance(data, bytes) else 0

        def put(store: "Store") -> None:
            if rewinds and not isinstance(data, bytes):
                data.seek(start)
            # obstore asks a file for its length, which one that can't be rewound does not know.
            sent = data if rewinds or isinstance(data, bytes) else iter(lambda: data.read(PART), b"")
            obstore.put(store, key, sent, chunk_size=PART, max_concurrency=4)

        self._asked(put, path, again=rewinds)

    def delete(self, path: str) -> None:
        """Delete a file; nothing happens where there is none. Folders go with their last file.

        Raises:
            StoreError: The store refuses.
            StoreUnavailableError: It can't be reached.
        """
        import obstore

        key = "/".join(file_parts(path))

        def remove(store: "Store") -> None:
            try:
                obstore.delete(store, key)
            except FileNotFoundError as error:
                if fault_of(error) == "container":
                    raise

        self._asked(remove, path)

    def _asked(self, question: "Callable[[Store], T]", path: str, *, again: bool = True) -> T:
        """Ask the store: again where the connection broke, and with new secrets where it refuses those it was given."""
        place = f"{self.address}/{path.strip('/')}".rstrip("/")
        with in_our_words(place, self.checks):
            if not again:
                return question(self.opened())
            try:
                return ask_again(lambda: question(self.opened()), seconds=self.retry_timeout)
            except Exception as error:
                if fault_of(error) != "credentials" or not self.forget_secrets():
                    raise
            return ask_again(lambda: question(self.opened()), seconds=self.retry_timeout)

    def client_options(self) -> dict[str, Any]:
        """How obstore is to talk HTTP."""
        return {
            "allow_http": self.allow_http,
            "connect_timeout": timedelta(seconds=self.connect_timeout),
            "timeout": timedelta(seconds=self.timeout),
        }

    def retry_config(self) -> dict[str, Any]:
        """How obstore is to try again."""
        return {"retry_timeout": timedelta(seconds=self.retry_timeout)}

    def client_settings(self) -> dict[str, str]:
        """The same for delta-rs."""
        return {
            "allow_http": str(self.allow_http).lower(),
            "connect_timeout": milliseconds(self.connect_timeout),
            "timeout": milliseconds(self.timeout),
            "retry_timeout": milliseconds(self.retry_timeout),
        }


def looked_up(text: str) -> str:
    """The text of a field that is no secret: of a Dagster `EnvVar`, what the variable holds now.

    Raises:
        ConfigError: The variable is not set.
    """
    if not isinstance(text, EnvVar):
        return text
    value = text.get_value()
    if value is None:
        raise ConfigError(f"The environment variable `{text.env_var_name}` is not set. Set it, or give a value.")
    return value


def is_plain(text: str) -> bool:
    """Whether a field says what it says: neither a reference to a secret nor a variable that is looked up later."""
    return not isinstance(text, EnvVar) and not secrets.is_reference(text)


def name_problems(given: Mapping[str, Any], *fields: str) -> list[Problem]:
    """Names of buckets, containers and accounts: not empty, and no address."""
    return [
        Problem(name, "It needs a name, without a scheme and folders.")
        for name in fields
        if given[name] is not None and (not given[name] or (is_plain(given[name]) and set(given[name]) & set("/:@")))
    ]


def file_parts(path: str) -> tuple[str, ...]:
    """The parts of a file's name, which may hold what others have put there.

    Raises:
        ConfigError: A part is empty, `.`, `..`, or holds a backslash or a control sign.
    """
    names = tuple(path.split("/"))
    for name in names:
        if name in {"", ".", ".."} or "\\" in name or not name.isprintable():
            msg = (
                f"`{name}` can't be part of a path (of `{path}`). "
                "Valid: a name without backslashes and control signs, other than `.` and `..`."
            )
            raise ConfigError(msg)
    return names


def milliseconds(seconds: float) -> str:
    """A time as delta-rs takes it."""
    return f"{max(1, round(seconds * 1000))}ms"


def _slashes(path: str) -> list[int]:
    return [place for place, sign in enumerate(path) if sign == "/"]


def _endpoint_problems(endpoint: str, *, allow_http: bool) -> list[Problem]:
    if not endpoint or not is_plain(endpoint) or endpoint.startswith("https://"):
        return []
    if not endpoint.startswith("http://"):
        return [Problem("endpoint", "It is no URL. Valid: `https://host:port`.")]
    if not allow_http:
        return [
            Problem("endpoint", "It is `http://`, which sends data in the clear. Take `https://`, or set `allow_http`.")
        ]
    return []
