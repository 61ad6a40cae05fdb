"""The bytes of files with their hash, several at a time: what is read is what was hashed, whatever else happens."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fuse_dagster.connectors.base import Entry
from fuse_dagster.ingest.landing.arriving import Landing

_IN_MEMORY = 8 * 2**20
_PART = 2**20
_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file as it was read.

    Attributes:
        entry: What the listing said of it.
        digest: SHA-256 of its bytes, as hexadecimal text; "" where it has gone, or changed while it was read.
        data: Its bytes, or a copy on this machine's disk.
    """

    entry: Entry
    digest: str
    data: bytes | Path

    def open(self) -> BinaryIO:
        """Open what was read."""
        return io.BytesIO(self.data) if isinstance(self.data, bytes) else self.data.open("rb")

    def forget(self) -> None:
        """Remove the copy."""
        if isinstance(self.data, Path):
            self.data.unlink(missing_ok=True)


def fetch(connector: Landing, entries: Sequence[Entry], folder: str, *, parallel: int) -> Iterator[Fetched]:
    """Read files, in their order.

    Args:
        connector: Where they lie.
        entries: The files.
        folder: On this machine's disk, for those of more than 8 MB.
        parallel: How many are read at a time, at the most.

    Yields:
        Each file; memory holds `parallel` groups of 32 files, or of 8 MB.
    """

    def group(some: Sequence[Entry]) -> list[Fetched]:
        return [_fetched(connector, entry, folder) for entry in some]

    if parallel == 1:
        for entry in entries:
            yield _fetched(connector, entry, folder)
        return
    waiting: list[Future[list[Fetched]]] = []
    with ThreadPoolExecutor(parallel, thread_name_prefix="landing") as pool:
        try:
            for some in _groups(entries):
                waiting.append(pool.submit(group, some))
                if len(waiting) >= parallel:
                    yield from waiting.pop(0).result()
            while waiting:
                yield from waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()


def _groups(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    some: list[Entry] = []
    size = 0
    for entry in entries:
        some.append(entry)
        size += entry.size
        if len(some) >= _AT_ONCE or size >= _IN_MEMORY:
            yield some
            some, size = [], 0
    if some:
        yield some


def _fetched(connector: Landing, entry: Entry, folder: str) -> Fetched:
    try:
        with connector.open(entry.path) as stream:
            if entry.size <= _IN_MEMORY:
                data = stream.read(entry.size + 1)
                whole = len(data) == entry.size and not stream.read(1)
                return Fetched(entry, hashlib.sha256(data).hexdigest() if whole else "", data)
            return _copied(stream, entry, folder)
    except FileNotFoundError:
        return Fetched(entry, "", b"")


def _copied(stream: BinaryIO, entry: Entry, folder: str) -> Fetched:
    found, size = hashlib.sha256(), 0
    read: Callable[[], bytes] = lambda: stream.read(_PART)  # noqa: E731 - `iter` asks for a function
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as copy:
        for part in iter(read, b""):
            copy.write(part)
            found.update(part)
            size += len(part)
    return Fetched(entry, found.hexdigest() if size == entry.size else "", Path(copy.name))
