"""Files of a web server: open data, and what suppliers put behind an address."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO, Literal
from urllib.parse import quote

from pydantic import Field

from fuse_dagster.connectors.base import Entry
from fuse_dagster.connectors.declaring import Problem
from fuse_dagster.connectors.http.connection import HTTPConnection
from fuse_dagster.connectors.http.messages import Answer, Request
from fuse_dagster.connectors.object_store import file_parts, looked_up
from fuse_dagster.core.errors import ConfigError, NotThereError, StoreError

_DEEPEST = 30
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_GONE = frozenset({404, 410})


class HTTPFiles(HTTPConnection):
    """Files below an address of a web server, to read.

    They are fetched in parts that begin anew where the line broke, and compared with the sizes and checksums that the
    server says. What changes while it is read is an error.

    Examples:
        >>> HTTPFiles(base_url="https://example.org/data", files=["2024/flights.csv.gz"]).place
        'https://example.org/data'
    """

    type: Literal["http"] = "http"
    files: list[str] = Field(
        default_factory=list, description="Names of the files there are, where the server lists none: they are listed."
    )
    index: bool = Field(
        default=False, description="List by the pages that the server makes of its folders (autoindex)."
    )

    @classmethod
    def problems(cls, given: Mapping[str, Any]) -> list[Problem]:
        """One way to list, and names that are some."""
        found = super().problems(given)
        names = given["files"] if isinstance(given["files"], list) else []
        if names and given["index"]:
            found.append(Problem("index", "`files` says already what there is. Take one of the two away."))
        for name in names:
            try:
                file_parts(name)
            except ConfigError as error:
                found.append(Problem("files", str(error)))
        return found

    def answer(self) -> str:
        """Ask for a file that is declared, or for the address itself.

        Returns:
            What the server calls itself.
        """
        url = self._url(self.files[0]) if self.files else f"{looked_up(self.base_url).rstrip('/')}/"
        # A folder that shows nothing may still hold files.
        answer = self._head(url, accept=frozenset() if self.files or self.index else frozenset({403, 404, 405, 501}))
        return answer.headers.get("server", "").strip() or "HTTP"

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield every file below the folder `prefix`, sorted by path; nothing where there is none.

        Sizes and times are asked for one by one; a server that says no time says 1970. A strong ETag is the version.

        Raises:
            ConfigError: There is neither `files` nor `index`.
            NotThereError: A file of `files`, or the address of `index`, is not there.
            StoreError: A page is no index, or the server doesn't say how large a file is.
        """
        folder = "/".join(file_parts(prefix.strip("/"))) if prefix.strip("/") else ""
        if not self.files and not self.index:
            msg = f"`{self.place}` can't be listed: say what there is by `files`, or by `index` that the server does."
            raise ConfigError(msg)
        start = f"{folder}/" if folder else ""
        names = sorted({name for name in self.files if name.startswith(start)}) if self.files else self._found(start)
        with ThreadPoolExecutor(max(1, self.concurrency), thread_name_prefix="fuse-http") as pool:
            yield from pool.map(self._entry, names)

    def exists(self, path: str) -> bool:
        """Say whether there is a file or folder at `path`."""
        return self._head(self._url(path), accept=_GONE).status not in _GONE

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading bytes; it is fetched in parts of 8 MB, as far as it is read.

        Where the server gives no parts it is fetched whole, to this machine's disk.

        Raises:
            FileNotFoundError: There is no file at `path`.
            StoreError: The server does not say how long it is.
            StoreUnavailableError: It changes while it is read, or a checksum does not fit.
        """
        from fuse_dagster.connectors.http.ranges import opened

        return opened(self._url(path), f"{self.place.rstrip('/')}/{path}", self.client().send)

    def _url(self, path: str) -> str:
        parts = [quote(part, safe="") for part in file_parts(path)]
        return "/".join([looked_up(self.base_url).rstrip("/"), *parts])

    def _head(self, url: str, *, accept: frozenset[int]) -> Answer:
        """The head of an answer; of a server that gives none, by asking for a byte."""
        client = self.client()
        plain = {"Accept-Encoding": "identity"}
        answer = client.send(Request(url=url, method="HEAD", headers=plain, accept=accept | {405, 501}))
        if answer.status not in {405, 501} or answer.status in accept:
            return answer
        return client.send(Request(url=url, headers={**plain, "Range": "bytes=0-0"}, accept=accept | {416}))

    def _entry(self, path: str) -> Entry:
        answer = self._head(self._url(path), accept=frozenset())
        size = answer.headers.get("content-range", "").rpartition("/")[2] or answer.headers.get("content-length", "")
        if not size.isdigit():
            msg = f"`{self.place}/{path}` comes without a size. Have the server say `Content-Length`."
            raise StoreError(msg)
        said = answer.headers.get("last-modified", "")
        try:
            modified = parsedate_to_datetime(said).astimezone(UTC) if said else _NEVER
        except ValueError:
            modified = _NEVER
        tag = answer.headers.get("etag", "").strip()  # a weak one may stay where bytes change (RFC 9110, 8.8.1)
        return Entry(path=path, size=int(size), modified=modified, version=tag if tag.startswith('"') else "")

    def _found(self, start: str) -> Sequence[str]:
        """Names of all files below a folder, by its pages."""
        files: deque[str] = deque()
        folders = deque([start])
        while folders:
            folder = folders.pop()
            if folder.count("/") > _DEEPEST:
                raise StoreError(
                    f"`{self.place}/{folder}` lies deeper than {_DEEPEST} folders: the index leads in circles."
                )
            for name in self._names(folder, missing=folder == start and bool(start)):
                (folders if name.endswith("/") else files).append(f"{folder}{name}")
        return sorted(files)

    def _names(self, folder: str, *, missing: bool) -> Sequence[str]:
        from fuse_dagster.connectors.http.indexes import names_below

        url = f"{self._url(folder.rstrip('/')) if folder else looked_up(self.base_url).rstrip('/')}/"
        answer = self.client().send(Request(url=url, accept=_GONE if missing else frozenset()))
        if answer.status in _GONE:
            return []
        if "html" not in answer.headers.get("content-type", ""):
            raise StoreError(f"`{self.place}/{folder}` lists no files. Take `index` away, or give `files`.")
        try:
            names = names_below(answer.body.decode(), url)
            for name in names:
                file_parts(name.rstrip("/"))
        except UnicodeDecodeError:
            msg = f"`{self.place}/{folder}` lists a name that is not UTF-8. Give `files`, or have it renamed."
            raise StoreError(msg) from None
        except ConfigError as error:
            raise NotThereError(f"`{self.place}/{folder}` lists what can't be opened. {error}") from None
        return names
