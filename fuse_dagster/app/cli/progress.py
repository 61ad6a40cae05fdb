"""How far a verb has come: a bar on a terminal, a plain line per step off it; always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from fuse_dagster.app.cli.output import console_for
from fuse_dagster.app.hiding import hidden
from fuse_dagster.app.values import counted, size

T = TypeVar("T")


def steps(items: Sequence[T], doing: str) -> Iterator[T]:
    """Go through things to do, and show which one is being done.

    Args:
        items: What to do; a single one is done without a word.
        doing: What is done with each, as `compact`.

    Yields:
        Each of them.
    """
    if len(items) <= 1:
        yield from items
    elif sys.stderr.isatty():
        yield from _bar(items, doing)
    else:
        yield from _lines(items, doing)


def _bar(items: Sequence[T], doing: str) -> Iterator[T]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console_for(sys.stderr), transient=True) as bar:
        task = bar.add_task(doing, total=len(items))
        for item in items:
            bar.update(task, description=f"{doing} {hidden(str(item))}")
            yield item
            bar.advance(task)


def _lines(items: Iterable[T], doing: str) -> Iterator[T]:
    every = list(items)
    for number, item in enumerate(every, start=1):
        sys.stderr.write(f"{doing} {number}/{len(every)}: {hidden(str(item))}\n")
        sys.stderr.flush()
        yield item


@contextmanager
def counting(doing: str, *, every: float = 10.0) -> Iterator[Callable[[int, int], None]]:
    """Show how many rows have come, of something whose end is not known.

    Args:
        doing: What is done, as `load orders`.
        every: Seconds between two lines, off a terminal.

    Yields:
        To be told rows and bytes so far, as often as there is something to tell.
    """
    if sys.stderr.isatty():
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console_for(sys.stderr), transient=True) as bar:
            task = bar.add_task(hidden(doing), total=None)
            yield lambda rows, held: bar.update(task, description=hidden(f"{doing}: {_amount(rows, held)}"))
        return
    said: list[float] = []

    def tell(rows: int, held: int) -> None:
        now = time.monotonic()
        said[:] = said or [now]  # from the first rows on: what took long before has brought none
        if now - said[0] >= every:
            said[:] = [now]
            sys.stderr.write(f"{hidden(doing)}: {_amount(rows, held)}\n")
            sys.stderr.flush()

    sys.stderr.write(f"{hidden(doing)}\n")
    sys.stderr.flush()
    yield tell


def _amount(rows: int, held: int) -> str:
    return f"{counted(rows, 'row')}, {size(held)}"
