"""Rows as points: which columns are vectors, what may be in a payload, and which id a row has.

A point's id is a number or a UUID. Where the key is one integer column, a value from 0 on is the id itself; where it is
one text column, a value that is a UUID in lowercase is. Every other key becomes the UUID of version 5 of its bytes
(`fuse_dagster.core.key_bytes`) in the namespace `NAMESPACE`: `uuid5(NAMESPACE, "s4:EDDB")` for the text `EDDB`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha1
from typing import Any

import polars as pl

from fuse_dagster.connectors.vectors.collections import path
from fuse_dagster.connectors.vectors.declaring import POINT_ID, Sparse, Vector, column_of
from fuse_dagster.core.errors import ConfigError, KeyValueError, SchemaError
from fuse_dagster.core.key_bytes import key_bytes
from fuse_dagster.core.naming import did_you_mean, listing

NAMESPACE = uuid.UUID("5a1b6f2e-8c3d-5e4f-9a7b-0c1d2e3f4a5b")
"""Of the ids that are made from keys. It never changes: the same key is the same point for ever."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_LARGEST_ID = 2**64 - 1
_FLOATS = (pl.Float32, pl.Float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Which columns of rows become what of points.

    Attributes:
        keys: The columns that tell one point from another.
        vectors: Vector -> what it is.
        payload: All other columns, the keys among them.
    """

    keys: tuple[str, ...]
    vectors: Mapping[str, Vector | Sparse]
    payload: tuple[str, ...]

    @property
    def dense(self) -> dict[str, Vector]:
        """The dense ones."""
        return {name: vector for name, vector in self.vectors.items() if isinstance(vector, Vector)}

    def batch(self) -> int:
        """Rows that are sent at once, so that a request stays at some megabytes."""
        return max(16, min(1000, 400_000 // max(1, sum(one.size for one in self.dense.values()))))


def vectors_in(schema: pl.Schema) -> dict[str, Vector | Sparse]:
    """The columns that are vectors by their type: fixed-size lists of floats, lists of those, indices with values."""
    found: dict[str, Vector | Sparse] = {}
    for name, dtype in schema.items():
        inner = dtype.inner if isinstance(dtype, pl.List) else None
        if _is_dense(dtype):
            found[name] = Vector(size=dtype.size)  # type: ignore[attr-defined]
        elif inner is not None and _is_dense(inner):
            found[name] = Vector(size=inner.size, multi=True)  # type: ignore[union-attr]
        elif _is_sparse(dtype):
            found[name] = Sparse()
    return found


def shape_of(schema: pl.Schema, keys: Sequence[str], vectors: Mapping[str, Vector | Sparse]) -> Shape:
    """Say which columns become what.

    Args:
        schema: Column -> type.
        keys: The columns that tell one point from another.
        vectors: The vectors of the collection.

    Raises:
        ConfigError: There are no keys.
        SchemaError: A column is missing, or of a type that can't be a key, a vector or a part of a payload.
    """
    if isinstance(keys, str) or not keys:
        raise ConfigError("`keys` has to name the columns that tell one point from another, as `keys=['icao']`.")
    columns = {column_of(name) for name in vectors}
    if missing := [name for name in [*keys, *columns] if name not in schema]:
        raise SchemaError(f"The column `{missing[0]}` is not there. {did_you_mean(missing[0], schema)}")
    if wrong := [name for name in keys if not _is_key(schema[name])]:
        raise SchemaError(
            f"The key `{wrong[0]}` is {schema[wrong[0]]}. Valid: integers, text, booleans, dates and timestamps, "
            "which have an exact equality and can be kept in a payload."
        )
    stray = [name for name in vectors_in(schema) if name not in columns]
    if stray:
        raise SchemaError(
            f"The columns {listing(stray)} are vectors, and the collection holds {listing(columns)}. Drop or "
            'declare them, or write with `mode="overwrite"`.'
        )
    payload = tuple(name for name in schema if name not in columns)
    for name in payload:
        path(name)
        if name == POINT_ID:
            raise SchemaError(f"The column `{POINT_ID}` is what the ids of points are read to. Rename or drop it.")
        if reason := _reason(schema[name]):
            raise SchemaError(f"The column `{name}` is {schema[name]}: {reason}.")
    return Shape(keys=tuple(keys), vectors=dict(vectors), payload=payload)


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows with categories as the text that they stand for."""
    return frame.with_columns(
        pl.col(name).cast(pl.String)
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.Categorical | pl.Enum)
    )


def ids_of(frame: pl.DataFrame, keys: Sequence[str]) -> list[int | str]:
    """The id of each row's point; see the module.

    Raises:
        KeyValueError: A key is null.
    """
    null = frame.filter(pl.any_horizontal(pl.col(key).is_null() for key in keys)).height
    if null:
        raise KeyValueError(f"{null:,} rows have a null in their key {listing(keys)}. Fix the source, or drop them.")
    hashed = (_uuid(key) for key in key_bytes(frame, keys).to_list())
    if len(keys) > 1:
        return list(hashed)
    return [given if _is_id(given) else made for given, made in zip(frame[keys[0]].to_list(), hashed, strict=True)]


def _is_id(value: object) -> bool:
    if isinstance(value, str):
        return _UUID.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST_ID


def _uuid(name: bytes) -> str:
    # `uuid.uuid5` takes bytes from Python 3.12 on.
    return str(uuid.UUID(bytes=sha1(NAMESPACE.bytes + name, usedforsecurity=False).digest()[:16], version=5))


def payloads_of(frame: pl.DataFrame, shape: Shape) -> Iterator[dict[str, Any]]:
    """The payload of each row: JSON, with times as text; nulls are kept."""
    told = frame.select(_told(pl.col(name), frame.schema[name]) for name in shape.payload)
    return told.iter_rows(named=True)


def _told(value: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    if dtype == pl.Date:
        return value.dt.strftime("%Y-%m-%d")
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            return value.dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")
        return value.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return value


def _is_dense(dtype: Any) -> bool:
    return isinstance(dtype, pl.Array) and dtype.inner in _FLOATS and len(dtype.shape) == 1


def _is_sparse(dtype: pl.DataType) -> bool:
    if not isinstance(dtype, pl.Struct):
        return False
    inner = {field.name: field.dtype.inner for field in dtype.fields if isinstance(field.dtype, pl.List)}
    if set(inner) != {"indices", "values"} or len(dtype.fields) != 2:
        return False
    return inner["indices"].is_integer() and inner["values"].is_float()


def _is_key(dtype: pl.DataType) -> bool:
    simple = (pl.String, pl.Boolean, pl.Date, pl.Datetime, pl.Categorical, pl.Enum)
    return dtype.is_integer() or isinstance(dtype, simple)


def _reason(dtype: pl.DataType | Any) -> str:
    """Why a type can't be in a payload; "" where it can."""
    if isinstance(dtype, pl.List | pl.Array):
        return _nested_reason(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return next((reason for field in dtype.fields if (reason := _nested_reason(field.dtype))), "")
    simple = (pl.String, pl.Boolean, pl.Date, pl.Datetime, pl.Categorical, pl.Enum, pl.Null, pl.Float32, pl.Float64)
    if isinstance(dtype, simple) or (dtype.is_integer() and dtype not in (pl.Int128, pl.UInt128)):
        return ""
    return "a payload is JSON, which has no such values. Cast it to text, or to a float or integer that holds it"


def _nested_reason(dtype: pl.DataType | Any) -> str:
    if dtype.is_temporal() or isinstance(dtype, pl.Categorical | pl.Enum):
        return "times and categories within lists and structs can't be told from text. Cast them to text"
    return _reason(dtype)
