"""Python's search for cycles, put off while many objects are made that hold none."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Put it off: it would look through all objects of the process again and again, a sixth of the time of a load.

    What is freed by counting references is freed as ever. Whoever holds this keeps few bytes meanwhile.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
