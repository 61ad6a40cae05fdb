"""Text of any encoding as UTF-8: declared or detected, and every byte accounted for."""

from __future__ import annotations

import codecs
import io
from typing import BinaryIO

from fuse_dagster.core.errors import ConfigError, InputError, MissingExtraError

SAMPLE = 2**18
"""Bytes from which an encoding is detected."""

_PART = 2**18
_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_FAMILIES = ("utf-8", "utf-16", "utf-32")


def known_encoding(name: str) -> str:
    """The name that Python gives an encoding.

    Raises:
        ConfigError: It is none of text.
    """
    try:
        found = codecs.lookup(name)
        "".encode(found.name)
    except LookupError as error:
        msg = f"`{name}` is no encoding that Python knows. Valid: `utf-8`, `cp1252`, `utf-16-le`; none to detect it."
        raise ConfigError(msg) from error
    return found.name


def as_utf8(stream: BinaryIO, encoding: str | None, file: str) -> BinaryIO:
    """Text as UTF-8 without a byte order mark.

    Args:
        stream: The bytes, from the first.
        encoding: Which they are in; None to detect it: by a byte order mark, as UTF-8 where the sample is, else by
            charset-normalizer.
        file: What it is called, for messages.

    Returns:
        UTF-8; reading it raises `InputError` at the first byte that can't be decoded, with its position.

    Raises:
        InputError: The mark at the beginning says another encoding than the one declared, or none can be told.
        ConfigError: The encoding is unknown.
        MissingExtraError: The package that detects encodings is not installed.
    """
    buffered = stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream, buffer_size=SAMPLE)  # type: ignore[type-var]
    start = _first(buffered)
    marked, skipped = next(((name, len(mark)) for mark, name in _MARKS if start.startswith(mark)), ("", 0))
    name = known_encoding(encoding) if encoding else marked or _detected(start, file)
    if encoding and marked and name not in {marked, "utf-8-sig", marked[:6]}:
        msg = (
            f"`{file}` begins with the mark of {marked}, and is declared as `{encoding}`. Declare what it is, or none."
        )
        raise InputError(msg)
    if name in {"utf-16", "utf-32"}:
        if not marked:
            msg = f"`{file}` has no byte order mark. Declare `{name}-le` or `{name}-be`."
            raise InputError(msg)
        name = marked
    decoding = _Decoding(_Joined(start[skipped:], buffered), "utf-8" if name == "utf-8-sig" else name, file, skipped)
    return io.BufferedReader(decoding, buffer_size=_PART)


def _first(stream: BinaryIO) -> bytes:
    """The first bytes, as many as the sample or all there are: one read may bring fewer."""
    parts, missing = [], SAMPLE
    while missing and (part := stream.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _detected(start: bytes, file: str) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        decoder.decode(start, final=len(start) < SAMPLE)
    except UnicodeDecodeError:
        return _guessed(start, file)
    return "utf-8"


def _guessed(start: bytes, file: str) -> str:
    try:
        from charset_normalizer import from_bytes
    except ModuleNotFoundError as error:
        msg = 'To detect an encoding needs `charset-normalizer`. Declare it, or: pip install "fuse-dagster[landing]"'
        raise MissingExtraError(msg) from error
    best = from_bytes(start[:65_536]).best()
    if best is None:
        msg = f'`{file}` is in no encoding that can be told. Declare it, as by `encoding="cp1252"`.'
        raise InputError(msg)
    same = set(best.could_be_from_charset)
    return known_encoding("cp1252" if "cp1252" in same else best.encoding)


class _Joined:
    """What was read already, and then the rest."""

    def __init__(self, start: bytes, rest: BinaryIO) -> None:
        self._start, self._rest = start, rest

    def read(self, size: int) -> bytes:
        """Some bytes; none at the end."""
        if self._start:
            part, self._start = self._start[:size], self._start[size:]
            return part
        return self._rest.read(size)

    def close(self) -> None:
        """Close the rest."""
        self._rest.close()


class _Decoding(io.RawIOBase):
    def __init__(self, stream: _Joined, encoding: str, file: str, at: int) -> None:
        self._stream, self._name, self._file, self._at = stream, encoding, file, at
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready, self._ended = b"", False

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # as io documents it
        """Fill the buffer, as far as there is something.

        Raises:
            InputError: A byte can't be decoded.
        """
        while not self._ready and not self._ended:
            data = self._stream.read(_PART)
            self._ended = not data
            self._ready = self._decoded(data).encode()
        part, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)

    def _decoded(self, data: bytes) -> str:
        held = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(data, final=self._ended)
            text.encode()
        except UnicodeError as error:
            start = getattr(error, "start", 0)
            bad = error.object[start : start + 4] if isinstance(error, UnicodeDecodeError) else b""
            said = f": the bytes `{bad.hex(' ')}`" if bad else ""
            msg = (
                f"`{self._file}` is no {self._name} at byte {self._at - held + start:,}{said}. "
                "Declare the encoding that it is in (`cp1252` is common), or have it delivered again."
            )
            raise InputError(msg) from error
        self._at += len(data)
        return text

    def close(self) -> None:
        """Close what it reads."""
        if not self.closed:
            self._stream.close()
        super().close()
