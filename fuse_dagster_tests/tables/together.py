"""Functions of a test that run at once, each in a process of its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

_spawn = multiprocessing.get_context("spawn")


def together(target: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> None:
    """Call a function of a module once per set of arguments, all at once, and see that none fails."""
    workers = [_spawn.Process(target=target, args=args) for args in arguments]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
