"""Rows of many files, kept until the last is read: only then are their types known, and which files are whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from fuse_dagster.core.errors import InputError
from fuse_dagster.engines.local.files.texts import PLAIN, Forms, Telling, as_type
from fuse_dagster.ingest.landing.scratch import Kept, Scratch

FILE, ROW = "\0file", "\0row"
"""Columns of the rows that are kept: which file they are of, and which row of it."""

MEMBER = "_file_member"
"""The column that says which file of an archive rows are of, where that is asked for."""

_KEPT_ASIDE = (MEMBER, FILE, ROW)
_KEPT = 32 * 2**20
_EXACT = 2**53
_INTS = (pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64())
_UINTS = (pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64())


class Spool:
    """Frames, in memory as far as they are few, then on this machine's disk.

    Args:
        scratch: Where they are kept.
        forms: How numbers and times are written in text.
        declared: Column -> type, which the rows have already.
        known: Column -> type, of loads before, which is kept where it holds all values.
    """

    def __init__(
        self,
        scratch: Scratch,
        *,
        forms: Forms = PLAIN,
        declared: Mapping[str, pl.DataType],
        known: Mapping[str, pl.DataType],
    ) -> None:
        self._scratch, self._forms, self._declared = scratch, forms, declared
        self._known = known
        self._frames: list[pl.DataFrame] = []
        self._stored: list[Kept] = []
        self._size: float = 0
        self._texts = Telling(forms)
        self._types: dict[str, pl.DataType] = {}
        self._wide: set[str] = set()
        self._names: dict[str, None] = {}

    def refuse(self, schema: Mapping[str, pl.DataType], file: str) -> None:
        """Refuse a file whose types don't go with those before.

        Raises:
            InputError: A column is of another type, which no type holds together with it.
        """
        for name, dtype in schema.items():
            known = self._types.get(name)
            if name not in self._declared and known is not None and together(known, dtype) is None:
                msg = f"`{name}` is {dtype} in `{file}` and {known} in the files before. Declare its type in `types`."
                raise InputError(msg)

    def add(self, frame: pl.DataFrame, *, text: bool, stored: Kept | None = None) -> None:
        """Keep rows of whole files, with the columns `FILE` and `ROW`.

        Args:
            frame: The rows.
            text: Whether its columns are text whose types are told from the values.
            stored: Where the same rows are on the disk already.
        """
        said = frame.drop(name for name in _KEPT_ASIDE if name in frame.columns)
        said = said.drop(name for name in self._declared if name in said.columns)
        self._names.update(dict.fromkeys(said.columns))
        if text:
            self._texts.see(said)
        else:
            self._see_types(said)
        if stored is not None:
            self._store()
            self._stored.append(stored)
            return
        self._frames.append(frame)
        self._size += frame.estimated_size()
        if self._size > _KEPT:
            self._store()

    def schema(self) -> dict[str, pl.DataType]:
        """Column -> type: declared ones first, others as they came; Null where nobody said a value."""
        told = self._texts.types(self._known)
        found = dict(self._declared)
        for name in self._names:
            one, other = told.get(name) or pl.Null(), self._types.get(name, pl.Null())
            both = together(one, other)
            lossy = both is not None and both.is_float() and name in self._wide
            found[name] = self._as_known(name, pl.String() if both is None or lossy else both)
        return found

    def _as_known(self, name: str, found: pl.DataType) -> pl.DataType:
        """The type of loads before, where it holds the values of this one; else theirs, for the write to judge."""
        known = self._known.get(name)
        if known is None:
            return found
        if known == pl.String and name in self._types and name not in self._texts.types():
            return known
        both = together(known, found)
        return found if both is None or (both.is_float() and name in self._wide) else both

    def _see_types(self, frame: pl.DataFrame) -> None:
        for name, dtype in frame.schema.items():
            if dtype == pl.Int64 and name not in self._wide:
                least, most = frame[name].min(), frame[name].max()
                if least is not None and max(-int(least), int(most)) > _EXACT:  # type: ignore[arg-type]
                    self._wide.add(name)
            known = self._types.get(name)
            found = dtype if known is None else together(known, dtype)
            self._types[name] = pl.String() if found is None else found

    def frames(self) -> Iterator[pl.DataFrame]:
        """The rows in their order, with the columns and types of `schema`, then `FILE` and `ROW`."""
        wanted = self.schema()
        for kept in self._stored:
            yield self._cast(self._scratch.get(kept), wanted)
        for frame in _batched(self._frames):
            yield self._cast(frame, wanted)

    def _cast(self, frame: pl.DataFrame, wanted: Mapping[str, pl.DataType]) -> pl.DataFrame:
        return frame.select(
            *(self._column(name, frame.schema.get(name), dtype) for name, dtype in wanted.items()),
            *(name for name in _KEPT_ASIDE if name in frame.columns),
        )

    def _column(self, name: str, found: pl.DataType | None, wanted: pl.DataType) -> pl.Expr:
        if found is None or (found == pl.Null and wanted != pl.Null) or wanted == pl.Null:
            return pl.lit(None, dtype=wanted).alias(name)
        if found == wanted:
            return pl.col(name)
        if found == pl.String:
            return as_type(name, wanted, self._forms).alias(name)
        if wanted == pl.String:
            return _as_text(pl.col(name), found).alias(name)
        if isinstance(wanted, pl.Datetime) and isinstance(found, pl.Datetime) and wanted.time_zone != found.time_zone:
            return pl.col(name).dt.convert_time_zone(wanted.time_zone or "UTC").cast(wanted)
        return pl.col(name).cast(wanted)

    def _store(self) -> None:
        for frame in _batched(self._frames):
            self._stored.append(self._scratch.put(frame))
        self._frames, self._size = [], 0


def _batched(frames: list[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Frames of the same columns as one."""
    some: list[pl.DataFrame] = []
    for frame in frames:
        if some and frame.schema != some[0].schema:
            yield pl.concat(some)
            some = []
        some.append(frame)
    if some:
        yield pl.concat(some)


def together(one: Any, other: Any) -> pl.DataType | None:
    """The type that holds the values of both without loss; None where there is none."""
    found: pl.DataType | None = None
    if one == other or pl.Null in (one, other):
        found = one if other == pl.Null else other
    elif one.is_numeric() and other.is_numeric():
        found = _number(one, other)
    elif isinstance(one, pl.Datetime) and isinstance(other, pl.Datetime):
        zones = {one.time_zone, other.time_zone}
        unit = min(one.time_unit, other.time_unit, key=("ns", "us", "ms").index)
        if len(zones) == 1 or None not in zones:
            found = pl.Datetime(unit, one.time_zone if len(zones) == 1 else "UTC")
    elif isinstance(one, pl.List) and isinstance(other, pl.List):
        inner = together(one.inner, other.inner)
        found = None if inner is None else pl.List(inner)
    elif isinstance(one, pl.Struct) and isinstance(other, pl.Struct):
        found = _struct(one, other)
    return found


def _number(one: Any, other: Any) -> pl.DataType | None:
    for kinds in (_INTS, _UINTS):
        if one in kinds and other in kinds:
            return kinds[max(kinds.index(one), kinds.index(other))]
    if one.is_float() and other.is_float():
        return pl.Float64()
    if one.is_integer() and other.is_integer():
        return next((kind for kind in _INTS if _holds(kind, one) and _holds(kind, other)), None)
    if {one, other} <= {pl.Float64(), pl.Float32(), *_INTS, *_UINTS[:3]}:
        return pl.Float64()
    if one.is_decimal() and other.is_decimal():
        scale = max(one.scale, other.scale)
        whole = max(one.precision - one.scale, other.precision - other.scale)
        return pl.Decimal(whole + scale, scale) if whole + scale <= 38 else None
    return None


def _holds(signed: pl.DataType, kind: pl.DataType) -> bool:
    return _INTS.index(kind) <= _INTS.index(signed) if kind in _INTS else _UINTS.index(kind) < _INTS.index(signed)


def _struct(one: pl.Struct, other: pl.Struct) -> pl.DataType | None:
    fields: dict[str, Any] = {field.name: field.dtype for field in one.fields}
    for field in other.fields:
        both = together(fields[field.name], field.dtype) if field.name in fields else field.dtype
        if both is None:
            return None
        fields[field.name] = both
    return pl.Struct(fields)


def _as_text(column: pl.Expr, found: pl.DataType) -> pl.Expr:
    """A value of JSON as JSON writes it."""
    if not found.is_nested():
        return column.cast(pl.String)
    return column.map_elements(
        lambda value: json.dumps(value.to_list() if isinstance(value, pl.Series) else value, ensure_ascii=False),
        return_dtype=pl.String,
    )
