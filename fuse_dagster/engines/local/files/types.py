"""Polars types as text, for files that hold none: `int64`, `decimal(10, 2)`, `datetime[us, UTC]`, `list[string]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean

_SIMPLE: dict[str, pl.DataType] = {
    "boolean": pl.Boolean(),
    "int8": pl.Int8(),
    "int16": pl.Int16(),
    "int32": pl.Int32(),
    "int64": pl.Int64(),
    "uint8": pl.UInt8(),
    "uint16": pl.UInt16(),
    "uint32": pl.UInt32(),
    "uint64": pl.UInt64(),
    "float32": pl.Float32(),
    "float64": pl.Float64(),
    "string": pl.String(),
    "binary": pl.Binary(),
    "date": pl.Date(),
    "time": pl.Time(),
    "datetime": pl.Datetime("us"),
    "null": pl.Null(),
}
_NAMES = {dtype: name for name, dtype in _SIMPLE.items()}
_FORMS = [*_SIMPLE, "decimal(10, 2)", "datetime[us]", "datetime[us, UTC]", "duration[us]"]
_DECIMAL = re.compile(r"decimal\((\d+), ?(\d+)\)")
_TIMED = re.compile(r"(datetime|duration)\[(ns|us|ms)(?:, ?([\w/+-]+))?\]")


def type_text(dtype: pl.DataType) -> Any:
    """A type as text; a nested one as a list or map of texts, as JSON holds them.

    Examples:
        >>> type_text(pl.Datetime("us", "UTC"))
        'datetime[us, UTC]'
    """
    match dtype:
        case pl.Decimal():
            return f"decimal({dtype.precision}, {dtype.scale})"
        case pl.Datetime():
            return f"datetime[{dtype.time_unit}{f', {dtype.time_zone}' if dtype.time_zone else ''}]"
        case pl.Duration():
            return f"duration[{dtype.time_unit}]"
        case pl.List():
            return [type_text(_made(dtype.inner))]
        case pl.Struct():
            return {field.name: type_text(_made(field.dtype)) for field in dtype.fields}
    return _NAMES.get(dtype, str(dtype).lower())


def type_of(text: Any) -> pl.DataType:
    """The type that a text names, or a list of one, or a map from fields to theirs; a polars type is itself.

    Raises:
        ConfigError: It names none.

    Examples:
        >>> type_of("decimal(10, 2)")
        Decimal(precision=10, scale=2)
    """
    if isinstance(text, pl.DataType) or (isinstance(text, type) and issubclass(text, pl.DataType)):
        return _made(text)
    if isinstance(text, list | tuple) and len(text) == 1:
        return pl.List(type_of(text[0]))
    if isinstance(text, Mapping):
        return pl.Struct({name: type_of(inner) for name, inner in text.items()})
    said = str(text).strip().lower()
    if said in _SIMPLE:
        return _SIMPLE[said]
    if found := _DECIMAL.fullmatch(said):
        return pl.Decimal(int(found[1]), int(found[2]))
    if found := _TIMED.fullmatch(str(text).strip()):
        unit: Any = found[2]
        return pl.Datetime(unit, found[3]) if found[1] == "datetime" else pl.Duration(unit)
    msg = f"`{text}` is no type. {did_you_mean(said, _FORMS)}"
    raise ConfigError(msg)


def types_of(said: Mapping[str, Any] | None) -> dict[str, pl.DataType]:
    """Column -> type, of a map from columns to types or texts.

    Raises:
        ConfigError: A text names no type; the message says of which column.
    """
    found = {}
    for name, text in (said or {}).items():
        try:
            found[name] = type_of(text)
        except ConfigError as error:
            msg = f"The type of column `{name}`: {error}"
            raise ConfigError(msg) from error
    return found


def _made(dtype: Any) -> pl.DataType:
    """A type; polars takes a class for its plain instance."""
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made
