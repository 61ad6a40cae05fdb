"""Files whose columns are declared by where they stand in a line; a line of another length is never cut or filled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, BinaryIO

import polars as pl

from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.engines.local.files.encodings import as_utf8
from fuse_dagster.engines.local.files.parts import BadRow, Part
from fuse_dagster.engines.local.files.types import type_of

_PART = 50_000
_FORM = re.compile(r"(?P<name>[^:]+):\s*(?P<start>\d+)(?:\s*-\s*(?P<end>\d+))?\s*(?::\s*(?P<type>.+))?")
_TRIMS = ("both", "left", "right", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedColumn:
    """One column.

    Attributes:
        name: What it is called.
        start: Its first character in a line, from 1.
        width: Characters.
        type: Its type as text (`int64`, `decimal(10, 2)`); "" for text that stays text.
        trim: Where spaces are taken off: `both`, `left`, `right`, `none`.
    """

    name: str
    start: int
    width: int
    type: str = "string"
    trim: str = "both"

    def __post_init__(self) -> None:
        """Refuse what can't be."""
        if not self.name.strip() or self.start < 1 or self.width < 1 or self.trim not in _TRIMS:
            msg = f"`{self}` is no column. Valid: a name, `start` and `width` from 1 on, `trim` one of {_TRIMS}."
            raise ConfigError(msg)
        type_of(self.type)

    @property
    def end(self) -> int:
        """Its last character, from 1."""
        return self.start + self.width - 1


def fixed_columns(said: str) -> tuple[FixedColumn, ...]:
    """Columns as text states them: `carrier:1-2; number:3-6:int64`.

    Raises:
        ConfigError: A part is no column.

    Examples:
        >>> fixed_columns("carrier:1-2; number:3-6:int64")[1].width
        4
    """
    columns = []
    for part in filter(None, (part.strip() for part in re.split(r"[;\n]", said))):
        found = _FORM.fullmatch(part)
        if found is None or int(found["end"] or found["start"]) < int(found["start"]):
            msg = (
                f"`{part}` is no column of fixed width. Valid: `name:first-last` or `name:first-last:type`, from 1 on."
            )
            raise ConfigError(msg)
        start, end = int(found["start"]), int(found["end"] or found["start"])
        columns.append(
            FixedColumn(
                name=found["name"].strip(), start=start, width=end - start + 1, type=(found["type"] or "string").strip()
            )
        )
    return tuple(columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedWidth:
    """How lines of fixed width are read.

    Attributes:
        columns: The columns, which don't overlap, or text that states them: `carrier:1-2; number:3-6:int64`. What lies
            between them is left out.
        length: Characters of a line; 0 for as far as the last column reaches.
        encoding: Name of the encoding; None to detect it. Columns are counted in characters.
        skip: Lines at the top that are left out.
        null: What stands for a missing value, once trimmed.
        bad_rows: A line of another length: `refuse` the file, or `reject` the line and go on.
    """

    columns: tuple[FixedColumn, ...] | str
    length: int = 0
    encoding: str | None = "utf-8"
    skip: int = 0
    null: tuple[str, ...] = ("",)
    bad_rows: str = "refuse"

    def __post_init__(self) -> None:
        """Refuse what can't be."""
        ordered = sorted(self.declared, key=lambda column: column.start)
        names = [column.name for column in ordered]
        if not ordered or len(set(names)) < len(names):
            msg = f"The columns {names} are none, or two of one name. Declare each once: `name:first-last`."
            raise ConfigError(msg)
        for one, other in pairwise(ordered):
            if other.start <= one.end:
                places = f"`{one.name}` ({one.start}-{one.end}) and `{other.name}` ({other.start}-{other.end})"
                msg = f"The columns {places} overlap. Correct one."
                raise ConfigError(msg)
        if self.bad_rows not in {"refuse", "reject"} or self.skip < 0 or 0 < self.length < ordered[-1].end:
            msg = (
                f"`bad_rows` is `{self.bad_rows}`, `skip` {self.skip}, `length` {self.length}. Valid: `refuse` or "
                f"`reject`, from 0 on, and at least the {ordered[-1].end} characters of the columns."
            )
            raise ConfigError(msg)

    @property
    def declared(self) -> tuple[FixedColumn, ...]:
        """The columns."""
        return fixed_columns(self.columns) if isinstance(self.columns, str) else tuple(self.columns)

    @property
    def reach(self) -> int:
        """Characters that a line must have."""
        return self.length or max(column.end for column in self.declared)

    @property
    def types(self) -> dict[str, Any]:
        """Column -> its declared type."""
        return {column.name: type_of(column.type) for column in self.declared}


def read_fixed(stream: BinaryIO, options: FixedWidth, file: str) -> Iterator[Part]:
    """Read lines of fixed width in parts, all values as text.

    Args:
        stream: The plain bytes, from the first.
        options: Where the columns are.
        file: What it is called, for messages.

    Yields:
        Rows in order, numbered from 1 after the lines that are skipped, and those that are rejected; at least one part.

    Raises:
        InputError: The file is empty or of another encoding, or a line is too short or too long where `bad_rows`
            refuses.
    """
    text = as_utf8(stream, options.encoding, file)
    for _ in range(options.skip):
        text.readline()
    count = 0
    while lines := list(islice(text, _PART)):
        yield _part(lines, count, options, file)
        count += len(lines)
    if not count:
        raise InputError(f"`{file}` has no line. Deliver it again, or remove it.")


def _part(lines: list[bytes], before: int, options: FixedWidth, file: str) -> Part:
    found = pl.Series("line", [line.rstrip(b"\n").removesuffix(b"\r").decode() for line in lines], dtype=pl.String)
    frame = pl.DataFrame({"line": found}).with_row_index("number", offset=before + 1)
    fits = pl.col("line").str.len_chars() == options.reach
    wrong = frame.filter(~fits)
    bad = tuple(
        BadRow(number, line, f"{len(line)} characters where {options.reach} are declared")
        for number, line in wrong.iter_rows()
    )
    if bad and options.bad_rows == "refuse":
        shown = "; ".join(f"line {row.number + options.skip}: {row.why}" for row in bad[:3])
        msg = f'`{file}` has {len(bad):,} lines of another length ({shown}). Repair it, or `bad_rows="reject"`.'
        raise InputError(msg)
    good = frame.filter(fits) if bad else frame
    rows = good.select(_value(column, options.null).alias(column.name) for column in options.declared)
    return Part(rows, good["number"].cast(pl.Int64), bad)


def _value(column: FixedColumn, null: tuple[str, ...]) -> pl.Expr:
    text = pl.col("line").str.slice(column.start - 1, column.width)
    match column.trim:
        case "both":
            text = text.str.strip_chars(" ")
        case "left":
            text = text.str.strip_chars_start(" ")
        case "right":
            text = text.str.strip_chars_end(" ")
    bare = text.str.strip_chars(" ")
    return pl.when(bare.is_in(list(null))).then(None).otherwise(text) if null else text
