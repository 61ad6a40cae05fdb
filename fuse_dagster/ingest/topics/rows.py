"""A message as a row: the fields of its value and key, and where it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from fuse_dagster.connectors.streams.decoding import Decode, Decoded, UndecodableError
from fuse_dagster.connectors.streams.rows import headers_of, time_of

if TYPE_CHECKING:
    import pyarrow as pa
    from confluent_kafka import Message

Envelope = Literal["none", "debezium"]
VALUE, KEY = "value", "_key"
PARTITION, OFFSET, TIMESTAMP = "_partition", "_offset", "_timestamp"
TOMBSTONE, OP, HEADERS = "_tombstone", "_op", "_headers"
_OWN = frozenset({KEY, PARTITION, OFFSET, TIMESTAMP, TOMBSTONE, OP, HEADERS, "_rejection_reasons"})
_OPS = frozenset("crud")


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        values: Column -> value.
        types: Column -> its type, where a schema says it.
    """

    values: Mapping[str, Any]
    types: Mapping[str, pa.DataType]


def own_types(envelope: Envelope, *, headers: bool) -> dict[str, pa.DataType]:
    """The columns that say where a message was, which every row has."""
    import pyarrow as pa

    header = pa.list_(pa.struct({"name": pa.string(), "value": pa.binary()}))
    return {
        PARTITION: pa.int32(),
        OFFSET: pa.int64(),
        TIMESTAMP: pa.timestamp("us", tz="UTC"),
        TOMBSTONE: pa.bool_(),
        **({OP: pa.string()} if envelope == "debezium" else {}),
        **({HEADERS: header} if headers else {}),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How messages become rows.

    Attributes:
        key: Decodes keys.
        value: Decodes values.
        key_types: Field of a key that is JSON -> the type that it has to fit.
        value_types: Field of a row whose values are JSON -> the type that it has to fit.
        key_column: Where a key goes that is no record.
        envelope: What values are wrapped in.
        headers: Whether headers are kept.
    """

    key: Decode
    value: Decode
    key_types: Mapping[str, pa.DataType]
    value_types: Mapping[str, pa.DataType]
    key_column: str
    envelope: Envelope
    headers: bool

    def row(self, message: Message) -> Row:
        """The row of a message.

        Raises:
            UndecodableError: Its key or its value is not what it is said to be.
        """
        key, value = _decoded("key", self.key, message.key()), _decoded("value", self.value, message.value())
        said: dict[str, Any] = {TOMBSTONE: value is None}
        if self.envelope == "debezium":
            said[OP], value = _unwrapped(value)
        values: dict[str, Any] = {}
        types: dict[str, pa.DataType] = {}
        for one, name, wanted in ((key, self.key_column, self.key_types), (value, VALUE, self.value_types)):
            if one is not None:
                fields, known = _fields(one, name)
                values |= _fitted(fields, wanted)
                types |= {**known, **wanted}
        if taken := _OWN & values.keys() - {self.key_column}:
            raise UndecodableError(f"It has a field `{min(taken)}`, which is the name of a column that is added.")
        time = time_of(message)
        values |= {PARTITION: message.partition(), OFFSET: message.offset(), **said}
        values[TIMESTAMP] = None if time is None else time * 1000
        if self.headers:
            values[HEADERS] = headers_of(message)
        return Row(values, types)


def _decoded(what: str, decode: Decode, data: bytes | str | None) -> Decoded | None:
    if data is None:
        return None
    try:
        return decode(data.encode() if isinstance(data, str) else data)
    except UndecodableError as error:
        raise UndecodableError(f"The {what} can't be read: {error}.") from None


def _fields(one: Decoded, name: str) -> tuple[Mapping[str, Any], Mapping[str, pa.DataType]]:
    """The columns of a key or a value: its fields, or itself under a name."""
    if one.is_record:
        return one.value, one.types()
    return {name: one.value}, {} if one.type is None or isinstance(one.type, Mapping) else {name: one.type}


def _fitted(fields: Mapping[str, Any], wanted: Mapping[str, pa.DataType]) -> dict[str, Any]:
    """The fields, where they fit the types that somebody declared."""
    from fuse_dagster.connectors.streams.decoding.fitting import fit

    found = dict(fields)
    for name in wanted.keys() & fields.keys():
        try:
            found[name] = fit(fields[name], wanted[name])
        except UndecodableError as error:
            raise UndecodableError(f"The column `{name}` can't hold it: {error}.") from None
    return found


def _unwrapped(value: Decoded | None) -> tuple[str, Decoded | None]:
    """Operation and row of a change in Debezium's envelope; a tombstone follows a delete, and says it again.

    Source: https://debezium.io/documentation/reference/stable/connectors/postgresql.html#postgresql-events
    """
    if value is None:
        return "d", None
    if value.is_record and value.value.keys() == {"schema", "payload"}:
        value = _field(value, "payload")
        if value is None:
            return "d", None
    op = value.value.get("op") if value.is_record else None
    if op not in _OPS:
        raise UndecodableError("The value is no change of a row in Debezium's envelope (`op`: c, r, u or d).")
    row = _field(value, "before" if op == "d" else "after")
    if op != "d" and (row is None or not row.is_record):
        raise UndecodableError("The value says that a row was written, and not which (`after`).")
    return str(op), row if row is None or row.is_record else None


def _field(value: Decoded, name: str) -> Decoded | None:
    """A field of a record as a value of its own; None where it is null or absent."""
    held = value.value.get(name)
    return None if held is None else Decoded(held, value.types().get(name))
