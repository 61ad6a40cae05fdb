"""JSON as it is delivered, objects of any layout, into columns that keep every value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import islice
from math import isfinite
from typing import Any, BinaryIO

import polars as pl
import pyarrow as pa

from fuse_dagster.core.errors import InputError
from fuse_dagster.engines.local.files.encodings import as_utf8
from fuse_dagster.engines.local.files.parts import Part

_PART = 20_000
_PLAIN: dict[Any, pl.DataType] = {str: pl.String(), bool: pl.Boolean(), None: pl.Null()}
_EXACT = 2**53
_LONG = 2**63


def _constant(word: str) -> Any:
    msg = f"`{word}` is no JSON"
    raise ValueError(msg)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        msg = f"an object names `{next(name for name in names if names.count(name) > 1)}` twice"
        raise ValueError(msg)
    return found


def _number(text: str) -> float | str:
    """A number with a fraction; where a 64-bit float would not keep its digits, the text."""
    found = float(text)
    kept = len(text) <= 17 or Decimal(text) == Decimal(repr(found))
    return found if kept and isfinite(found) else text


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_constant, parse_float=_number)


def read_json(stream: BinaryIO, file: str, *, lines: bool) -> Iterator[Part]:
    """Read objects in parts.

    Args:
        stream: The plain bytes, from the first.
        file: What it is called, for messages.
        lines: Whether it is read as an object a line, in little memory; else it is read whole: an array of objects, one
            object, or one a line.

    Yields:
        Rows in order; a part has the columns that its rows have.

    Raises:
        InputError: It is empty, cut off or no JSON, or holds something else than objects.
    """
    text = as_utf8(stream, "utf-8", file)
    rows = _lines(text, file) if lines else iter(objects(text.read().decode(), file))
    count = 0
    while part := list(islice(rows, _PART)):
        yield Part.numbered(frame_of(part), count)
        count += len(part)
    if not count:
        yield Part.numbered(pl.DataFrame(), 0)


def objects(text: str, file: str, *, lines: bool = False) -> list[dict[str, Any]]:
    """The objects in JSON text: of an array, of one a line, or one alone.

    Args:
        text: The text.
        file: What it is called, for messages.
        lines: Whether it has to be one a line.

    Raises:
        InputError: The text is empty, cut off or no JSON, or holds something else.
    """
    if lines:
        return _one_a_line(text, file)
    try:
        found, end = _DECODER.raw_decode(text, _start(text, 0))
    except (ValueError, RecursionError) as error:
        raise _no_json(file, error) from error
    rest = _start(text, end)
    if rest < len(text):
        if isinstance(found, dict):
            return _one_a_line(text, file)
        raise InputError(f"`{file}` goes on after its end, at character {rest:,}. Repair it, or read it as NDJSON.")
    return _only_objects(found if isinstance(found, list) else [found], file)


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Objects as a frame without loss: what is a number here and text there becomes text, as JSON writes it."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = [_column(name, [row.get(name) for row in rows]) for name in names]
    return pl.DataFrame(columns) if columns else pl.DataFrame({"": [None] * len(rows)}).select([])


def json_text(value: Any) -> str | None:
    """A value as text: text as it is, anything else as JSON."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _start(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _one_a_line(text: str, file: str) -> list[dict[str, Any]]:
    return list(_lines((line.encode() for line in text.split("\n")), file))


def _lines(lines: Iterable[bytes], file: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        text = line.decode().strip(" \t\r\n")
        if not text:
            continue
        try:
            found, end = _DECODER.raw_decode(text)
            if end < len(text):
                msg = f"Extra data: char {end}"
                raise ValueError(msg)
        except (ValueError, RecursionError) as error:
            raise _no_json(f"{file}, line {number}", error) from error
        yield from _only_objects([found], f"{file}, line {number}")


def _no_json(file: str, error: Exception) -> InputError:
    why = "it nests too deep" if isinstance(error, RecursionError) else str(error)
    return InputError(
        f"`{file}` can't be read as JSON: {why}. It is empty, cut off or damaged: deliver it again, whole."
    )


def _only_objects(values: list[Any], file: str) -> list[dict[str, Any]]:
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            shown = json.dumps(value)[:40]
            msg = f"`{file}` holds `{shown}` as value {number}, which is no row. Valid: objects, or one array of them."
            raise InputError(msg)
    return values


def _column(name: str, values: list[Any]) -> pl.Series:
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) < 2 and (plain := _PLAIN.get(next(iter(kinds), None))) is not None:
        return pl.Series(name, values, dtype=plain)
    if kinds <= {int, float}:
        largest = max((abs(value) for value in values if type(value) is int), default=0)
        if kinds == {int} and largest < _LONG:
            return pl.Series(name, values, dtype=pl.Int64)
        if float in kinds and largest <= _EXACT:
            return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
    elif kinds in ({dict}, {list}):
        nested = _nested(name, values)
        if nested is not None:
            return nested
    return pl.Series(name, [json_text(value) for value in values], dtype=pl.String)


def _nested(name: str, values: list[Any]) -> pl.Series | None:
    """Nested values of one type, in which numbers are of one kind; None where they are not."""
    try:
        array = pa.array(values)
    except (pa.ArrowException, OverflowError):
        return None
    if pa.types.is_null(array.type):
        return None
    found = pl.from_arrow(array)
    assert isinstance(found, pl.Series)
    return found.alias(name) if found.to_list() == _filled(values, found.dtype) else None


def _filled(values: list[Any], dtype: Any) -> list[Any]:
    """The values with each struct's missing fields as null, as a frame holds them."""
    if isinstance(dtype, pl.List):
        return [None if value is None else _filled(value, dtype.inner) for value in values]
    if isinstance(dtype, pl.Struct):
        return [None if value is None else _struct(value, dtype) for value in values]
    return values


def _struct(value: dict[str, Any], dtype: pl.Struct) -> dict[str, Any]:
    return {one.name: _filled([value.get(one.name)], one.dtype)[0] for one in dtype.fields}
