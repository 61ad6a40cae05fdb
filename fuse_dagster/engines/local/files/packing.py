"""Compressed files and archives as plain streams: whole or not at all, and never more than a bound allows."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa

from fuse_dagster.core.errors import ConfigError, InputError, first_line
from fuse_dagster.core.naming import listing

_PEEKED = 8
_FREE = 64 * 2**20
_STARTS: dict[bytes, str] = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
}
_ENDINGS = (".gz", ".zst", ".bz2", ".xz", ".zip")
_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How much a compressed file may hold: what is small packed and endless unpacked was made to fill a disk.

    Attributes:
        most: Bytes that one file may unpack to.
        ratio: How many times its packed size; 64 MB are free, since short files of zeros pack well.
        members: Files in one archive.
    """

    most: int = 64 * 2**30
    ratio: int = 1200
    members: int = 10_000

    def __post_init__(self) -> None:
        """Refuse what bounds nothing."""
        if min(self.most, self.ratio, self.members) < 1:
            msg = f"`{self}` allows no file at all. Valid: numbers above zero."
            raise ConfigError(msg)


@dataclass(frozen=True, slots=True)
class Member:
    """One plain file: a file itself, or one of an archive.

    Attributes:
        name: Its name within the archive; "" where there is none.
        open: Opens its plain bytes, each time that it is called; they are checked as they are read.
    """

    name: str
    open: Callable[[], BinaryIO]


@contextmanager
def refusing_damage(file: str) -> Iterator[None]:
    """Say in our words that a compressed file is cut off or damaged.

    Raises:
        InputError: It is.
    """
    try:
        yield
    except (EOFError, zipfile.BadZipFile, lzma.LZMAError, gzip.BadGzipFile, zipfile.LargeZipFile) as error:
        raise InputError(_damaged(file, first_line(error))) from error


def members(opened: Callable[[], BinaryIO], file: str, bound: Bound | None = None) -> Iterator[Member]:
    """The plain files in a file: those of a zip archive, sorted by name; or itself, unpacked.

    Args:
        opened: Opens the file; for a zip archive it has to be able to seek.
        file: What it is called, for messages.
        bound: How much it may hold.

    Yields:
        At least one. Folders, hidden files and what macOS adds are left out.

    Raises:
        InputError: The archive is damaged, encrypted, holds an archive or no file at all, or more than the bound.
    """
    limit = bound or Bound()
    with opened() as stream:
        start = stream.read(_PEEKED)
    packed = packed_as(start)
    if packed == "none" and start and file.lower().endswith(_ENDINGS):
        raise InputError(f"`{file}` is called like a compressed file and is none. Deliver it again, or rename it.")
    if packed != "zip":
        yield Member("", lambda: unpacked(opened(), file, limit))
        return
    with refusing_damage(file), opened() as stream, zipfile.ZipFile(stream) as archive:
        infos = [info for info in archive.infolist() if not info.is_dir() and not _is_hidden(info.filename)]
        _check_archive(infos, file, limit)
        for info in sorted(infos, key=lambda info: info.filename):
            yield Member(info.filename, lambda info=info: _of_zip(opened(), info, f"{file}/{info.filename}", limit))  # type: ignore[misc]


def is_archive(name: str) -> bool:
    """Whether a name says that it is an archive of several files."""
    return name.lower().endswith(".zip")


def packed_as(start: bytes) -> str:
    """The compression that the first bytes of a file tell: `gzip`, `zstd`, `bzip2`, `xz`, `zip` or `none`."""
    if start.startswith((_ZIP, _EMPTY_ZIP)):
        return "zip"
    return next((name for sign, name in _STARTS.items() if start.startswith(sign)), "none")


def unpacked(stream: BinaryIO, file: str, bound: Bound | None = None) -> BinaryIO:
    """The content of a stream, whatever it is compressed by.

    Args:
        stream: The file, from its first byte; closing the result closes it.
        file: What it is called, for messages.
        bound: How much it may hold.

    Returns:
        Its plain bytes. Reading them raises `InputError` where the file is cut off or damaged, or holds too much.
    """
    counted = _Counted(stream)
    buffered = io.BufferedReader(counted)
    match packed_as(buffered.peek(_PEEKED)[:_PEEKED]):
        case "gzip":
            plain: BinaryIO = gzip.GzipFile(fileobj=buffered)  # type: ignore[assignment]
        case "zstd":
            plain = pa.CompressedInputStream(buffered, "zstd")
        case "bzip2":
            plain = _Whole(buffered, bz2.BZ2Decompressor)  # type: ignore[assignment]
        case "xz":
            plain = _Whole(buffered, lzma.LZMADecompressor)  # type: ignore[assignment]
        case _:
            return buffered
    return io.BufferedReader(_Bounded(plain, counted, file, bound or Bound()), buffer_size=2**17)


class _Counted(io.RawIOBase):
    """A stream that has no more than `read`, as a file that can be buffered, and counts what was read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.count = stream, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # as io documents it
        """Fill the buffer, as far as there is something."""
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)

    def close(self) -> None:
        """Close what it reads."""
        if not self.closed:
            self._stream.close()
        super().close()


class _Whole:
    """One compressed part after another, to the end: bytes that belong to none are an error, not the end.

    Python's own readers of bzip2 and xz end silently where something else follows.
    """

    def __init__(self, stream: BinaryIO, make: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]):
        self._stream, self._make, self._part = stream, make, make()

    def read(self, size: int) -> bytes:
        """Some plain bytes, at most `size`; none at the end."""
        while True:
            if self._part.eof:
                data = self._part.unused_data or self._stream.read(2**16)
                if not data:
                    return b""
                self._part = self._make()
            elif self._part.needs_input:
                data = self._stream.read(2**16)
                if not data:
                    msg = "Compressed file ended before the end-of-stream marker was reached"
                    raise EOFError(msg)
            else:
                data = b""
            found = self._part.decompress(data, size)
            if found:
                return found

    def close(self) -> None:
        """Close what it reads."""
        self._stream.close()


class _Bounded(io.RawIOBase):
    """Plain bytes, counted against what the packed ones may hold."""

    def __init__(self, plain: BinaryIO, packed: _Counted, file: str, bound: Bound) -> None:
        self._plain, self._packed, self._file, self._bound, self._count = plain, packed, file, bound, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # as io documents it
        """Fill the buffer, as far as there is something.

        Raises:
            InputError: It is cut off or damaged, or holds more than the bound.
        """
        with refusing_damage(self._file):
            try:
                data = self._plain.read(len(buffer))
            except OSError as error:  # of every decoder; the store's own are its connector's, and no `OSError` alone
                if type(error) is not OSError and not isinstance(error, gzip.BadGzipFile):
                    raise
                raise InputError(_damaged(self._file, first_line(error))) from error
            except zlib.error as error:
                raise InputError(_damaged(self._file, first_line(error))) from error
        buffer[: len(data)] = data
        self._count += len(data)
        allowed = min(self._bound.most, max(_FREE, self._packed.count * self._bound.ratio))
        if self._count > allowed:
            msg = (
                f"`{self._file}` unpacks to more than {allowed:,} bytes from {self._packed.count:,}, as a file made to "
                "fill a disk does. If it is meant, allow more by `Bound(most=..., ratio=...)`."
            )
            raise InputError(msg)
        return len(data)

    def close(self) -> None:
        """Close what it reads."""
        if not self.closed:
            self._plain.close()
            self._packed.close()
        super().close()


def _of_zip(stream: BinaryIO, info: zipfile.ZipInfo, file: str, bound: Bound) -> BinaryIO:
    """One member of an archive; what it says of its size is not believed."""
    archive = zipfile.ZipFile(stream)
    packed = _Counted(stream)
    packed.count = info.compress_size
    with refusing_damage(file):
        member = archive.open(info)
    return io.BufferedReader(_Bounded(member, packed, file, bound), buffer_size=2**17)  # type: ignore[arg-type]


def _check_archive(infos: list[zipfile.ZipInfo], file: str, bound: Bound) -> None:
    if not infos:
        raise InputError(f"`{file}` is an archive without files. Put at least one in.")
    if len(infos) > bound.members:
        msg = f"`{file}` holds {len(infos):,} files; {bound.members:,} are allowed, more by `Bound(members=...)`."
        raise InputError(msg)
    names = [info.filename for info in infos]
    repeated = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if repeated:
        raise InputError(f"`{file}` holds files of one name: {listing(sorted(repeated))}. Rename them.")
    locked = [info.filename for info in infos if info.flag_bits & 1]
    if locked:
        raise InputError(f"`{file}` is encrypted ({listing(locked, limit=3)}). Decrypt it before it lands.")
    if sum(info.file_size for info in infos) > bound.most:
        raise InputError(f"`{file}` says that it unpacks to more than the {bound.most:,} bytes that are allowed.")


def _is_hidden(name: str) -> bool:
    return name.startswith("__MACOSX/") or name.rpartition("/")[2].startswith(".")


def _damaged(file: str, why: str) -> str:
    return f"`{file}` is cut off or damaged: {why.rstrip('.')}. Deliver it again, whole."
