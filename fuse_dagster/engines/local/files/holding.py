"""What each format holds: columns that it would change are refused, by their types or by the values that do it."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import polars as pl

from fuse_dagster.core.errors import SchemaError
from fuse_dagster.engines.local.files.avro import NAME
from fuse_dagster.engines.local.files.excel import EXACT
from fuse_dagster.engines.local.files.layouts import CsvOptions, ExcelOptions, FileOptions, Format

_SHOWN = 3
_CELL = 32_767  # UTF-16 units of text in a cell
_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
_PLAIN = (pl.Null, pl.Boolean, *_INTEGERS, pl.UInt64, pl.Float32, pl.Float64, pl.String)
_NESTED = (pl.List, pl.Struct, pl.Array, pl.Map)

_TYPES: Mapping[Format, tuple[Any, ...]] = {
    Format.PARQUET: (*_PLAIN, pl.Binary, pl.Date, pl.Time, pl.Datetime, pl.Duration, pl.Decimal, *_NESTED),
    Format.CSV: (*_PLAIN, pl.Date, pl.Time, pl.Datetime, pl.Decimal),
    Format.JSON: (*_PLAIN, pl.Date, pl.Time, pl.Datetime, pl.Decimal, pl.List, pl.Struct),
    Format.NDJSON: (*_PLAIN, pl.Date, pl.Time, pl.Datetime, pl.Decimal, pl.List, pl.Struct),
    Format.EXCEL: (*_PLAIN, pl.Date, pl.Datetime),
    Format.AVRO: (
        pl.Null, pl.Boolean, *_INTEGERS, pl.Float32, pl.Float64, pl.String, pl.Binary, pl.Date, pl.Time, pl.Datetime,
        pl.Decimal, pl.List, pl.Struct,
    ),
}  # fmt: skip

Check = tuple[pl.Expr, str]
"""What must hold for every value of a column, and what to say and do where it does not."""


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Categories as text, as in a Delta table: no format but Parquet knows them, and readers of that differ."""
    return frame.cast({name: wanted for name, dtype in frame.schema.items() if (wanted := plain_type(dtype)) != dtype})


def plain_type(dtype: Any) -> pl.DataType:
    """The type as which a column is written."""
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    match made:
        case pl.Categorical() | pl.Enum():
            return pl.String()
        case pl.List():
            return pl.List(plain_type(made.inner))
        case pl.Struct():
            return pl.Struct({field.name: plain_type(field.dtype) for field in made.fields})
    return made


def refuse_types(schema: Mapping[str, pl.DataType], options: FileOptions) -> None:
    """Refuse columns of names and types that a format can't hold.

    Args:
        schema: Column -> type, as written.
        options: The format.

    Raises:
        SchemaError: All of them, each with what to do.
    """
    if not schema:
        raise SchemaError("The frame has no columns, and a file needs one. Return at least one column.")
    problems = [problem for name, dtype in schema.items() for problem in _problems(name, dtype, options)]
    if problems:
        msg = f"These columns can't be written as {options.format}, so nothing was written:"
        raise SchemaError("\n- ".join([msg, *problems]))


def checks(schema: Mapping[str, pl.DataType], options: FileOptions) -> dict[str, list[Check]]:
    """Column -> what its values must keep, where the type alone does not tell."""
    makers: dict[Format, Callable[[str, pl.DataType, Any], Iterator[Check]]] = {
        Format.CSV: _csv_checks,
        Format.JSON: _json_checks,
        Format.NDJSON: _json_checks,
        Format.EXCEL: _excel_checks,
        Format.AVRO: _avro_checks,
    }
    maker = makers.get(options.format)
    if maker is None:
        return {}
    found = {name: list(maker(name, dtype, options)) for name, dtype in schema.items()}
    if isinstance(options, CsvOptions) and len(schema) == 1 and not options.null:
        (name,) = schema
        what = "is null, which would be an empty line, and readers skip those. Set `null` to a word such as `NA`"
        found[name].append((pl.col(name).is_not_null(), what))
    return {name: each for name, each in found.items() if each}


def refuse_values(frame: pl.DataFrame, checked: Mapping[str, list[Check]], masked: Collection[str] = ()) -> None:
    """Refuse values that would come back as others.

    Args:
        frame: Some of the rows.
        checked: What `checks` says.
        masked: Columns whose values are not shown.

    Raises:
        SchemaError: All columns that have one, with samples and what to do.
    """
    problems = []
    for name, each in checked.items():
        for keeps, what in each:
            wrong = frame.filter(~keeps)
            if wrong.height:
                shown = [_sample(value) for value in wrong[name].head(_SHOWN) if name not in masked]
                samples = f", as {', '.join(shown)}" if shown else ""
                problems.append(f"`{name}` {what} ({wrong.height:,} of {frame.height:,} rows{samples}).")
    if problems:
        msg = "These values can't be written, so nothing was:"
        raise SchemaError("\n- ".join([msg, *problems]))


def _sample(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _problems(name: str, dtype: pl.DataType, options: FileOptions) -> Iterator[str]:
    layout = options.format
    if not name and layout is not Format.PARQUET:
        yield "one has no name. Rename it."
    if layout is Format.AVRO:
        yield from (
            f"`{bad}` is no name in Avro. Valid: letters, digits and `_`, no digit first. Rename it."
            for bad in _names(name, dtype)
            if not NAME.fullmatch(bad)
        )
    if isinstance(options, CsvOptions) and (name == options.null or set(name) & set("\n\r\0")):
        yield f"`{name}` can't head a column of CSV: it is `null`, or holds the end of a line. Rename it."
    for held in _types_in(dtype):
        if not isinstance(held, _TYPES[layout]):
            yield f"`{name}` is {dtype}: {_instead(held, layout)}."
            return
    if layout in {Format.JSON, Format.NDJSON} and dtype.is_nested():
        yield from _in_json(name, dtype)
    if isinstance(dtype, pl.Datetime):
        yield from _timed(name, dtype, layout)


def _in_json(name: str, dtype: pl.DataType) -> Iterator[str]:
    inner = [held for held in _types_in(dtype) if held.is_temporal() or isinstance(held, pl.Decimal)]
    if inner:
        yield f"`{name}` is {dtype}: JSON has no {inner[0]} within a column. Cast it to text, or write Parquet or Avro."
    if any(isinstance(held, pl.Struct) and not held.fields for held in _types_in(dtype)):
        yield f"`{name}` is {dtype}: a struct without fields. Leave it out."


def _timed(name: str, dtype: pl.Datetime, layout: Format) -> Iterator[str]:
    if layout is Format.EXCEL and dtype.time_zone:
        yield (
            f"`{name}` is {dtype}: a cell has no time zone. Take wall times, as by "
            f"`.dt.convert_time_zone(...).dt.replace_time_zone(None)`, or text."
        )
    if layout is Format.AVRO and dtype.time_unit == "ns":
        yield f"`{name}` is {dtype}: Avro has microseconds. Cast it, as by `.cast(pl.Datetime('us'))`."


def _instead(held: pl.DataType, layout: Format) -> str:
    if isinstance(held, _NESTED):
        return f"{layout} has no nested values. Write JSON text, as by `.struct.json_encode()`, or Parquet"
    if isinstance(held, pl.Decimal):
        return "a cell is a 64-bit float. Cast it to text, or to `pl.Float64` if 15 digits are enough"
    if isinstance(held, pl.Binary):
        return f"{layout} has no bytes. Encode them as text, as by `.bin.encode('base64')`, or write Parquet"
    if held.is_integer():
        return f"{layout} has no such integers. Cast it to `pl.Int64` or text"
    return f"{layout} has no such type. Cast it to text or a number, or write Parquet"


def _types_in(dtype: Any) -> Iterator[pl.DataType]:
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    yield made
    match made:
        case pl.List() | pl.Array():
            yield from _types_in(made.inner)
        case pl.Struct():
            for field in made.fields:
                yield from _types_in(field.dtype)
        case pl.Map():
            yield from _types_in(made.key)
            yield from _types_in(made.value)


def _names(name: str, dtype: pl.DataType) -> Iterator[str]:
    yield name
    for held in _types_in(dtype):
        if isinstance(held, pl.Struct):
            yield from (field.name for field in held.fields)


def _csv_checks(name: str, dtype: pl.DataType, options: CsvOptions) -> Iterator[Check]:
    column = pl.col(name)
    if dtype == pl.String:
        yield ~column.str.contains("\0", literal=True), "holds null bytes, where readers end the text. Remove them"
        if options.null:
            yield (
                column != options.null,
                f"is the text `{options.null}`, which `null` stands for. Choose another `null`",
            )
        if not options.is_utf8:
            what = f"holds signs that `{options.encoding}` lacks. Write `utf-8`"
            yield column.map_elements(_encodes(options.encoding), return_dtype=pl.Boolean), what


def _encodes(encoding: str) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            return codecs.encode(text, encoding) is not None
        except UnicodeEncodeError:
            return False

    return fits


def _json_checks(name: str, dtype: pl.DataType, _: FileOptions) -> Iterator[Check]:
    floats = [held for held in _types_in(dtype) if held.is_float()]
    if floats and not dtype.is_nested():
        yield pl.col(name).is_finite(), f"{_NOT_FINITE}. Make them null, or write CSV, Parquet or Avro"
    elif floats:
        what = f"{_NOT_FINITE} within. Make them null, or write Parquet or Avro"
        yield pl.col(name).map_elements(_is_finite, return_dtype=pl.Boolean), what


_NOT_FINITE = "is not a number or infinite, which the format has no word for"


def _is_finite(value: Any) -> bool:
    if isinstance(value, pl.Series | list | tuple):
        return all(_is_finite(one) for one in value)
    if isinstance(value, Mapping):
        return all(_is_finite(one) for one in value.values())
    return not isinstance(value, float) or (value - value) == 0


def _excel_checks(name: str, dtype: pl.DataType, _: ExcelOptions) -> Iterator[Check]:
    column = pl.col(name)
    if dtype.is_float():
        yield column.is_finite(), f"{_NOT_FINITE}. Make them null"
    elif dtype.is_integer() and dtype in (pl.Int64, pl.UInt64):
        what = "is beyond 2^53, which a cell can't hold to the last digit. Cast it to text"
        yield column.is_between(-EXACT, EXACT), what
    elif dtype == pl.String:
        long = pl.when(column.str.len_bytes() <= _CELL).then(statement=True)
        fits = long.otherwise(column.map_elements(_fits, return_dtype=pl.Boolean))
        yield fits, f"is longer than the {_CELL:,} signs of a cell. Shorten it, or write Parquet"
        yield ~column.str.contains("[\ufffe\uffff]"), "holds U+FFFE or U+FFFF, which XML lacks. Remove them"
    elif dtype.is_temporal():
        what = "is before 1900-03-01, where Excel's calendar is wrong. Cast it to text"
        yield column.dt.date() >= pl.date(1900, 3, 1), what
        if isinstance(dtype, pl.Datetime):
            yield column.dt.truncate("1ms") == column, "is finer than the milliseconds of a cell. Round it, or cast it"
        yield column.dt.date() <= pl.date(9999, 12, 31), "is after 9999. Cast it to text"


def _fits(text: str) -> bool:
    return len(text.encode("utf-16-le")) // 2 <= _CELL


def _avro_checks(name: str, dtype: pl.DataType, _: FileOptions) -> Iterator[Check]:
    column = pl.col(name)
    if dtype == pl.Time:
        whole = column.cast(pl.Int64) % 1000 == 0
        yield whole, "is finer than the microseconds of Avro. Round it, or cast it to text"
    elif dtype.is_temporal():
        within = column.dt.year().is_between(1, 9999)
        yield within, "is outside of the years 1 to 9999. Cast it to text, or write Parquet"
