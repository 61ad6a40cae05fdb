"""The bytes of files with their hash, several at a time: what is read is what was hashed, whatever else happens."""

from __future__ import annotations

import hashlib
import io
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, cast

from fuse_dagster.connectors.base import CanReadWhole, Entry
from fuse_dagster.connectors.lake import REFUSED
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.ingest.landing.arriving import Landing
from fuse_dagster.ingest.landing.scratch import View, nameless

_IN_MEMORY = 8 * 2**20
_PART = 2**20
_AT_ONCE = 32
_SLOW = 0.0005
"""Seconds for a file from which on threads are worth what they cost: the store is waited for."""


@dataclass(slots=True)
class Fetched:
    """A file as it was read.

    Attributes:
        entry: What the listing said of it.
        digest: SHA-256 of its bytes, as hexadecimal text; "" where it has gone, changed meanwhile, or is refused.
        data: Its bytes, or a copy on this machine's disk, which has no name.
        is_refused: Whether the connector opens no file of this name.
    """

    entry: Entry
    digest: str
    data: bytes | BinaryIO
    is_refused: bool = False

    def open(self) -> BinaryIO:
        """Open what was read."""
        if isinstance(self.data, bytes):
            return io.BytesIO(self.data)
        return cast("BinaryIO", io.BufferedReader(View(self.data), buffer_size=_PART))

    def forget(self) -> None:
        """Remove the copy."""
        if not isinstance(self.data, bytes):
            self.data.close()


def fetch(connector: Landing, entries: Sequence[Entry], *, parallel: int) -> Iterator[Fetched]:
    """Read files, in their order.

    Args:
        connector: Where they lie.
        entries: The files.
        parallel: How many are read at a time, at the most; where files come at once, one at a time is quicker.

    Yields:
        Each file; memory holds `parallel` groups of 32 files, or of 8 MB.
    """
    whole = connector if isinstance(connector, CanReadWhole) else None
    groups = _groups(entries)

    def read(some: Sequence[Entry]) -> list[Fetched]:
        return [_fetched(connector, entry, whole) for entry in some]

    for some in groups:
        began, group = time.perf_counter(), read(some)
        is_slow = time.perf_counter() - began > _SLOW * len(group)
        yield from group
        if is_slow and parallel > 1:
            break
    yield from _in_threads(read, groups, parallel)


def _in_threads(
    read: Callable[[Sequence[Entry]], list[Fetched]], groups: Iterator[list[Entry]], parallel: int
) -> Iterator[Fetched]:
    waiting: deque[Future[list[Fetched]]] = deque()
    with ThreadPoolExecutor(parallel, thread_name_prefix="landing") as pool:
        try:
            for some in groups:
                waiting.append(pool.submit(read, some))
                if len(waiting) >= parallel:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
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


def _fetched(connector: Landing, entry: Entry, whole: CanReadWhole | None) -> Fetched:
    size = entry.size
    try:
        if size > _IN_MEMORY:
            with connector.open(entry.path) as stream:
                return _copied(stream, entry)
        if whole is not None:
            data = whole.read_whole(entry.path, size)
        else:
            with connector.open(entry.path) as stream:
                data = stream.read(size + 1)
                data += stream.read(1) if len(data) == size else b""
    except FileNotFoundError:
        return Fetched(entry, "", b"")
    except ConfigError:
        if entry.path.isprintable() and set(REFUSED).isdisjoint(entry.path.replace("/", "")):
            raise  # it is not for the name
        return Fetched(entry, "", b"", is_refused=True)
    return Fetched(entry, hashlib.sha256(data).hexdigest() if len(data) == size else "", data)


def _copied(stream: BinaryIO, entry: Entry) -> Fetched:
    found, size, copy = hashlib.sha256(), 0, nameless()
    try:
        while size <= entry.size and (part := stream.read(_PART)):  # what grows faster than it is read has an end
            copy.write(part)
            found.update(part)
            size += len(part)
    except BaseException:
        copy.close()
        raise
    return Fetched(entry, found.hexdigest() if size == entry.size else "", copy)
