"""An HTTP proxy before a server, that does to requests and answers what networks and busy servers do to them.

It runs in a process of its own, because delta-rs holds Python's global lock while it waits for some answers.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import IO, Any
from urllib.parse import unquote

from fuse_dagster_tests.servers.faults import COMMIT, GONE, Fault, Seen

_PIECE = 65536
_SLOW = 20
_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class FaultyProxy:
    """The proxy as a test sees it.

    Attributes:
        port: Where it listens on 127.0.0.1.
    """

    port: int
    _line: Any
    _lock: Any = field(default_factory=threading.Lock)

    def cause(self, *faults: Fault) -> None:
        """Let these happen from now on, beside those that were ordered before."""
        self._ask("cause", faults)

    def calm(self) -> None:
        """Let nothing happen any more, and forget what came by."""
        self._ask("calm")

    @property
    def seen(self) -> list[Seen]:
        """What came by since the last `calm`."""
        found: list[Seen] = self._ask("seen")
        return found

    @property
    def happened(self) -> int:
        """To how many requests something happened since the last `calm`."""
        return sum(1 for one in self.seen if one.fault)

    def go_away(self) -> None:
        """Let the server be unreachable from now on."""
        self.cause(GONE)

    def come_back(self) -> None:
        """Let it be reached again."""
        self.calm()

    def lose_next(self, *, then_gone: bool = False) -> None:
        """Lose the answer to the next commit; with `then_gone` the server can't be reached after it."""
        self.cause(Fault("lost", COMMIT, then=GONE if then_gone else None))

    def hold_next(self) -> None:
        """Keep the next commit back, until `let_go`."""
        self.cause(Fault("held", COMMIT))

    @property
    def held(self) -> int:
        """How many commits were held since the last `calm`."""
        return sum(1 for one in self.seen if one.fault == "held")

    def let_go(self) -> None:
        """Let a commit that is kept back reach the server."""
        self._ask("let go")

    def _ask(self, *order: Any) -> Any:
        with self._lock:
            self._line.send(order)
            return self._line.recv()


@contextlib.contextmanager
def faulty_proxy(server: int) -> Iterator[FaultyProxy]:
    """A proxy before a server's port on 127.0.0.1, ended afterwards."""
    ours, theirs = _spawn.Pipe()
    process = _spawn.Process(target=_run, args=(server, theirs), daemon=True)
    process.start()
    try:
        yield FaultyProxy(ours.recv(), ours)
    finally:
        process.kill()
        process.join()


def _run(server: int, line: Any) -> None:
    proxy = _Proxy(server)
    threading.Thread(target=proxy.obey, args=(line,), daemon=True).start()
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        line.send(listener.getsockname()[1])
        while True:
            client, _ = listener.accept()
            threading.Thread(target=proxy.serve, args=(client,), daemon=True).start()


@dataclass(frozen=True)
class _Head:
    """The first lines of a request or an answer."""

    raw: bytes
    line: str
    fields: dict[str, str]

    @property
    def length(self) -> int:
        return int(self.fields.get("content-length", 0))

    def body(self, source: IO[bytes]) -> Iterator[bytes]:
        """What follows, as it stands on the wire, piece by piece."""
        if self.fields.get("transfer-encoding", "").lower() == "chunked":
            return _chunks(source)
        return _pieces(source, self.length)


class _Proxy:
    """The proxy in its own process."""

    def __init__(self, server: int) -> None:
        self._server, self._lock = server, threading.Lock()
        self._faults: list[Fault] = []
        self._seen: list[Seen] = []
        self._chance = random.Random(0)
        self._let_go = threading.Event()

    def obey(self, line: Any) -> None:
        """Do what the test says."""
        while True:
            order, *values = line.recv()
            with self._lock:
                line.send(self._obeyed(order, *values))

    def _obeyed(self, order: str, *values: Any) -> object:
        if order == "seen":
            return list(self._seen)
        if order == "cause":
            self._faults += values[0]
            self._let_go.clear()
        elif order == "let go":
            self._let_go.set()
        else:
            self._faults, self._seen = [], []
        return None

    def serve(self, client: socket.socket) -> None:
        """Hand on the requests of one connection."""
        with client, client.makefile("rb") as source, contextlib.suppress(OSError):
            while (request := _head(source)) and self._exchange(client, source, request):
                pass
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _fault(self, request: _Head) -> Fault | None:
        """What happens to this request."""
        with self._lock:
            found = next((at for at, one in enumerate(self._faults) if self._fits(one, request)), None)
            fault = None
            if found is not None:
                fault = self._faults[found]
                self._faults[found] = replace(fault, times=fault.times - 1)
                self._faults = self._faults if fault.then is None else [fault.then]
            names = request.fields.keys() & {"if-none-match", "x-goog-if-generation-match"}
            self._seen.append(Seen(time.monotonic(), request.line, bool(names), fault.kind if fault else ""))
        return fault

    def _fits(self, fault: Fault, request: _Head) -> bool:
        if not fault.times or not re.match(fault.request, request.line):
            return False
        if fault.kind == "half sent" and request.length < 2:
            return False
        return fault.share >= 1 or self._chance.random() < fault.share

    def _exchange(self, client: socket.socket, source: IO[bytes], request: _Head) -> bool:
        """Hand on a request and its answer; whether the connection goes on."""
        fault = self._fault(request)
        kind = fault.kind if fault else ""
        if kind == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            source.close()
            client.close()
            return False
        if "expect" in request.fields:
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")  # of the server's own, which comes too late, nobody hears
        if kind == "held":
            self._let_go.wait()
        if kind in {"refused", "silent"}:
            _drain(request.body(source))
            if fault and kind == "refused":
                client.sendall(_refusal(fault))
            else:
                client.recv(1)  # until the client gives up
            return kind == "refused"
        with (
            socket.create_connection(("127.0.0.1", self._server)) as server,
            server.makefile("rb") as back,
        ):
            server.sendall(request.raw)
            half = request.length // 2 if kind == "half sent" else None
            _copy(request.body(source), server.sendall, most=half)
            if half is not None:
                return False
            while (answer := _head(back)) and answer.line.split()[1] == "100":
                pass
            if answer is None or kind == "lost":
                return False
            return _answered(client, back, request, answer, fault)


def _answered(client: socket.socket, back: IO[bytes], request: _Head, answer: _Head, fault: Fault | None) -> bool:
    """Hand on an answer; whether the connection goes on."""
    kind = fault.kind if fault else ""
    if fault and kind == "late":
        time.sleep(fault.seconds)
    client.sendall(answer.raw)
    status = answer.line.split()[1]
    if request.line.startswith("HEAD ") or status in {"204", "304"}:
        return kind != "half answered"
    if kind == "half answered":
        _copy(answer.body(back), client.sendall, most=answer.length // 2)
        return False
    if fault and kind == "trickled":
        _trickle(answer.body(back), client, fault.seconds)
    else:
        _copy(answer.body(back), client.sendall)
    return answer.fields.get("connection", "").lower() != "close"


def _trickle(body: Iterable[bytes], client: socket.socket, seconds: float) -> None:
    """The first bytes come one by one, and after a while the rest."""
    for number, piece in enumerate(body):
        for byte in piece[:_SLOW] if number == 0 else b"":
            client.sendall(bytes([byte]))
            time.sleep(seconds)
        client.sendall(piece[_SLOW:] if number == 0 else piece)


def _head(source: IO[bytes]) -> _Head | None:
    """The next head; None at the end of the connection."""
    lines = []
    while (line := source.readline()) != b"\r\n":
        if not line.endswith(b"\r\n"):  # also at the end of the connection, where `readline` returns b"" for ever
            return None
        lines.append(line)
    if not lines:
        return None
    pairs = (line.decode("latin-1").partition(":") for line in lines[1:])
    fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
    first = unquote(lines[0].decode("latin-1").strip())
    return _Head(b"".join(lines) + b"\r\n", first.removesuffix(" HTTP/1.1"), fields)


def _pieces(source: IO[bytes], length: int) -> Iterator[bytes]:
    while length and (piece := source.read(min(length, _PIECE))):
        length -= len(piece)
        yield piece


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    while True:
        size = source.readline()
        length = int(size.partition(b";")[0], 16)
        yield size + b"".join(_pieces(source, length)) + source.readline()
        if not length:
            return


def _copy(body: Iterable[bytes], sink: Callable[[bytes], object], *, most: int | None = None) -> None:
    for piece in body:
        part = piece if most is None else piece[:most]
        sink(part)
        if most is not None:
            most -= len(part)
            if most <= 0:
                return


def _drain(body: Iterable[bytes]) -> None:
    for _ in body:
        pass


def _refusal(fault: Fault) -> bytes:
    word = {403: "ExpiredToken", 429: "TooManyRequests", 503: "SlowDown"}[fault.status]
    body = f'<?xml version="1.0"?><Error><Code>{word}</Code><Message>Please reduce your request rate.</Message></Error>'
    fields = [
        f"HTTP/1.1 {fault.status} {word}",
        "content-type: application/xml",
        f"content-length: {len(body)}",
        *([] if fault.retry_after is None else [f"retry-after: {fault.retry_after}"]),
    ]
    return ("\r\n".join([*fields, "", body])).encode()
