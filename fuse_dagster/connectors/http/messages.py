"""What is asked and what is answered, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import BinaryIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to a server.

    Attributes:
        url: Absolute, with its query and without credentials.
        method: As `GET`.
        headers: Name -> value; no credentials.
        body: What is sent along; None for nothing.
        repeatable: Whether it may arrive twice without harm, as a question that changes nothing.
        accept: Statuses besides 2xx that are an answer and no failure, as 404 for what asks whether a thing is there.
        most: Bytes of an answer above which it is refused, before it fills the memory.
        into: A file that the body of a success goes into, in place of the memory; emptied before each try.
        decoded: Whether what the server packed for the way is unpacked.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    repeatable: bool = True
    accept: frozenset[int] = frozenset()
    most: int = 512 * 2**20
    into: BinaryIO | None = None
    decoded: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server answered, whole.

    Attributes:
        status: As 200.
        headers: Name in small letters -> value; several of one name are joined by `, `.
        body: Its bytes, unpacked.
        url: Where it came from in the end, after redirects; without credentials.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


class BrokenError(Exception):
    """The connection broke, before or in the middle of an answer; it never leaves this folder.

    Attributes:
        kind: One of `host`, `time`, `cut`, `certificate`, `scheme`, `large`, `proxy`.
        arrived: Whether the server may have heard of the request.
    """

    def __init__(self, kind: str, *, arrived: bool) -> None:
        super().__init__(kind)
        self.kind = kind
        self.arrived = arrived
