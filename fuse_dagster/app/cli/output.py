"""What a verb says: one JSON document, or tables for a person; results on stdout, all else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from fuse_dagster.app.envelope import accepted, message
from fuse_dagster.app.hiding import hidden
from fuse_dagster.app.values import counted, plain, read, type_name

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console, RenderableType
    from rich.table import Table

_WIDE = 10_000  # columns; off a terminal nothing is cut
_NARROWEST = 14  # columns of a terminal that a column of data gets before others are left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How this call of the program answers.

    Attributes:
        as_json: One JSON document rather than text.
        debug: Show tracebacks.
    """

    as_json: bool = False
    debug: bool = False

    def answer(self, result: object, *shown: RenderableType, ok: bool = True) -> None:
        """Say what came of a verb.

        Args:
            result: What a machine reads; see `plain`.
            shown: What a person reads instead, from top to bottom.
            ok: False where the verb did its work and found something wrong; the exit code is then 1.
        """
        if self.as_json:
            write_json(accepted(plain(result), ok=ok))
            return
        console = console_for(sys.stdout)
        for one in shown:
            console.print(hidden(one) if isinstance(one, str) else one, soft_wrap=isinstance(one, str))

    def note(self, text: str) -> None:
        """Say something beside the result, on stderr."""
        console_for(sys.stderr).print(hidden(text), soft_wrap=True)

    def fail(self, error: BaseException) -> None:
        """Say to a person, on stderr, what went wrong."""
        self.note(f"Error: {message(error)}")


def write_json(document: object) -> None:
    """Write one JSON document and a line end to stdout."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")


def console_for(stream: IO[str]) -> Console:
    """A console that takes text as it is; off a terminal it cuts nothing."""
    from rich.console import Console

    wide = None if stream.isatty() or "COLUMNS" in os.environ else _WIDE
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=wide)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> Table:
    """A table of values; columns of numbers are set right.

    Args:
        columns: Headings.
        rows: Values, one per heading.
        title: What stands above it.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    held = [list(row) for row in rows]
    found = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title=title or None, title_justify="left")
    for number, name in enumerate(columns):
        numeric = any(_is_number(row[number]) for row in held) and all(_is_number(row[number], True) for row in held)
        found.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in held:
        found.add_row(*(Text(hidden(read(value))) for value in row))
    return found


def facts(pairs: Iterable[tuple[str, Any]]) -> Table:
    """Names and values below each other, without headings."""
    from rich.table import Table
    from rich.text import Text

    found = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    found.add_column()
    found.add_column(overflow="fold")
    for name, value in pairs:
        found.add_row(Text(name), Text(hidden(read(value))))
    return found


def frame_table(frame: pl.DataFrame) -> list[RenderableType]:
    """The rows of a frame below names and types; on a terminal those that fit, and a line that names the others."""
    fitting = max(1, console_for(sys.stdout).width // _NARROWEST) if sys.stdout.isatty() else frame.width
    names = frame.columns[:fitting]
    headings = [f"{read(name)}\n{type_name(frame.schema[name])}" for name in names]
    found: list[RenderableType] = [table(headings, frame.select(names).iter_rows())]
    if len(names) < frame.width:
        rest = ", ".join(f"{read(name)} ({type_name(frame.schema[name])})" for name in frame.columns[fitting:])
        found.append(f"{counted(frame.width - len(names), 'more column')}: {rest}. Choose by `--columns`.")
    return found


def _is_number(value: object, null: bool = False) -> bool:  # noqa: FBT001, FBT002 - a null beside numbers is no text
    return (null and value in (None, "")) or (isinstance(value, int | float) and not isinstance(value, bool))
