"""Protocol Buffers, by the descriptor of the file that a message's type is in."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.streams.decoding.decoded import Decoded, UndecodableError
from fuse_dagster.core.errors import MissingExtraError

if TYPE_CHECKING:
    import pyarrow as pa
    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.message import Message

_WRAPPERS = "BoolValue BytesValue DoubleValue FloatValue Int32Value Int64Value StringValue UInt32Value UInt64Value"
_WRAPPED = frozenset(f"google.protobuf.{name}" for name in _WRAPPERS.split())
_AS_JSON = frozenset(f"google.protobuf.{name}" for name in ("Struct", "Value", "ListValue"))
_TIMESTAMP = "google.protobuf.Timestamp"


def reader(file: str, references: dict[str, str]) -> Callable[[bytes], Decoded]:
    """What reads messages of one file's types; each begins with the numbers of its type.

    Args:
        file: The descriptor of the file (FileDescriptorProto, in base64).
        references: Descriptors of files that it imports, by name, each after those that it imports itself.

    Raises:
        UndecodableError: The descriptor is none.
        MissingExtraError: The package that reads them is not installed.
    """
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError as error:
        msg = f'Protobuf needs the package `{error.name}`. Install it with: pip install "fuse-dagster[kafka]"'
        raise MissingExtraError(msg) from error
    pool = descriptor_pool.DescriptorPool()
    try:
        _add_known(pool)
        for name, text in references.items():
            other = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text))
            other.name = name
            if not other.name.startswith("google/protobuf/"):
                pool.Add(other)
        made = descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(file))
        made.name = made.name or "schema.proto"
        pool.Add(made)
        described = pool.FindFileByName(made.name)
    except (ValueError, TypeError, KeyError, DecodeError) as error:
        raise UndecodableError(f"its Protobuf schema can't be read: {type(error).__name__}") from None
    top = list(described.message_types_by_name.values())
    kinds: dict[tuple[int, ...], tuple[Any, pa.DataType]] = {}

    def read(data: bytes) -> Decoded:
        numbers, rest = _numbers(data)
        if numbers not in kinds:
            descriptor = _descriptor(top, numbers)
            kinds[numbers] = (message_factory.GetMessageClass(descriptor), type_of(descriptor))
        made, kind = kinds[numbers]
        try:
            message = made.FromString(rest)
        except (DecodeError, RecursionError) as error:
            raise UndecodableError(f"it is no Protobuf of its schema: {type(error).__name__}") from None
        return Decoded(_record(message), kind)

    return read


def type_of(message: Descriptor, within: tuple[str, ...] = ()) -> pa.DataType:
    """The Arrow type of a message type.

    Raises:
        UndecodableError: It holds itself, which a column can't.
    """
    import pyarrow as pa

    if message.full_name in within:
        raise UndecodableError(f"its Protobuf type `{message.full_name}` holds itself, which a column can't")
    inner = (*within, message.full_name)
    return pa.struct({field.name: _field_type(field, inner) for field in message.fields})


def _field_type(field: FieldDescriptor, within: tuple[str, ...]) -> pa.DataType:
    import pyarrow as pa

    if _is_map(field):
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        return pa.map_(_single_type(key, within), _single_type(value, within))
    single = _single_type(field, within)
    return pa.list_(single) if field.is_repeated else single


def _single_type(field: FieldDescriptor, within: tuple[str, ...]) -> pa.DataType:
    import pyarrow as pa

    if field.message_type is not None:
        name = field.message_type.full_name
        if name == _TIMESTAMP:
            return pa.timestamp("us", tz="UTC")
        if name in _WRAPPED:
            return _single_type(field.message_type.fields_by_name["value"], within)
        return pa.string() if name in _AS_JSON else type_of(field.message_type, within)
    simple = {
        field.CPPTYPE_INT32: pa.int32(),
        field.CPPTYPE_INT64: pa.int64(),
        field.CPPTYPE_UINT32: pa.uint32(),
        field.CPPTYPE_UINT64: pa.uint64(),
        field.CPPTYPE_DOUBLE: pa.float64(),
        field.CPPTYPE_FLOAT: pa.float32(),
        field.CPPTYPE_BOOL: pa.bool_(),
        field.CPPTYPE_ENUM: pa.string(),
    }
    return simple.get(field.cpp_type) or (pa.binary() if field.type == field.TYPE_BYTES else pa.string())


def _record(message: Message) -> dict[str, Any]:
    """A message's fields; null where one that can be absent is."""
    return {field.name: _value(message, field) for field in message.DESCRIPTOR.fields}


def _value(message: Message, field: FieldDescriptor) -> Any:
    held = getattr(message, field.name)
    if _is_map(field):
        inner = field.message_type.fields_by_name["value"]
        return [(key, _single(held[key], inner)) for key in held]
    if field.is_repeated:
        return [_single(one, field) for one in held]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _single(held, field)


def _single(value: Any, field: FieldDescriptor) -> Any:
    if field.message_type is not None:
        name = field.message_type.full_name
        if name == _TIMESTAMP:
            return _moment(value)
        if name in _WRAPPED:
            return value.value
        return _as_json(value) if name in _AS_JSON else _record(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return str(value) if known is None else known.name
    return value


def _moment(value: Any) -> dt.datetime:
    if value.nanos % 1000:
        raise UndecodableError("it holds a time that is finer than microseconds")
    try:
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(
            seconds=value.seconds, microseconds=value.nanos // 1000
        )
    except OverflowError:
        raise UndecodableError("it holds a time beyond the year 9999") from None


def _as_json(value: Any) -> str:
    from google.protobuf import json_format

    return json.dumps(json_format.MessageToDict(value), ensure_ascii=False, separators=(",", ":"))


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)


def _add_known(pool: Any) -> None:
    """The files that every Protobuf brings."""
    from google.protobuf import (
        any_pb2,
        descriptor_pb2,
        duration_pb2,
        empty_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )

    for one in (any_pb2, duration_pb2, empty_pb2, struct_pb2, timestamp_pb2, wrappers_pb2):
        made = descriptor_pb2.FileDescriptorProto()
        one.DESCRIPTOR.CopyToProto(made)
        pool.Add(made)


def _descriptor(top: Sequence[Descriptor], numbers: tuple[int, ...]) -> Descriptor:
    """The type at a path of numbers: the first among the file's types, each further one among those within it."""
    kinds, found = top, None
    for number in numbers:
        if not 0 <= number < len(kinds):
            raise UndecodableError("it names a type that its Protobuf schema has not")
        found = kinds[number]
        kinds = found.nested_types
    assert found is not None, "there is at least one number"
    return found


def _numbers(data: bytes) -> tuple[tuple[int, ...], bytes]:
    """The numbers that a message begins with, and what follows; a single zero byte stands for the first type."""
    count, at = _varint(data, 0)
    if count == 0:
        return (0,), data[at:]
    if not 0 < count <= 100:
        raise UndecodableError("it does not begin with the number of its type")
    numbers = []
    for _ in range(count):
        number, at = _varint(data, at)
        numbers.append(number)
    return tuple(numbers), data[at:]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in zigzag form, and where it ends."""
    found = shift = 0
    while at < len(data) and shift < 35:
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return (found >> 1) ^ -(found & 1), at
    raise UndecodableError("it ends within the number of its type")
