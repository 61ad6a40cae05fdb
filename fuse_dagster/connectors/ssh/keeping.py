"""Connections that several questions share, in a thread of their own: a login costs more than most questions.

A connection belongs to one way to log in, and is closed once nobody has asked for a while. A forked process begins
without any.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from asyncssh import SFTPClient, SSHClientConnection

T = TypeVar("T")
logger = logging.getLogger(__name__)

IDLE = 30.0
"""Seconds after which a connection is closed that nobody uses."""
_GOODBYE = 2.0


@dataclass
class _Kept:
    """One connection, from the first wish for it."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: SSHClientConnection | None = None
    client: SFTPClient | None = None
    users: int = 0
    timer: asyncio.TimerHandle | None = None


class Lines:
    """The connections of this process, and the thread in which they live."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._kept: dict[str, _Kept] = {}

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run what talks to a server, and wait for it."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._started())
        try:
            return future.result()
        except (KeyboardInterrupt, concurrent.futures.CancelledError):
            future.cancel()
            raise

    async def ask(
        self,
        key: str,
        connect: Callable[[], Awaitable[tuple[SSHClientConnection, SFTPClient]]],
        question: Callable[[SSHClientConnection, SFTPClient], Awaitable[T]],
        *,
        broken: Callable[[BaseException], bool],
    ) -> T:
        """Ask by the connection of a key, which is made where there is none; one that broke is not used again.

        Args:
            key: Stands for all that the login takes.
            connect: Logs in.
            question: Asks.
            broken: Whether an error says that the connection is of no more use.
        """
        kept = self._kept.setdefault(key, _Kept())
        kept.users += 1
        if kept.timer:
            kept.timer.cancel()
        client = None
        try:
            async with kept.lock:
                if kept.client is None or kept.connection is None or kept.connection.is_closed():
                    kept.connection, kept.client = await connect()
                connection, client = kept.connection, kept.client
            return await question(connection, client)
        except BaseException as error:
            # Who asks beside us may have got a new one already.
            if client is not None and kept.client is client and broken(error):
                self._drop(kept)
            raise
        finally:
            kept.users -= 1
            if not kept.users:
                kept.timer = asyncio.get_running_loop().call_later(IDLE, self._drop, kept, key)

    def _drop(self, kept: _Kept, key: str = "") -> None:
        if kept.connection is not None:
            kept.connection.abort()
        kept.connection = kept.client = None
        if key and self._kept.get(key) is kept:
            del self._kept[key]

    def close(self) -> None:
        """Close all connections, and end the thread."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        with contextlib.suppress(concurrent.futures.TimeoutError, RuntimeError):
            asyncio.run_coroutine_threadsafe(self._close_all(), loop).result(_GOODBYE)
        loop.call_soon_threadsafe(loop.stop)

    async def _close_all(self) -> None:
        connections = [kept.connection for kept in self._kept.values() if kept.connection is not None]
        for kept in list(self._kept.values()):
            if kept.timer:
                kept.timer.cancel()
        self._kept.clear()
        for connection in connections:
            connection.abort()
        for connection in connections:
            await connection.wait_closed()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=_live, args=(self._loop,), name="fuse-ssh", daemon=True).start()
            return self._loop


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Note what nobody waits for: requests of a question that was given up, whose line was dropped with them."""
    del loop
    logger.debug("%s: %s", context.get("message"), type(context.get("exception")).__name__)


def _live(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(_note)
    try:
        loop.run_forever()
    finally:
        loop.close()


lines = Lines()
_of_parents: list[Lines] = []


def _start_anew() -> None:
    global lines  # noqa: PLW0603 - what a process begins with
    # They hold sockets that the parent uses: whoever collects them would write into its connections.
    _of_parents.append(lines)
    lines = Lines()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew)
atexit.register(lambda: lines.close())  # noqa: PLW0108 - those of the process that ends


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what talks to a server in the thread of the connections, and wait for it."""
    return lines.run(coroutine)


async def ask(
    key: str,
    connect: Callable[[], Awaitable[tuple[SSHClientConnection, SFTPClient]]],
    question: Callable[[SSHClientConnection, SFTPClient], Awaitable[T]],
    *,
    broken: Callable[[BaseException], bool],
) -> T:
    """Ask by the connection of a key; see `Lines.ask`."""
    return await lines.ask(key, connect, question, broken=broken)
