"""Room on this machine's disk, in files without a name: what ends the process, even SIGKILL, takes them along."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass
from typing import BinaryIO

import polars as pl


@dataclass(frozen=True, slots=True)
class Kept:
    """Where rows are in the room.

    Attributes:
        start: Their first byte.
        size: Bytes.
    """

    start: int
    size: int


class Scratch:
    """Rows on the disk, in one file that is made with the first of them."""

    def __init__(self) -> None:
        self._file: BinaryIO | None = None
        self._end = 0

    def put(self, frame: pl.DataFrame) -> Kept:
        """Keep rows."""
        if self._file is None:
            self._file = nameless()
        packed = io.BytesIO()
        frame.write_ipc(packed, compression="lz4")
        kept = Kept(self._end, packed.tell())
        self._file.seek(kept.start)
        self._file.write(packed.getbuffer())
        self._end += kept.size
        return kept

    def get(self, kept: Kept) -> pl.DataFrame:
        """Rows that are kept."""
        assert self._file is not None, "something is kept"
        self._file.seek(kept.start)
        return pl.read_ipc(io.BytesIO(self._file.read(kept.size)))

    def forget_from(self, kept: Kept) -> None:
        """Give up these rows and all that came after them."""
        self._end = kept.start

    def close(self) -> None:
        """Give the room back."""
        if self._file is not None:
            self._file.close()


class View(io.RawIOBase):
    """A file that is open already, from its beginning; closing the view leaves it open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}
        self._at = start[whence] + offset if whence in start else self._file.seek(offset, whence)
        return self._at

    def tell(self) -> int:
        """The position."""
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into a buffer; how much that was."""
        self._file.seek(self._at)
        found = self._file.read(len(buffer))
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


def nameless() -> BinaryIO:
    """A temporary file without a name."""
    return tempfile.TemporaryFile(prefix="fuse_landing_")
