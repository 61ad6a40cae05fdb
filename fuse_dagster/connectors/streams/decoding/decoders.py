"""What decodes a message, by the format that it is said to be in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeAlias

from fuse_dagster.connectors.streams.decoding import avro, json_text, protobuf
from fuse_dagster.connectors.streams.decoding.decoded import Decoded, UndecodableError
from fuse_dagster.core.errors import ConfigError

if TYPE_CHECKING:
    from fuse_dagster.connectors.streams.decoding.registry import Registry

Format = Literal["raw", "text", "json", "registry"]
"""How keys or values are written: bytes as they are; text in UTF-8; JSON; or with the id of a schema in a registry.

The schema says whether it is Avro, Protobuf or JSON with a schema.
"""
Decode: TypeAlias = Callable[[bytes], Decoded]

_MAGIC = 0
_HEAD = 5


def decoder(form: Format, registry: Registry | None) -> Decode:
    """What decodes messages of a format.

    Args:
        form: The format.
        registry: Knows the schemas; needed for `registry`.

    Raises:
        ConfigError: The format needs a registry, and there is none.
    """
    if form == "registry":
        if registry is None:
            msg = "Messages of the format `registry` need a schema registry. Set `schema_registry` of the connection."
            raise ConfigError(msg)
        return _Framed(registry)
    return {"raw": _raw, "text": _text, "json": json_text.reader({})}[form]


def _raw(data: bytes) -> Decoded:
    import pyarrow as pa

    return Decoded(data, pa.binary())


def _text(data: bytes) -> Decoded:
    import pyarrow as pa

    try:
        return Decoded(data.decode("utf-8"), pa.string())
    except UnicodeDecodeError:
        raise UndecodableError("it is no text in UTF-8") from None


class _Framed:
    """Decodes what begins with a zero byte and the id of its schema, in four bytes.

    Source: https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._readers: dict[int, Decode | str] = {}

    def __call__(self, data: bytes) -> Decoded:
        if len(data) < _HEAD or data[0] != _MAGIC:
            raise UndecodableError("it does not begin with a zero byte and the id of a schema")
        number = int.from_bytes(data[1:_HEAD], "big")
        if number not in self._readers:
            try:
                self._readers[number] = self._reader(number)
            except UndecodableError as error:
                self._readers[number] = str(error)  # it stays so: the registry is not asked for each message
        read = self._readers[number]
        if isinstance(read, str):
            raise UndecodableError(read)
        return read(data[_HEAD:])

    def _reader(self, number: int) -> Decode:
        schema = self._registry.schema(number)
        if schema.kind == "AVRO":
            return avro.reader(schema.text, schema.references)
        if schema.kind == "PROTOBUF":
            return protobuf.reader(schema.text, schema.references)
        if schema.kind != "JSON":
            raise UndecodableError(f"its schema is of the kind `{schema.kind}`. Valid: AVRO, JSON, PROTOBUF")
        return json_text.reader(json_text.types_of(schema.text))
