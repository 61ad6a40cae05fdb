"""From pages to Arrow: batches of one schema, which is declared, or inferred from all pages or the first."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from fuse_dagster.connectors.http.conversions import array_of, declared, declared_array
from fuse_dagster.connectors.http.endpoints import Endpoint
from fuse_dagster.connectors.http.inferring import Seen, columns_of, type_of
from fuse_dagster.connectors.http.pages import Page, body_of, records_of
from fuse_dagster.core.errors import ConfigError, FuseError, SchemaError
from fuse_dagster.core.naming import did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

_IN_MEMORY = 16 * 2**20
"""Bytes of answers that are kept in memory until all types are known; what is more goes to a file."""

Records = list[dict[str, Any]]


@contextmanager
def reader_of(
    pages: Iterator[Page], endpoint: Endpoint, *, columns: Sequence[str] | None, limit: int | None
) -> Iterator[pa.RecordBatchReader]:
    """The rows of pages, in batches; leaving the context ends the reading.

    Args:
        pages: The pages.
        endpoint: Says what the rows are.
        columns: The columns to read, in this order; None for all.
        limit: Rows at the most; None for all.

    Raises:
        FuseError: Whatever ended the pages early; also where who read the batches made another error of it.
    """
    import pyarrow as pa

    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        schema, batches = _typed(pages, endpoint, columns, file)
        failed: list[BaseException] = []
        reader = pa.RecordBatchReader.from_batches(schema, _watched(_cut(batches, limit), failed))
        try:
            yield reader
        except FuseError:
            raise
        except Exception as error:
            if failed:
                raise failed[0] from error
            raise
        else:
            if failed:  # who read the batches took the error for their end
                raise failed[0]
        finally:
            close = getattr(pages, "close", None)
            if close is not None:
                close()


def _watched(batches: Iterator[pa.RecordBatch], failed: list[BaseException]) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except Exception as error:
        failed.append(error)
        raise


def _cut(batches: Iterator[pa.RecordBatch], limit: int | None) -> Iterator[pa.RecordBatch]:
    left = limit
    for batch in batches:
        if left is None:
            yield batch
            continue
        if left <= 0:
            return
        yield batch.slice(0, left)
        left -= batch.num_rows


def _typed(
    pages: Iterator[Page], endpoint: Endpoint, columns: Sequence[str] | None, file: IO[bytes]
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    if endpoint.columns:
        return _as_declared(pages, endpoint, columns)
    if endpoint.types == "first":
        return _as_the_first(pages, endpoint, columns)
    return _as_all(pages, endpoint, columns, file)


def _as_declared(
    pages: Iterator[Page], endpoint: Endpoint, columns: Sequence[str] | None
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    import pyarrow as pa

    kinds = {**dict.fromkeys(endpoint.keep, "string"), **endpoint.columns}
    chosen = _chosen(kinds, columns)
    schema = pa.schema([(name, declared(kinds[name])[1]) for name in chosen])

    def batches() -> Iterator[pa.RecordBatch]:
        never = set(chosen)
        others: set[str] = set()
        rows = 0
        for page in pages:
            rows += len(page.records)
            for record in page.records if never else ():
                never -= record.keys()
                others |= record.keys()
            arrays = [
                declared_array(name, kinds[name], [record.get(name) for record in page.records], page.where)
                for name in chosen
            ]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        if rows and never:
            name = min(never)
            msg = f"No record of {rows:,} has a field `{name}`, which `columns` names. {did_you_mean(name, others)}"
            raise SchemaError(msg)

    return schema, batches()


def _as_the_first(
    pages: Iterator[Page], endpoint: Endpoint, columns: Sequence[str] | None
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    seen: dict[str, Seen] = {}
    first = next(pages, None)
    columns_of([] if first is None else first.records, seen)
    schema = _schema(seen, endpoint, columns)

    def batches() -> Iterator[pa.RecordBatch]:
        if first is None:
            return
        yield _batch(first.records, schema, seen)
        for page in pages:
            columns_of(page.records, seen)
            now = _schema(seen, endpoint, columns)
            if now != schema:
                raise _contradicts(page, schema, now)
            yield _batch(page.records, schema, seen)

    return schema, batches()


def _as_all(
    pages: Iterator[Page], endpoint: Endpoint, columns: Sequence[str] | None, file: IO[bytes]
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Read all pages, keep their bytes, and make batches of them when the types are known."""
    seen: dict[str, Seen] = {}
    kept: list[Callable[[], Records]] = []
    size = 0
    for page in pages:
        columns_of(page.records, seen)
        if size + len(page.raw) <= _IN_MEMORY:
            size += len(page.raw)
            kept.append(_given(page.records))
        else:
            at = file.tell()
            file.write(page.raw)
            kept.append(_read_again(file, at, len(page.raw), endpoint, page.kept))
    schema = _schema(seen, endpoint, columns)
    return schema, (_batch(records(), schema, seen) for records in kept)


def _given(records: Records) -> Callable[[], Records]:
    return lambda: records


def _read_again(
    file: IO[bytes], at: int, size: int, endpoint: Endpoint, kept: Mapping[str, str]
) -> Callable[[], Records]:
    def read() -> Records:
        file.seek(at)
        records = records_of(body_of(file.read(size), endpoint.path), endpoint.records, endpoint.path)
        return [{**kept, **record} for record in records] if kept else records

    return read


def _schema(seen: Mapping[str, Seen], endpoint: Endpoint, columns: Sequence[str] | None) -> pa.Schema:
    import pyarrow as pa

    nested, mixed = endpoint.nested, endpoint.mixed
    # An empty answer has no columns by which a name could be wrong.
    chosen = _chosen(seen, columns) if seen else []
    return pa.schema([(name, type_of(seen[name], name, nested=nested, mixed=mixed)) for name in chosen])


def _chosen(there: Iterable[str], columns: Sequence[str] | None) -> list[str]:
    names = list(there)
    for name in columns or ():
        if name not in names:
            raise ConfigError(f"There is no column `{name}`. {did_you_mean(name, names)}")
    return names if columns is None else list(columns)


def _batch(records: Records, schema: pa.Schema, seen: Mapping[str, Seen]) -> pa.RecordBatch:
    import pyarrow as pa

    try:
        arrays = [array_of([each.get(one.name) for each in records], one.type, seen[one.name]) for one in schema]
    except UnicodeEncodeError:
        msg = "A record holds half a sign of Unicode (a lone surrogate), which is no text. Ask who runs the API."
        raise SchemaError(msg) from None
    if not arrays:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * len(records), pa.struct([])))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _contradicts(page: Page, first: pa.Schema, now: pa.Schema) -> SchemaError:
    name = next(one.name for one in now if one not in list(first))
    was = first.field(name).type if name in first.names else "not there"
    return SchemaError(
        f"P{page.where[1:]} contradicts the first page: `{name}` was `{was}`, and is `{now.field(name).type}`. "
        "Let `types` be `whole`, or declare `columns`."
    )
