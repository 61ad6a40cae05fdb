"""Checksums that a server sends along: of what one answer holds, and of the whole file.

RFC 9530 (`Content-Digest`, `Repr-Digest`), RFC 3230 (`Digest`), RFC 1864 (`Content-MD5`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Protocol


class Hasher(Protocol):
    """What `hashlib.new` makes."""

    def update(self, data: bytes, /) -> None:
        """Take more bytes in."""

    def digest(self) -> bytes:
        """The checksum of the bytes so far."""


_NAMES = {"sha-512": "sha512", "sha-256": "sha256", "sha": "sha1", "md5": "md5"}
_ONE = re.compile(r"\s*([\w-]+)=:?([A-Za-z0-9+/=_-]+):?\s*")


def of_file(headers: Mapping[str, str]) -> dict[str, bytes]:
    """Algorithm of `hashlib` -> checksum of the whole file; empty where the server says none."""
    return _said(headers.get("digest", "")) | _said(headers.get("repr-digest", ""))


def of_answer(headers: Mapping[str, str], *, whole: bool) -> dict[str, bytes]:
    """Algorithm of `hashlib` -> checksum of what this answer holds.

    Args:
        headers: Of the answer, names in small letters.
        whole: Whether it holds the whole file.
    """
    found = _said(headers.get("content-digest", ""))
    if whole:
        found |= of_file(headers)
        if "content-md5" in headers:
            found |= _said(f"md5={headers['content-md5']}")
    return found


def strongest(sums: Mapping[str, bytes]) -> str | None:
    """The algorithm to check by; None where there is none."""
    return next((name for name in _NAMES.values() if name in sums), None)


def hasher(name: str) -> Hasher:
    """What computes a checksum; none of them protects against who can change the answer."""
    return hashlib.new(name, usedforsecurity=False)


def _said(text: str) -> dict[str, bytes]:
    found = {}
    for one in text.split(","):
        match = _ONE.fullmatch(one)
        if match and match[1].lower() in _NAMES:
            try:
                found[_NAMES[match[1].lower()]] = base64.b64decode(match[2], validate=True)
            except binascii.Error:
                continue  # a checksum that can't be read says nothing
    return found
