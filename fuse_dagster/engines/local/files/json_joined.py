"""Many small files of JSON in one pass of Arrow's parser, where that is certain to read what each alone would give."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import islice

import polars as pl
import pyarrow as pa
from pyarrow import json as arrow_json

from fuse_dagster.core.errors import InputError
from fuse_dagster.engines.local.files.json_rows import objects

_BLANK = b" \t\r\n"
_MARK = b"\xef\xbb\xbf"
_SAMPLE = 40
_EXACT = 2**53
_TYPES: dict[frozenset[type], pa.DataType] = {
    frozenset(): pa.null(),
    frozenset({str}): pa.string(),
    frozenset({bool}): pa.bool_(),
    frozenset({int}): pa.int64(),
    frozenset({float}): pa.float64(),
    frozenset({int, float}): pa.float64(),
}
_LONG_NUMBER = re.compile(rb"[:,\[\s](-?[0-9][-+.0-9eE]{16,})")


def read_joined(files: Sequence[bytes], *, lines: bool) -> tuple[pl.DataFrame, list[int]] | None:
    """Read files of flat objects as one.

    A row belongs to the file that it stands in because each file begins with `{` and ends with `}`: text that is cut
    off at a `}` can't go on with a `{`, so that no object spans two files, and each holds one at least. As many as were
    counted means one in each place.

    Args:
        files: Their bytes.
        lines: Whether each line has to be an object; else a file may be one object over several lines, too.

    Returns:
        The rows in order, and how many of them each file has. None where the files have to be read one by one: one is
        broken, an array or nested, names a column that a sample does not, or holds a number that would lose digits.
    """
    texts, counts = [], []
    for data in files:
        text = data.removeprefix(_MARK).strip(_BLANK)
        count = _count(text, lines=lines)
        if not count:
            return None
        texts.append(text)
        counts.append(count)
    schema = _schema(texts)
    if schema is None:
        return None
    joined = b"\n".join([*texts, b""])
    try:
        joined.decode()
        table = arrow_json.read_json(
            pa.BufferReader(joined),
            read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(joined) + 1),
            parse_options=arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
        )
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    frame = pl.DataFrame(pl.from_arrow(table))
    if frame.height != sum(counts) or not _is_exact(frame, joined):
        return None
    return frame, counts


def _count(text: bytes, *, lines: bool) -> int:
    """How many objects there have to be; 0 where it can't be told."""
    if text[:1] != b"{" or text[-1:] != b"}":
        return 0
    if b"\n" not in text:
        return 1
    found = [line for part in text.split(b"\n") if (line := part.strip(_BLANK))]
    if all(line[:1] == b"{" and line[-1:] == b"}" for line in found):
        return len(found)
    return 0 if lines else 1


def _schema(texts: Sequence[bytes]) -> pa.Schema | None:
    """The columns of some of the files; None where one of them is nested, or has values of several kinds."""
    kinds: dict[str, set[type]] = {}
    try:
        for text in islice(texts, 0, None, max(1, len(texts) // _SAMPLE)):
            for row in objects(text.decode(), ""):
                for name, value in row.items():
                    kinds.setdefault(name, set()).add(type(value))
    except (InputError, UnicodeDecodeError):
        return None
    found = {name: _TYPES.get(frozenset(kind - {type(None)})) for name, kind in kinds.items()}
    if not found or not all(found.values()):
        return None
    return pa.schema(list(found.items()))


def _is_exact(frame: pl.DataFrame, text: bytes) -> bool:
    """Whether no number with a fraction lost digits on its way into a 64-bit float."""
    floats = [name for name, dtype in frame.schema.items() if dtype == pl.Float64]
    if not floats:
        return True
    are_small = all(frame.select((pl.col(floats).abs() < _EXACT).all()).row(0))  # NaN, which is no JSON, is not
    return are_small and all(map(_is_kept, _LONG_NUMBER.findall(text)))


def _is_kept(number: bytes) -> bool:
    try:
        found = repr(float(number)).encode()
        # A whole number is in a column of such, or less than 2**53.
        return found == number or number.lstrip(b"-").isdigit() or Decimal(found.decode()) == Decimal(number.decode())
    except (ValueError, ArithmeticError):  # a piece of some text that looks like a number
        return False
