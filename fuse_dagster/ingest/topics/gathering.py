"""Rows gathered to batches of one schema: what a schema says of a column counts, else what its values are."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fuse_dagster.ingest.topics.rows import Row

_REFUSED = (pa.ArrowException, OverflowError, TypeError, ValueError, UnicodeError)


class Gathered:
    """Rows of a load, in Arrow's memory.

    A column whose values have no common type becomes text, in which each value is JSON: nothing is lost, and the table
    that has another type for it says so. A column without any value is left out.

    Args:
        first: Column -> type of those that every row has; they come first.
    """

    def __init__(self, first: Mapping[str, pa.DataType]) -> None:
        self._first = dict(first)
        self._parts: list[tuple[int, dict[str, Any]]] = []

    @property
    def is_empty(self) -> bool:
        """Whether no row was added."""
        return not self._parts

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows."""
        names = dict.fromkeys(name for row in rows for name in row.values)
        part: dict[str, Any] = {}
        for name in names:
            values = [row.values.get(name) for row in rows]
            kinds = [row.types.get(name) for row in rows if row.values.get(name) is not None]
            array = _array(values, self._first.get(name) or _known(kinds))
            part[name] = _Encoded(_as_json(values)) if array is None else array
        self._parts.append((len(rows), part))

    def batches(self) -> pa.RecordBatchReader:
        """All rows, in the order in which they came."""
        names = dict.fromkeys([*self._first, *(name for _, part in self._parts for name in part)])
        types = {name: kind for name in names if (kind := self._agree(name)) is not None}
        schema = pa.schema(types)

        def made() -> Iterator[pa.RecordBatch]:
            while self._parts:
                height, part = self._parts.pop(0)
                arrays = [part[name] if name in part else pa.nulls(height, kind) for name, kind in types.items()]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)

        return pa.RecordBatchReader.from_batches(schema, made())

    def _agree(self, name: str) -> pa.DataType | None:
        """Bring a column to one type in all parts; None where it has no value."""
        held = [part for _, part in self._parts if name in part]
        arrays = [part[name] for part in held]
        encoded = any(isinstance(one, _Encoded) for one in arrays)
        if name in self._first and not encoded:
            return self._first[name]
        common = None if encoded else _common({one.type for one in arrays})
        kind = None if common is None else _settled(common)
        if common is not None and kind is None and (common == pa.null() or not _has_values(arrays)):
            return None
        made = None if kind is None else [_retyped(one, kind) for one in arrays]
        if made is None or any(one is None for one in made):
            kind = pa.string()
            made = [one.array if isinstance(one, _Encoded) else _as_json(one.to_pylist()) for one in arrays]
        for part, one in zip(held, made, strict=True):
            part[name] = one
        return kind


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A column whose values became JSON, each by itself."""

    array: pa.Array


def _has_values(arrays: Sequence[pa.Array]) -> bool:
    return any(one.null_count < len(one) for one in arrays)


def _known(kinds: Sequence[pa.DataType | None]) -> pa.DataType | None:
    """What schemas say of a column: one type for all, or none."""
    found = set(kinds)
    return None if not found or None in found else _common(found)


def _common(kinds: set[pa.DataType]) -> pa.DataType | None:
    """A type that holds what all of these hold; None where there is none."""
    kinds = kinds - {pa.null()} or kinds
    if len(kinds) == 1:
        return next(iter(kinds))
    schemas = [pa.schema({"column": kind}) for kind in sorted(kinds, key=str)]
    try:
        found = pa.unify_schemas(schemas, promote_options="permissive").field("column").type
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None
    return found


def _array(values: Sequence[Any], kind: pa.DataType | None) -> pa.Array | None:
    """The values as a column; None where they have no common type."""
    try:
        found = pa.array(values, kind) if kind is not None else pa.array(values)
    except _REFUSED:
        return None
    return found


def _settled(kind: pa.DataType) -> pa.DataType | None:
    """A type without parts of which nothing is known; None where nothing is left of it."""
    if kind == pa.null():
        return None
    if pa.types.is_struct(kind):
        fields = {one.name: _settled(one.type) for one in kind}
        held = {name: one for name, one in fields.items() if one is not None}
        return pa.struct(held) if held else None
    if pa.types.is_list(kind):
        return pa.list_(_settled(kind.value_type) or pa.string())
    return kind


def _retyped(array: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """The same values in a wider type; None where it can't hold one as it is."""
    if array.type == kind:
        return array
    try:
        return pa.array(array.to_pylist(), kind)
    except _REFUSED:
        return None


def _as_json(values: Sequence[Any]) -> pa.Array:
    texts = [None if one is None else json.dumps(one, default=_plain, ensure_ascii=True) for one in values]
    return pa.array(texts, pa.string())


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)
