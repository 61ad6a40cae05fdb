"""Asking a store once more where its client gave up at once: a connection that broke in the middle of an answer.

The clients try again by themselves, but not everything: no listing whose answer is cut off, and no request that only
sometimes may be repeated. Who knows that a question may be asked twice asks it again here.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from fuse_dagster.core.store_failures import fault_of

_BROKEN = frozenset({"cut", "host", "time"})
_TRIED = re.compile(r"after \d+ retries")
_TRIES = 4
_FIRST_PAUSE = 0.1

T = TypeVar("T")
logger = logging.getLogger(__name__)


def ask_again(question: Callable[[], T], *, seconds: float) -> T:
    """Ask, and ask again after growing, jittered pauses where the connection broke and nobody tried again yet.

    Args:
        question: Asks the store; it may be asked twice, because it changes nothing or the same thing.
        seconds: Since the first try, after which none is begun.

    Returns:
        The answer.
    """
    began = time.monotonic()
    for number in range(1, _TRIES):
        try:
            return question()
        except Exception as error:
            kind = fault_of(error)
            if kind not in _BROKEN or _TRIED.search(str(error)) or time.monotonic() - began > seconds:
                raise
            pause = _FIRST_PAUSE * 2**number * random.SystemRandom().uniform(0.5, 1.5)
            logger.info("the connection to a store broke (%s); asking again in %.2f s (try %d)", kind, pause, number)
            time.sleep(pause)
    return question()
