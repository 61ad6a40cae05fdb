"""A wire before a server's port, for protocols that are no HTTP: it is cut, goes silent or slow when a test says so."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

_PIECE = 65536


class Wire:
    """What a test does to the bytes that come back from a server.

    Attributes:
        port: Where it listens on 127.0.0.1.
        cuts: How many connections were cut.
        opened: How many connections were made.
        longest: How many bytes came back on the connection on which most did.
    """

    def __init__(self, server: int) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self.calm()
        threading.Thread(target=self._serve, daemon=True).start()

    def calm(self) -> None:
        """Let all through, and count anew."""
        with self._lock:
            self._after: list[int] = []
            self._silent_after: int | None = None
            self._late = 0.0
            self.cuts = self.opened = self.longest = 0

    def cut_after(self, *bytes_back: int) -> None:
        """Cut the next connections, each after so many bytes came back from the server."""
        with self._lock:
            self._after = list(bytes_back)

    def cut_now(self) -> None:
        """Cut all connections that there are."""
        for one in list(self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def silence_after(self, bytes_back: int) -> None:
        """Let nothing more come back on any connection that is made from now on, after so many bytes."""
        self._silent_after = bytes_back

    def slow(self, seconds: float) -> None:
        """Keep each piece back for a while."""
        self._late = seconds

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._lock:
                    self.opened += 1
                    most = self._after.pop(0) if self._after else None
                threading.Thread(target=self._join, args=(client, most, self._silent_after), daemon=True).start()

    def _join(self, client: socket.socket, most: int | None, silent: int | None) -> None:
        with client, socket.create_connection(("127.0.0.1", self._server)) as server:
            self._sockets |= {client, server}
            there = threading.Thread(target=_copy, args=(client, server), daemon=True)
            there.start()
            self._back(server, client, most, silent)
            for one in (client, server):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            there.join()
            self._sockets -= {client, server}

    def _back(self, server: socket.socket, client: socket.socket, most: int | None, silent: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while piece := server.recv(_PIECE):
                if self._late:
                    time.sleep(self._late)
                if silent is not None and passed + len(piece) > silent:
                    silent = 0  # a smaller piece that follows would come out of its order
                    continue
                if most is not None and passed + len(piece) >= most:
                    client.sendall(piece[: most - passed])
                    self.cuts += 1
                    return
                client.sendall(piece)
                passed += len(piece)
                self.longest = max(self.longest, passed)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def wire_before(server: int) -> Iterator[Wire]:
    """A wire before a port on 127.0.0.1, gone afterwards."""
    wire = Wire(server)
    try:
        yield wire
    finally:
        wire.close()
