"""Avro object container files, read and written block by block with logical types, null unions and nesting."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any, BinaryIO

import polars as pl
from polars.io.plugins import register_io_source

from fuse_dagster.core.errors import InputError, MissingExtraError, first_line
from fuse_dagster.engines.local.files.layouts import AvroOptions

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""What Avro calls a name; it has no others."""

_PART = 20_000
_SIMPLE: dict[pl.DataType, str] = {
    pl.Null(): "null",
    pl.Boolean(): "boolean",
    pl.Int8(): "int",
    pl.Int16(): "int",
    pl.Int32(): "int",
    pl.UInt8(): "int",
    pl.UInt16(): "int",
    pl.UInt32(): "long",
    pl.Int64(): "long",
    pl.Float32(): "float",
    pl.Float64(): "double",
    pl.String(): "string",
    pl.Binary(): "bytes",
}
_READ: dict[str, pl.DataType] = {
    "null": pl.Null(),
    "boolean": pl.Boolean(),
    "int": pl.Int32(),
    "long": pl.Int64(),
    "float": pl.Float32(),
    "double": pl.Float64(),
    "string": pl.String(),
    "bytes": pl.Binary(),
    "fixed": pl.Binary(),
    "enum": pl.String(),
}
_LOGICAL: dict[str, pl.DataType] = {
    "date": pl.Date(),
    "time-millis": pl.Time(),
    "time-micros": pl.Time(),
    "timestamp-millis": pl.Datetime("ms", "UTC"),
    "timestamp-micros": pl.Datetime("us", "UTC"),
    "local-timestamp-millis": pl.Datetime("ms"),
    "local-timestamp-micros": pl.Datetime("us"),
    "uuid": pl.String(),
}


def scan_avro(opened: Callable[[], BinaryIO], file: str) -> pl.LazyFrame:
    """Open an Avro file; rows are read as they are needed, from the first.

    Args:
        opened: Opens it, each time that it is read.
        file: What it is called, for messages.

    Raises:
        InputError: It is no Avro file, or has a union of several types, which a column can't be.
        MissingExtraError: The package that reads Avro is not installed.
    """
    fastavro = _fastavro()
    with opened() as stream:
        schema = _columns(_header(fastavro, stream, file), file)

    def parts(
        columns: list[str] | None, predicate: pl.Expr | None, most: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        with opened() as stream:
            for part in _read(fastavro, stream, schema, file, size or _PART):
                narrowed = part if columns is None else part.select(columns)
                kept = narrowed if most is None else narrowed.head(most)
                yield kept if predicate is None else kept.filter(predicate)
                if most is not None:
                    most -= kept.height
                    if most <= 0:
                        return

    return register_io_source(parts, schema=schema)


def write_avro(
    frames: Iterable[pl.DataFrame], schema: Mapping[str, pl.DataType], file: BinaryIO, options: AvroOptions
) -> None:
    """Write rows, block by block.

    Args:
        frames: The rows, in parts.
        schema: Column -> type, all of which Avro holds.
        file: Where the file goes.
        options: The compression.

    Raises:
        MissingExtraError: The package that writes Avro is not installed.
    """
    fastavro = _fastavro()
    numbers = count()
    fields = [{"name": name, "type": _avro_type(dtype, numbers)} for name, dtype in schema.items()]
    described = fastavro.parse_schema({"type": "record", "name": "row", "fields": fields})
    codec = "null" if options.compression == "none" else options.compression
    rows = (row for frame in frames for row in frame.iter_rows(named=True))
    fastavro.writer(file, described, rows, codec=codec)


def _fastavro() -> Any:
    try:
        import fastavro
    except ModuleNotFoundError as error:
        msg = 'Avro needs the package `fastavro`. Install it with: pip install "fuse-dagster[avro]"'
        raise MissingExtraError(msg) from error
    return fastavro


def _header(fastavro: Any, stream: BinaryIO, file: str) -> Any:
    try:
        return fastavro.reader(stream).writer_schema
    except (ValueError, EOFError, KeyError) as error:
        raise _unreadable(file, error) from error


def _read(
    fastavro: Any, stream: BinaryIO, schema: Mapping[str, pl.DataType], file: str, size: int
) -> Iterator[pl.DataFrame]:
    rows: list[Any] = []
    try:
        for row in fastavro.reader(stream):
            rows.append(row)
            if len(rows) >= size:
                yield pl.DataFrame(rows, schema=dict(schema), orient="row")
                rows = []
    except (ValueError, EOFError, IndexError) as error:
        raise _unreadable(file, error) from error
    yield pl.DataFrame(rows, schema=dict(schema), orient="row")


def _unreadable(file: str, error: Exception) -> InputError:
    return InputError(f"`{file}` can't be read as avro: {first_line(error)}. Repair it, or say its format.")


def _columns(schema: Any, file: str) -> dict[str, pl.DataType]:
    if not isinstance(schema, dict) or schema.get("type") != "record":
        msg = f"`{file}` holds `{schema}`, and no records. Valid: a record, whose fields are the columns."
        raise InputError(msg)
    known: dict[str, pl.DataType] = {}
    return {field["name"]: _polars_type(field["type"], field["name"], known) for field in schema["fields"]}


def _polars_type(kind: Any, column: str, known: dict[str, pl.DataType]) -> pl.DataType:
    if isinstance(kind, list):
        held = [one for one in kind if one != "null"]
        if len(held) > 1:
            msg = f"Column `{column}` is a union of {len(held)} types, and a column has one. Write it as one type."
            raise InputError(msg)
        return _polars_type(held[0], column, known) if held else pl.Null()
    if isinstance(kind, str):
        named = known.get(kind.rpartition(".")[2]) or _READ.get(kind)
        if named is None:
            msg = f"Column `{column}` is of the type `{kind}`, which holds itself or is not said. Write it as text."
            raise InputError(msg)
        return named
    if kind.get("logicalType") == "decimal":
        return pl.Decimal(kind["precision"], kind.get("scale", 0))
    if kind.get("logicalType") in _LOGICAL:
        return _LOGICAL[kind["logicalType"]]
    match kind["type"]:
        case "record":
            found: pl.DataType = pl.Struct(
                {one["name"]: _polars_type(one["type"], column, known) for one in kind["fields"]}
            )
        case "array":
            found = pl.List(_polars_type(kind["items"], column, known))
        case "map":
            found = pl.Map(pl.String, _polars_type(kind["values"], column, known))
        case inner:
            found = _polars_type(inner, column, known)
    if "name" in kind:
        known[kind["name"]] = found
    return found


def _avro_type(dtype: Any, numbers: Iterator[int]) -> Any:
    """The type as a union with null, which every column and field may be; each record needs a name, so has a number."""
    made = dtype() if isinstance(dtype, type) else dtype
    simple = _SIMPLE.get(made)
    if simple == "null":
        return "null"
    return ["null", simple or _nested(made, numbers)]


def _nested(dtype: pl.DataType, numbers: Iterator[int]) -> Any:
    match dtype:
        case pl.Date():
            return {"type": "int", "logicalType": "date"}
        case pl.Time():
            return {"type": "long", "logicalType": "time-micros"}
        case pl.Datetime():
            word = {"us": "micros", "ms": "millis"}[dtype.time_unit]
            return {"type": "long", "logicalType": f"{'' if dtype.time_zone else 'local-'}timestamp-{word}"}
        case pl.Decimal():
            return {"type": "bytes", "logicalType": "decimal", "precision": dtype.precision, "scale": dtype.scale}
        case pl.List():
            return {"type": "array", "items": _avro_type(dtype.inner, numbers)}
    assert isinstance(dtype, pl.Struct), "what Avro does not hold was refused before"
    name = f"record_{next(numbers)}"
    fields = [{"name": one.name, "type": _avro_type(one.dtype, numbers)} for one in dtype.fields]
    return {"type": "record", "name": name, "fields": fields}
