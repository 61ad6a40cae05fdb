"""A file of a store as a stream that Python's own libraries can read."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

PART = 8 * 1024 * 1024
"""Bytes that are read or sent at a time."""


class Parts(io.RawIOBase):
    """A file of known size as a stream, of which each part is fetched when it is read.

    Args:
        size: Of the file, bytes.
        part: Fetches the bytes from one position, up to another one and without it.
    """

    def __init__(self, size: int, part: Callable[[int, int], Any]) -> None:
        super().__init__()
        self._size, self._part, self._at = size, part, 0

    def readable(self) -> bool:
        """Always: it is there for that."""
        return True

    def seekable(self) -> bool:
        """Always: a part is fetched from anywhere."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, fetching nothing.

        Raises:
            ValueError: It lies before the beginning.
        """
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"`{start + offset}` lies before the beginning of the file.")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Say at which byte it is."""
        return self._at

    def readall(self) -> bytes:
        """Read all that is left, part by part."""
        return b"".join(iter(lambda: self.read(PART), b""))

    def readinto(self, buffer: Any) -> int:
        """Read at most a part into a buffer."""
        end = min(self._size, self._at + min(len(buffer), PART))
        if end <= self._at:
            return 0
        found = memoryview(self._part(self._at, end))
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)
