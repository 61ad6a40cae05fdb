"""How far a verb has come: a bar on a terminal, a plain line per step off it; always on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from fuse_dagster.app.cli.output import console_for
from fuse_dagster.app.hiding import hidden

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
