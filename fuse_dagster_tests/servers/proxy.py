"""A TCP proxy that loses the answer to a commit (the server has done it, and nobody hears of it), or keeps one back.

It runs in a process of its own, because delta-rs holds Python's global lock while it waits for some answers.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_COMMIT = re.compile(rb"PUT /\S*/_delta_log/\d{20}\.json[ ?]")
_spawn = multiprocessing.get_context("spawn")


def _number() -> Any:
    return _spawn.Value("i", 0)


@dataclass(frozen=True)
class _Orders:
    """Numbers that the proxy and the test share."""

    lose: Any = field(default_factory=_number)
    then_gone: Any = field(default_factory=_number)
    gone: Any = field(default_factory=_number)
    hold: Any = field(default_factory=_number)
    held: Any = field(default_factory=_number)
    lost: Any = field(default_factory=_number)


@dataclass(frozen=True)
class LossyProxy:
    """The proxy as the test sees it.

    Attributes:
        port: Where it listens on 127.0.0.1.
    """

    port: int
    orders: _Orders

    @property
    def lost(self) -> int:
        """How many answers were lost so far."""
        return int(self.orders.lost.value)

    def lose_next(self, *, then_gone: bool = False) -> None:
        """Lose the answer to the next commit; with `then_gone` the server cannot be reached after it."""
        self.orders.then_gone.value = int(then_gone)
        self.orders.lose.value += 1

    @property
    def held(self) -> int:
        """How many commits were held so far."""
        return int(self.orders.held.value)

    def hold_next(self) -> None:
        """Keep the next commit back, until `let_go`."""
        self.orders.hold.value = 1

    def let_go(self) -> None:
        """Let a commit that is kept back, and all that follow, reach the server."""
        self.orders.hold.value = 0

    def go_away(self) -> None:
        """Let the server be unreachable from now on."""
        self.orders.gone.value = 1

    def come_back(self) -> None:
        """Let it be reached again."""
        self.orders.gone.value = 0


@contextlib.contextmanager
def lossy_proxy(server: int) -> Iterator[LossyProxy]:
    """A proxy before a server's port on 127.0.0.1, ended afterwards."""
    orders, (ours, theirs) = _Orders(), _spawn.Pipe()
    process = _spawn.Process(target=_run, args=(server, theirs, orders), daemon=True)
    process.start()
    try:
        yield LossyProxy(ours.recv(), orders)
    finally:
        process.kill()
        process.join()


def _run(server: int, port: Any, orders: _Orders) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port.send(listener.getsockname()[1])
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, server, orders), daemon=True).start()


def _serve(client: socket.socket, port: int, orders: _Orders) -> None:
    with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
        commits = threading.Event()
        back = threading.Thread(target=_answer, args=(server, client, commits, orders), daemon=True)
        back.start()
        while (data := client.recv(65536)) and not orders.gone.value:
            if _COMMIT.match(data):
                commits.set()
                _hold(orders)
            server.sendall(data)
        server.shutdown(socket.SHUT_RDWR)
        back.join()


def _answer(server: socket.socket, client: socket.socket, commits: threading.Event, orders: _Orders) -> None:
    with contextlib.suppress(OSError):
        while (data := server.recv(65536)) and not orders.gone.value:
            if commits.is_set() and _takes(orders):
                break
            commits.clear()
            client.sendall(data)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


def _hold(orders: _Orders) -> None:
    if orders.hold.value:
        with orders.held.get_lock():
            orders.held.value += 1
    while orders.hold.value:
        time.sleep(0.01)


def _takes(orders: _Orders) -> bool:
    """Whether this answer is to be lost."""
    with orders.lost.get_lock():
        if orders.lost.value >= orders.lose.value:
            return False
        orders.lost.value += 1
    if orders.then_gone.value:
        orders.gone.value = 1
    return True
