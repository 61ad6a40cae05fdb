"""Files of a web server, part by part where it gives parts, and never a part for the whole."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from fuse_dagster.connectors.http import digests
from fuse_dagster.connectors.http.messages import Answer, Request
from fuse_dagster.connectors.parts import PART, Parts
from fuse_dagster.core.errors import StoreError, StoreUnavailableError

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_MOST = 2**50
_GZIP = frozenset({"gzip", "x-gzip"})
_PACKED = (".gz", ".gzip", ".tgz")

Send = Callable[[Request], Answer]


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a file is: its address, the same for people, and what asks there."""

    url: str
    place: str
    send: Send


@dataclass(frozen=True, slots=True)
class _Part:
    """What one answer holds: bytes from `start` up to `end` of `size`."""

    start: int
    end: int
    size: int


def opened(url: str, place: str, send: Send) -> BinaryIO:
    """Open a file for reading bytes.

    Args:
        url: Its address.
        place: The address for people.
        send: Asks the server.

    Returns:
        A file whose parts of 8 MB are fetched as it is read; or one that was fetched whole, to this machine's disk,
        where the server gives no parts, or does not say whether the file is still the same.

    Raises:
        StoreError: The server does not say how long the file is, or its checksum does not fit.
        FuseError: As `send`.
    """
    page = _kept()
    try:
        answer = send(_request(url, page, 0, PART))
        if answer.status == 416 and answer.headers.get("content-range", "").strip() == "bytes */0":
            page.close()
            return io.BytesIO()
        if _is_packed(answer, url):
            return _whole(url, place, send, page, unpack=True)
        if answer.status != 206:
            _check_whole(answer, page, place)
            return page
        part = _part(answer, place, 0, None)
        first = _read(page)
        _check(first, answer, place, part)
        same = _validator(answer.headers)
        if part.end < part.size and not same:
            return _whole(url, place, send, page, unpack=False)
    except BaseException:
        page.close()
        raise
    page.close()
    fetch = _Fetch(_Source(url, place, send), part, same, first, answer.headers)
    return io.BufferedReader(Parts(part.size, fetch), buffer_size=min(PART, max(1, part.size)))


class _Fetch:
    """Fetches the parts of one file, and compares the checksum of all of it where it is read in one go."""

    def __init__(self, source: _Source, part: _Part, same: str, first: bytes, headers: Mapping[str, str]) -> None:
        self._source, self._size, self._same = source, part.size, same
        self._first: bytes | None = first
        sums = digests.of_file(headers)
        self._name = digests.strongest(sums)
        self._expected = sums.get(self._name or "", b"")
        self._sum = digests.hasher(self._name) if self._name else None
        self._summed = 0

    def __call__(self, start: int, end: int) -> bytes:
        """Bytes from one position up to another."""
        found = self._fetched(start, end)
        if self._sum is not None and start <= self._summed < start + len(found):
            self._sum.update(found[self._summed - start :])
            self._summed = start + len(found)
            if self._summed == self._size and self._sum.digest() != self._expected:
                raise _wrong_sum(self._source.place, self._name)
        return found

    def _fetched(self, start: int, end: int) -> bytes:
        if self._first is not None and end <= len(self._first):
            return self._first[start:end]
        self._first = None
        page = io.BytesIO()
        answer = self._source.send(_request(self._source.url, page, start, end, same=self._same))
        if answer.status != 206 or (_validator(answer.headers) or self._same) != self._same:
            msg = f"`{self._source.place}` was replaced while it was read. Read it again, from its beginning."
            raise StoreUnavailableError(msg)
        part = _part(answer, self._source.place, start, end)
        if part.size != self._size:
            msg = f"`{self._source.place}` was written to while it was read. Read it again, from its beginning."
            raise StoreUnavailableError(msg)
        found = page.getvalue()
        _check(found, answer, self._source.place, part)
        return found


def _kept() -> BinaryIO:
    """A file for one answer, which whoever reads it closes."""
    return tempfile.SpooledTemporaryFile(max_size=PART + 1, prefix="fuse_")  # type: ignore[return-value]  # a file


def _request(url: str, page: BinaryIO, start: int, end: int, *, same: str = "") -> Request:
    headers = {"Accept-Encoding": "identity", "Range": f"bytes={start}-{end - 1}"}
    if same:
        headers["If-Range"] = same
    return Request(url=url, headers=headers, into=page, most=_MOST, decoded=False, accept=frozenset({416}))


def _whole(url: str, place: str, send: Send, page: BinaryIO, *, unpack: bool) -> BinaryIO:
    """The whole file on this machine's disk, by one answer."""
    headers = {"Accept-Encoding": "identity"}
    answer = send(Request(url=url, headers=headers, into=page, most=_MOST, decoded=unpack))
    _check_whole(answer, page, place, unpacked=unpack)
    return page


def _check_whole(answer: Answer, page: BinaryIO, place: str, *, unpacked: bool = False) -> None:
    """Refuse an answer that may be shorter than the file; its bytes were counted where it says how many they are."""
    headers = answer.headers
    if answer.status != 200:
        raise StoreError(f"`{place}` answered with status {answer.status}, which is no file. Check the address.")
    if "content-length" not in headers and headers.get("transfer-encoding", "").lower() != "chunked":
        raise StoreError(
            f"`{place}` comes without a length, so that nobody can tell whether it is whole. Nothing of it was used. "
            "Have the server say `Content-Length`, or send in chunks."
        )
    size = page.seek(0, io.SEEK_END)
    said = headers.get("content-length", "")
    if not unpacked and said.isdigit() and int(said) != size:
        raise StoreUnavailableError(f"Of `{place}` {size} bytes came, and {said} were announced. Read it again.")
    sums = {} if unpacked else digests.of_answer(headers, whole=True)
    name = digests.strongest(sums)
    page.seek(0)
    if name:
        found = digests.hasher(name)
        while piece := page.read(2**20):
            found.update(piece)
        if found.digest() != sums[name]:
            raise _wrong_sum(place, name)
        page.seek(0)


def _check(data: bytes, answer: Answer, place: str, part: _Part) -> None:
    """Refuse a part whose length or checksum is not what the answer says."""
    if len(data) != part.end - part.start:
        msg = f"Of `{place}` {len(data)} bytes came in place of {part.end - part.start}. Read it again."
        raise StoreUnavailableError(msg)
    sums = digests.of_answer(answer.headers, whole=False)
    name = digests.strongest(sums)
    if name:
        found = digests.hasher(name)
        found.update(data)
        if found.digest() != sums[name]:
            raise _wrong_sum(place, name)


def _part(answer: Answer, place: str, start: int, end: int | None) -> _Part:
    """Which bytes an answer holds.

    Raises:
        StoreError: Others than it was asked for, or it doesn't say.
    """
    found = _RANGE.fullmatch(answer.headers.get("content-range", "").strip())
    if found:
        part = _Part(int(found[1]), int(found[2]) + 1, int(found[3]))
        wanted = min(PART if end is None else end, part.size)
        if part.start == start and part.end == wanted and part.end > part.start:
            return part
    said = answer.headers.get("content-range", "nothing")[:60]
    raise StoreError(f"`{place}` answers with other bytes than it was asked for (`{said!r}`). Nothing of it was used.")


def _validator(headers: Mapping[str, str]) -> str:
    """What says whether a file is still the same: a strong ETag, or when it was written; "" for neither."""
    tag = headers.get("etag", "").strip()
    return tag if tag.startswith('"') else headers.get("last-modified", "").strip()


def _is_packed(answer: Answer, url: str) -> bool:
    """Whether the server packed the file for the way; a file that is packed itself is sent as it is.

    Raises:
        StoreError: It did so in a way that is not read here.
    """
    said = answer.headers.get("content-encoding", "identity").strip().lower()
    if said in {"", "identity"} or (said in _GZIP and url.partition("?")[0].lower().endswith(_PACKED)):
        return False
    if said not in {*_GZIP, "deflate"}:
        raise StoreError(f"`{said[:30]!r}` is a packing that is not read here. Have the server send the file as it is.")
    return True


def _read(page: BinaryIO) -> bytes:
    page.seek(0)
    return page.read()


def _wrong_sum(place: str, name: str | None) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"`{place}` came with another checksum ({name}) than its server says: it was damaged, or replaced meanwhile. "
        "Read it again."
    )
