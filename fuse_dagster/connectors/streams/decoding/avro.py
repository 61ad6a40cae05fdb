"""Avro, by the schema that a message was written with."""

from __future__ import annotations

import json
from io import BytesIO
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fuse_dagster.connectors.streams.decoding.decoded import Decoded, UndecodableError
from fuse_dagster.core.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

_WIDER = (("int", "long"), ("float", "double"))
_MOST_DIGITS = 38


def reader(text: str, references: dict[str, str]) -> Callable[[bytes], Decoded]:
    """What reads messages of one schema.

    Args:
        text: The schema, as JSON.
        references: Schemas that it names, by name, each after those that it names itself.

    Raises:
        UndecodableError: The schema is none, or holds what a column can't be.
        MissingExtraError: The package that reads Avro is not installed.
    """
    try:
        import fastavro
    except ModuleNotFoundError as error:
        msg = f'Avro needs the package `{error.name}`. Install it with: pip install "fuse-dagster[kafka]"'
        raise MissingExtraError(msg) from error
    named: dict[str, Any] = {}
    try:
        for each in references.values():
            fastavro.parse_schema(json.loads(each), named_schemas=named)
        schema: Any = fastavro.parse_schema(json.loads(text), named_schemas=named)
    except (ValueError, KeyError, TypeError, AttributeError, fastavro.schema.SchemaParseException) as error:
        raise UndecodableError(f"its Avro schema can't be read: {type(error).__name__}") from None
    kind = _type(schema, named, ())

    def read(data: bytes) -> Decoded:
        stream = BytesIO(data)
        try:
            value: Any = fastavro.schemaless_reader(stream, schema, None)
        except RecursionError:
            raise UndecodableError("it is nested too deep") from None
        except (ValueError, EOFError, IndexError, KeyError, TypeError, ArithmeticError, MemoryError) as error:
            raise UndecodableError(f"it is no Avro of its schema: {type(error).__name__}") from None
        if stream.read(1):
            raise UndecodableError("more bytes follow than its Avro schema says")
        return Decoded(_plain(value), kind)

    return read


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, UUID) else value


def _type(schema: Any, named: dict[str, Any], within: tuple[str, ...]) -> pa.DataType:
    if isinstance(schema, list):
        return _union([one for one in schema if one != "null"], named, within)
    if not isinstance(schema, str):
        return _logical(schema) or _made(schema, named, within)
    if schema in _simple():
        return _simple()[schema]
    if schema in within or schema not in named:
        raise UndecodableError(f"its Avro type `{schema}` holds itself, which a column can't")
    return _type(named[schema], named, within)


def _made(schema: dict[str, Any], named: dict[str, Any], within: tuple[str, ...]) -> pa.DataType:
    import pyarrow as pa

    match schema["type"]:
        case "record":
            inner = (*within, schema["name"])
            return pa.struct({one["name"]: _type(one["type"], named, inner) for one in schema["fields"]})
        case "array":
            return pa.list_(_type(schema["items"], named, within))
        case "map":
            return pa.map_(pa.string(), _type(schema["values"], named, within))
        case "fixed":
            return pa.binary(schema["size"])
        case kind:
            return _type(kind, named, within)


def _union(kinds: list[Any], named: dict[str, Any], within: tuple[str, ...]) -> pa.DataType:
    import pyarrow as pa

    if not kinds:
        return pa.null()
    found = {str(one): one for one in kinds}
    for wider in _WIDER:
        if set(found) == set(wider):
            return _simple()[wider[1]]
    if len(kinds) > 1:
        raise UndecodableError(f"its Avro schema has a union of {len(kinds)} types, and a column has one")
    return _type(kinds[0], named, within)


def _simple() -> dict[str, pa.DataType]:
    import pyarrow as pa

    return {
        "null": pa.null(),
        "boolean": pa.bool_(),
        "int": pa.int32(),
        "long": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "string": pa.string(),
        "bytes": pa.binary(),
        "enum": pa.string(),
    }


def _logical(schema: dict[str, Any]) -> pa.DataType | None:
    """The type of what is more than its bytes; None where a schema says nothing of the kind that fastavro reads."""
    import pyarrow as pa

    word = schema.get("logicalType")
    if word == "decimal":
        if schema["precision"] > _MOST_DIGITS:
            raise UndecodableError(f"its Avro schema has a decimal of more than {_MOST_DIGITS} digits")
        return pa.decimal128(schema["precision"], schema.get("scale", 0))
    return {
        "date": pa.date32(),
        "time-millis": pa.time64("us"),
        "time-micros": pa.time64("us"),
        "timestamp-millis": pa.timestamp("us", tz="UTC"),
        "timestamp-micros": pa.timestamp("us", tz="UTC"),
        "local-timestamp-millis": pa.timestamp("us"),
        "local-timestamp-micros": pa.timestamp("us"),
        "uuid": pa.string(),
    }.get(str(word))
