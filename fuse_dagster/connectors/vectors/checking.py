"""All that is looked at before a point is written: vectors, payloads and ids, of every row."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from fuse_dagster.connectors.vectors.declaring import Sparse, Vector, column_of
from fuse_dagster.connectors.vectors.points import Shape, ids_of, plain
from fuse_dagster.core.errors import InputError, KeyValueError, SchemaError
from fuse_dagster.core.naming import listing

Slices = Callable[[int], Iterator[pl.DataFrame]]
"""Goes through the rows from the beginning, so many at a time."""

_LARGEST_INTEGER = 2**63 - 1
_LARGEST_INDEX = 2**32 - 1
_CHECKED = 10_000


@contextmanager
def rows_of(data: Any) -> Iterator[tuple[pl.Schema, Slices]]:
    """Rows that can be gone through several times; what can be read once is kept in a file meanwhile.

    Args:
        data: A frame of polars, or anything that gives a stream of Arrow, as a table or a reader.

    Raises:
        InputError: It is no frame.
    """
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    if isinstance(data, pa.RecordBatchReader):
        with tempfile.TemporaryDirectory(prefix="fuse_") as folder, _kept(data, Path(folder) / "rows") as found:
            yield found
        return
    if not isinstance(data, pl.DataFrame):
        if not hasattr(data, "__arrow_c_stream__"):
            kind = f"{type(data).__module__}.{type(data).__qualname__}"
            raise InputError(f"A frame is expected, not `{kind}`. Valid: frames of polars, and what gives Arrow.")
        data = pl.DataFrame(pa.RecordBatchReader.from_stream(data).read_all())
    frame = plain(data)
    yield frame.schema, lambda rows: frame.iter_slices(rows) if frame.height else iter(())


@contextmanager
def _kept(reader: pa.RecordBatchReader, place: Path) -> Iterator[tuple[pl.Schema, Slices]]:
    with pa.ipc.new_file(place, reader.schema) as file:
        for batch in reader:
            file.write_batch(batch)

    def slices(rows: int) -> Iterator[pl.DataFrame]:
        with pa.memory_map(str(place)) as source, pa.ipc.open_file(source) as kept:
            for number in range(kept.num_record_batches):
                yield from plain(pl.DataFrame(kept.get_batch(number))).iter_slices(rows)

    yield plain(pl.DataFrame(reader.schema.empty_table())).schema, slices


def check(slices: Slices, shape: Shape) -> set[int | str]:
    """Look at every row.

    Returns:
        The ids of the points.

    Raises:
        InputError: A vector is null, of another size, or holds what is no number; or a payload what JSON can't.
        KeyValueError: A key is null, or stands twice.
    """
    seen: set[int | str] = set()
    for frame in slices(_CHECKED):
        for name, vector in shape.vectors.items():
            _vectors(frame, column_of(name), vector)
        for name in shape.payload:
            _payload(frame[name])
        ids = ids_of(frame, shape.keys)
        fresh = set(ids)
        twice = len(fresh) < len(ids) or not seen.isdisjoint(fresh)
        if twice:
            raise _twice(frame, ids, seen, shape)
        seen |= fresh
    return seen


def _twice(frame: pl.DataFrame, ids: list[int | str], seen: set[int | str], shape: Shape) -> KeyValueError:
    known, keys = set(seen), []
    for each, row in zip(ids, frame.select(shape.keys).iter_rows(named=True), strict=True):
        if each in known:
            keys.append(row)
        known.add(each)
    first = "; ".join(", ".join(f"{name}={value!r}" for name, value in row.items()) for row in keys[:3])
    return KeyValueError(
        f"{len(keys):,} rows have a key that another row has: {first}. Nothing was written. Deduplicate them by a rule "
        f"of your own, or add to `keys` what tells them apart; the keys are {listing(shape.keys)}."
    )


def _vectors(frame: pl.DataFrame, column: str, vector: Vector | Sparse) -> None:
    values = frame[column]
    if nulls := values.null_count():
        raise InputError(
            f"{nulls:,} rows have no vector in `{column}`. Nothing was written. Drop these rows, or make their vectors."
        )
    if isinstance(vector, Sparse):
        _sparse(values, column)
    elif vector.multi:
        _multi(values, column, vector)
    else:
        dense(values, column, vector.size)


def dense(values: pl.Series, column: str, size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Vectors as rows x numbers, in the 32 bits that they are kept in.

    Raises:
        InputError: One is of another size, or holds what is no finite number of 32 bits.
        SchemaError: The column holds no lists of numbers.
    """
    dtype = values.dtype
    if isinstance(dtype, pl.Array) and len(dtype.shape) == 1 and dtype.inner.is_numeric():
        sizes = {dtype.size} if len(values) else set()
    elif isinstance(dtype, pl.List) and dtype.inner.is_numeric():
        sizes = set(values.list.len().to_list())
    else:
        raise SchemaError(f"The column `{column}` is {dtype}, and vectors of {size} numbers are wanted there.")
    if sizes - {size}:
        raise InputError(
            f"`{column}` holds vectors of {listing(sorted(sizes - {size}))} numbers, and the collection's have {size}. "
            "Nothing was written. Check which model made them."
        )
    flat = values.explode().to_numpy() if len(values) else np.empty(0)
    with np.errstate(over="ignore"):
        rows = flat.astype(np.float32).reshape(-1, size)
    bad = int((~np.isfinite(rows)).any(axis=1).sum())
    if bad:
        raise InputError(
            f"{bad:,} vectors in `{column}` hold NaN, an infinite number, a null, or one beyond 32 bits. Nothing was "
            "written. Look at what made them."
        )
    return rows


def _multi(values: pl.Series, column: str, vector: Vector) -> None:
    if not isinstance(values.dtype, pl.List):
        raise SchemaError(f"The column `{column}` is {values.dtype}, and lists of vectors are wanted there.")
    if len(values) and values.list.len().min() == 0:
        raise InputError(
            f"Some rows have an empty list of vectors in `{column}`. Nothing was written. Drop these rows."
        )
    dense(values.explode(), column, vector.size)


def _sparse(values: pl.Series, column: str) -> None:
    if not isinstance(values.dtype, pl.Struct) or {field.name for field in values.dtype.fields} != {
        "indices",
        "values",
    }:
        raise SchemaError(f"The column `{column}` is {values.dtype}, and a struct of `indices` and `values` is wanted.")
    indices, weights = values.struct.field("indices"), values.struct.field("values")
    if indices.null_count() or weights.null_count() or (indices.list.len() != weights.list.len()).any():
        raise InputError(f"Some sparse vectors in `{column}` have not one value for each index. Nothing was written.")
    if (indices.list.n_unique() != indices.list.len()).any():
        raise InputError(
            f"Some sparse vectors in `{column}` hold an index twice. Nothing was written. Add up its values."
        )
    some = indices.list.len() > 0
    flat, numbers = indices.filter(some).explode(), weights.filter(some).explode().cast(pl.Float32, strict=False)
    if flat.null_count() or ((flat < 0) | (flat > _LARGEST_INDEX)).any():
        raise InputError(f"Some indices in `{column}` are none. Valid: 0 to {_LARGEST_INDEX}. Nothing was written.")
    if numbers.null_count() or not numbers.is_finite().all():
        raise InputError(f"Some values in `{column}` are NaN, infinite or null. Nothing was written.")


def _payload(values: pl.Series) -> None:
    dtype, name = values.dtype, values.name
    if dtype.is_float() and (bad := int((~values.drop_nulls().is_finite()).sum())):
        raise InputError(
            f"{bad:,} values of `{name}` are NaN or infinite, which JSON has not. Make them null, or drop them."
        )
    if dtype == pl.UInt64 and len(values.drop_nulls()) and values.max() > _LARGEST_INTEGER:  # type: ignore[operator]
        raise InputError(
            f"`{name}` holds integers beyond {_LARGEST_INTEGER}, which a payload does not. Cast it to text."
        )
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns" and bool((values.dt.nanosecond() % 1000 != 0).any()):
        raise InputError(f"`{name}` holds parts of microseconds, which payloads do not. Cast it to `Datetime('us')`.")
    if isinstance(dtype, pl.List | pl.Array | pl.Struct):
        for value in values:
            _finite(value.to_list() if isinstance(value, pl.Series) else value, name)


def _finite(value: Any, name: str) -> None:
    if isinstance(value, dict):
        for one in value.values():
            _finite(one, name)
    elif isinstance(value, list):
        for one in value:
            _finite(one, name)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"`{name}` holds NaN or an infinite number, which JSON has not. Make it null, or drop it.")
    elif isinstance(value, int) and not isinstance(value, bool) and value > _LARGEST_INTEGER:
        raise InputError(
            f"`{name}` holds integers beyond {_LARGEST_INTEGER}, which a payload does not. Cast it to text."
        )
