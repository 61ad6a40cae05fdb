"""JSON without loss: what Python's reader takes quietly and changes, is kept or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.streams.decoding.decoded import Decoded, UndecodableError

if TYPE_CHECKING:
    import pyarrow as pa

_DEEPEST = 64


def loads(data: bytes) -> Any:
    """Read one JSON value.

    A number that no double holds becomes a `Decimal`.

    Raises:
        UndecodableError: It is no JSON in UTF-8, names a field twice, or is nested more than 64 deep.
    """
    try:
        found = json.loads(data.decode("utf-8"), parse_float=_number, parse_constant=_refuse, object_pairs_hook=_object)
    except UnicodeDecodeError:
        raise UndecodableError("it is no text in UTF-8") from None
    except RecursionError:
        raise UndecodableError(f"it is nested more than {_DEEPEST} deep") from None
    except json.JSONDecodeError as error:
        raise UndecodableError(f"it is no JSON: {error.msg} at character {error.pos}") from None
    except UndecodableError:
        raise
    except ValueError:  # of whole numbers with thousands of digits
        raise UndecodableError("it holds a number with too many digits") from None
    if _deeper(found, _DEEPEST):
        raise UndecodableError(f"it is nested more than {_DEEPEST} deep")
    return found


def reader(types: Mapping[str, pa.DataType]) -> Callable[[bytes], Decoded]:
    """What reads messages that are JSON; types that nobody said show in the values.

    Args:
        types: Field of the object -> its type; a message whose field does not fit is refused.
    """

    def read(data: bytes) -> Decoded:
        value = loads(data)
        if not isinstance(value, dict):
            return Decoded(value)
        return Decoded({name: _fitted(name, one, types) for name, one in value.items()}, dict(types))

    return read


def _fitted(name: str, value: Any, types: Mapping[str, pa.DataType]) -> Any:
    from fuse_dagster.connectors.streams.decoding.fitting import fit

    if name not in types:
        return value
    try:
        return fit(value, types[name])
    except UndecodableError as error:
        raise UndecodableError(f"in `{name}`, {error}") from None


def types_of(text: str) -> dict[str, pa.DataType]:
    """The types of an object's fields, as far as a JSON Schema says them.

    Raises:
        UndecodableError: It is no JSON Schema.
    """
    try:
        schema = json.loads(text)
    except ValueError:
        raise UndecodableError("its JSON Schema can't be read") from None
    held = schema.get("properties") if isinstance(schema, dict) else None
    fields = {name: _type_of(one) for name, one in held.items()} if isinstance(held, dict) else {}
    return {name: one for name, one in fields.items() if one is not None}


def _type_of(schema: Any) -> pa.DataType | None:
    """The Arrow type that a schema says; None where it says none, several, or not all of it."""
    import pyarrow as pa

    if not isinstance(schema, dict) or {"$ref", "allOf", "oneOf", "anyOf", "enum", "const"} & schema.keys():
        return None
    kind = schema.get("type")
    if isinstance(kind, list):
        held = set(kind) - {"null"}
        kind = held.pop() if len(held) == 1 else None
    if kind == "array":
        item = _type_of(schema.get("items"))
        return None if item is None else pa.list_(item)
    if kind == "object" and isinstance(schema.get("properties"), dict):
        fields = {name: _type_of(one) for name, one in schema["properties"].items()}
        closed = schema.get("additionalProperties") is False and fields and None not in fields.values()
        return pa.struct(fields) if closed else None
    simple = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    return simple.get(str(kind))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise UndecodableError("it names a field twice in one object")
    return found


def _number(text: str) -> float | Decimal:
    near, exact = float(text), Decimal(text)
    return near if Decimal(repr(near)) == exact else exact


def _refuse(word: str) -> Any:
    raise UndecodableError(f"it holds `{word}`, which JSON does not know")


def _deeper(value: Any, most: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    held = value.values() if isinstance(value, dict) else value
    return most == 0 or any(_deeper(one, most - 1) for one in held)
