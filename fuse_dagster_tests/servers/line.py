"""A line to a server that can be cut, for protocols of any kind: bytes go through, or they don't."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator


class Line:
    """A line from one port on 127.0.0.1 to another.

    Args:
        port: Where clients come.
        server: Where they are led to.
    """

    def __init__(self, port: int, server: int) -> None:
        self._server = server
        self._is_cut = False
        self._sockets: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break all connections, and take no new one."""
        self._is_cut = True
        for one in list(self._sockets):
            _end(one)

    def mend(self) -> None:
        """Take new connections again."""
        self._is_cut = False

    def close(self) -> None:
        """Be gone for good."""
        self.cut()
        _end(self._listener)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._is_cut:
                    _end(client)
                    continue
                server = socket.create_connection(("127.0.0.1", self._server))
                self._sockets |= {client, server}
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._hand_on, args=(one, other), daemon=True).start()

    def _hand_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for one in (source, sink):
            _end(one)
            self._sockets.discard(one)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextlib.contextmanager
def line(port: int, server: int) -> Iterator[Line]:
    """A line, closed afterwards."""
    made = Line(port, server)
    try:
        yield made
    finally:
        made.close()
