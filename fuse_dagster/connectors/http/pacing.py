"""How fast a server is asked: so many requests per second, by all threads together, and never before it said."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Lock


class Pace:
    """Hands out the moments at which requests may begin.

    Args:
        per_second: Requests per second; 0 for as fast as they come.
        clock: Seconds that only grow.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        per_second: float = 0.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._gap = 1 / per_second if per_second else 0.0
        self._clock, self._sleep = clock, sleep
        self._next = 0.0
        self._lock = Lock()

    def now(self) -> float:
        """Seconds that only grow."""
        return self._clock()

    def wait(self, given_up: Event | None = None) -> None:
        """Wait for the moment at which one more request may begin."""
        with self._lock:
            now = self._clock()
            mine = max(now, self._next)
            self._next = mine + self._gap
        self.pause(mine - now, given_up)

    def hold(self, seconds: float) -> None:
        """Let no request begin for so long: the server asked for it, and it means all of them."""
        with self._lock:
            self._next = max(self._next, self._clock() + seconds)

    def pause(self, seconds: float, given_up: Event | None = None) -> None:
        """Wait, and no longer than until somebody gives up."""
        if seconds <= 0:
            return
        if self._sleep is not None:
            self._sleep(seconds)
        elif given_up is not None:
            given_up.wait(seconds)
        else:
            time.sleep(seconds)
