"""CSV of others, as it is: every dialect declared or detected, every row whole, values as the text that they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import polars as pl
import pyarrow as pa
from pyarrow import csv as arrow_csv

from fuse_dagster.core.errors import ConfigError, InputError, first_line
from fuse_dagster.engines.local.files.dialects import found_in
from fuse_dagster.engines.local.files.encodings import as_utf8, known_encoding
from fuse_dagster.engines.local.files.parts import BadRow, Part

_BLOCK = 4 * 2**20
_SAMPLE = 2**16
_END = b"\x1efuse end of file\x1e"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delimited:
    """How CSV that others wrote is read. None means that it is detected, once a file.

    Attributes:
        separator: One sign between the columns.
        quote: The sign around text that holds separators or ends of lines; "" where there is none.
        escape: The sign before a quote within quotes; "" where quotes are doubled.
        header: Whether the first line names the columns. Without it they are `column_1`, `column_2`.
        encoding: Name of the encoding.
        null: What stands for a missing value where it is not in quotes.
        comment: Lines that begin with this sign are left out; "" for none.
        skip: Lines before the header that are left out.
        bad_rows: A row with too many or too few columns: `refuse` the file, or `reject` the row and go on.
    """

    separator: str | None = ","
    quote: str | None = '"'
    escape: str | None = ""
    header: bool | None = True
    encoding: str | None = "utf-8"
    null: tuple[str, ...] = ("",)
    comment: str = ""
    skip: int = 0
    bad_rows: str = "refuse"

    def __post_init__(self) -> None:
        """Refuse what can't be."""
        for name in ("separator", "quote", "escape", "comment"):
            sign = getattr(self, name)
            least = 1 if name == "separator" else 0
            if sign is not None and not (
                least <= len(sign) <= 1 and (sign.isascii()) and sign not in ("\n", "\r", "\0")
            ):
                msg = f"`{name}` is {sign!r}. Valid: one ASCII sign other than the end of a line."
                raise ConfigError(msg)
        used = [sign for sign in (self.separator, self.quote, self.comment) if sign]
        if len(set(used)) < len(used):
            msg = f"`separator`, `quote` and `comment` are {used}: two are the same sign. Choose different ones."
            raise ConfigError(msg)
        if self.bad_rows not in {"refuse", "reject"}:
            msg = f"`bad_rows` is `{self.bad_rows}`. Valid: `refuse`, `reject`."
            raise ConfigError(msg)
        if self.skip < 0:
            msg = f"`skip` is {self.skip}. Valid: lines, from 0 on."
            raise ConfigError(msg)
        if self.encoding is not None:
            known_encoding(self.encoding)

    @classmethod
    def detected(cls, **declared: object) -> Delimited:
        """A dialect that is detected but for what is declared."""
        unknown: dict[str, object] = dict.fromkeys(("separator", "quote", "escape", "header", "encoding"))
        return cls(**{**unknown, **declared})  # type: ignore[arg-type]


def read_delimited(stream: BinaryIO, options: Delimited, file: str) -> Iterator[Part]:
    """Read CSV in parts, all values as text.

    Args:
        stream: The plain bytes, from the first.
        options: The dialect.
        file: What it is called, for messages.

    Yields:
        Rows in order, numbered from 1 after the header, and the rows that are rejected; at least one part, with the
        columns of the header. What was yielded of a file that is refused further on counts for nothing.

    Raises:
        InputError: The file is empty, of another encoding, cut off within quotes, names a column twice or not at all,
            or has a row of another length than the header where `bad_rows` refuses.
    """
    text = io.BufferedReader(_Checked(as_utf8(stream, options.encoding, file), file), buffer_size=_BLOCK)
    start = text.peek(_SAMPLE)[:_BLOCK]
    if not start.strip():
        raise InputError(f"`{file}` is empty: not even a header. Deliver it again, or remove it.")
    dialect = found_in(start, options, file)
    for _ in range(dialect.skip):
        text.readline()
    body: BinaryIO = _without_comments(text, dialect) if dialect.comment else text
    names = _names(body, dialect, file)
    yield from _parsed(body, names, dialect, file)


class _Checked(io.RawIOBase):
    """UTF-8 in which no null byte is text: where there is one, the encoding is another, or the disk was full."""

    def __init__(self, stream: BinaryIO, file: str) -> None:
        self._stream, self._file, self._at = stream, file, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # as io documents it
        """Fill the buffer, as far as there is something.

        Raises:
            InputError: There is a null byte.
        """
        data = self._stream.read(len(buffer))
        found = data.find(b"\0")
        if found >= 0:
            msg = (
                f"`{self._file}` holds a null byte at byte {self._at + found:,}: it is in another encoding (as "
                "UTF-16), or damaged. Declare the encoding, or have it delivered again."
            )
            raise InputError(msg)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def _names(body: BinaryIO, dialect: Delimited, file: str) -> list[str]:
    """The names in the header, which is read; or made ones, for as many columns as the first row has, which is not."""
    if not dialect.header:
        first = _first_record(io.BytesIO(body.peek(_SAMPLE)[:_BLOCK]), dialect, file)  # type: ignore[attr-defined]
        return [f"column_{number}" for number in range(1, len(first) + 1)]
    names = _first_record(body, dialect, file)
    problems = sorted({name for name in names if names.count(name) > 1})
    if problems or not all(name.strip() for name in names):
        what = f"names columns twice: {problems}" if problems else f"has a column without a name: {names}"
        raise InputError(f"`{file}` {what}. Correct its header, or read it with `header=False`.")
    return names


def _first_record(body: BinaryIO, dialect: Delimited, file: str) -> list[str]:
    """The fields of the first record that is not blank; one may hold ends of lines within quotes."""
    lines = iter(lambda: body.readline().decode(), "")
    reader = csv.reader(
        lines,
        delimiter=dialect.separator or ",",
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar=dialect.escape or None,
        doublequote=not dialect.escape,
        strict=True,
    )
    try:
        return next((record for record in reader if record), [])
    except csv.Error as error:
        raise InputError(
            f"The first line of `{file}` can't be read: {error}. Declare its dialect, or repair it."
        ) from error


def _parsed(body: BinaryIO, names: list[str], dialect: Delimited, file: str) -> Iterator[Part]:
    bad: list[BadRow] = []
    ended = []

    def invalid(row: arrow_csv.InvalidRow) -> str:
        if row.text.encode() == _END:
            ended.append(True)
        else:
            what = f"{row.actual_columns} columns where the header has {row.expected_columns}"
            bad.append(BadRow(row.number, row.text, what))
        return "skip"

    try:
        reader = arrow_csv.open_csv(
            _Ended(body),
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=_BLOCK, column_names=names),
            parse_options=arrow_csv.ParseOptions(
                delimiter=dialect.separator,
                quote_char=dialect.quote or False,
                double_quote=bool(dialect.quote) and not dialect.escape,
                escape_char=dialect.escape or False,
                newlines_in_values=bool(dialect.quote),
                ignore_empty_lines=len(names) > 1,
                invalid_row_handler=invalid,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.large_string()),
                strings_can_be_null=bool(dialect.null),
                quoted_strings_can_be_null=False,
                null_values=list(dialect.null),
            ),
        )
        yield from _numbered(reader, bad, ended, refuse=dialect.bad_rows == "refuse", file=file)
    except (pa.ArrowInvalid, csv.Error) as error:
        msg = f"`{file}` can't be read as CSV: {first_line(error)}. Repair it, or declare its dialect."
        raise InputError(msg) from error
    if not ended:
        msg = f"`{file}` ends within quotes: it is cut off, or a quote before is not closed. Deliver it again, whole."
        raise InputError(msg)


def _numbered(
    reader: arrow_csv.CSVStreamingReader,
    bad: list[BadRow],
    ended: list[bool],
    *,
    refuse: bool,
    file: str,
) -> Iterator[Part]:
    """The rows with their numbers, in which those that were rejected are counted, too."""
    count, told, names = 0, 0, reader.schema.names
    for batch in reader:
        frame = pl.DataFrame(pl.from_arrow(batch))
        if len(names) == 1 and frame.height and frame[names[0]][-1] == _END.decode():
            ended.append(True)
            frame = frame.head(frame.height - 1)
        new, told = bad[told:], len(bad)
        if new and refuse:
            shown = "; ".join(f"row {row.number}: {row.why}" for row in new[:3])
            msg = f'`{file}` has rows of another length than its header ({shown}). Repair it, or `bad_rows="reject"`.'
            raise InputError(msg)
        numbers = pl.int_range(count + 1, count + frame.height + len(new) + 1, dtype=pl.Int64, eager=True)
        if new:
            numbers = numbers.filter(~numbers.is_in([row.number for row in new]))
        count += frame.height + len(new)
        yield Part(frame, numbers, tuple(new))
    new = bad[told:]
    if new and refuse:
        raise InputError(f"`{file}` has rows of another length than its header (row {new[0].number}: {new[0].why}).")
    if new or not told + count:
        empty = pl.DataFrame(schema=dict.fromkeys(names, pl.String))
        yield Part(empty, pl.Series([], dtype=pl.Int64), tuple(new))


class _Ended(io.RawIOBase):
    """A file with a line after its last: where that is not read as a line, the file ended within quotes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._last, self._more = stream, b"\n", True

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # as io documents it
        """Fill the buffer, as far as there is something."""
        data = self._stream.read(len(buffer))
        if not data and self._more:
            self._more = False
            data = (b"" if self._last in b"\r\n" else b"\n") + _END + b"\n"
        elif data:
            self._last = data[-1:]
        buffer[: len(data)] = data
        return len(data)


def _without_comments(text: BinaryIO, dialect: Delimited) -> BinaryIO:
    """The lines that are no comments, where quotes don't stretch over them."""
    sign, quote = dialect.comment.encode(), (dialect.quote or "").encode()

    def lines() -> Iterator[bytes]:
        within = False
        for line in text:
            if not within and line.startswith(sign):
                continue
            if quote and line.count(quote) % 2:
                within = not within
            yield line

    return io.BufferedReader(_Lines(lines()), buffer_size=_BLOCK)


class _Lines(io.RawIOBase):
    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines, self._ready = lines, b""

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # as io documents it
        """Fill the buffer, as far as there is something."""
        if not self._ready:
            self._ready = next(self._lines, b"")
        part, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)
