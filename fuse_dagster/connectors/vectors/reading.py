"""Points as rows: their ids, payloads and vectors, each with the type that it was written with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fuse_dagster.connectors.vectors import collections as there
from fuse_dagster.connectors.vectors.declaring import POINT_ID, Sparse, Vector, column_of
from fuse_dagster.core.errors import ConfigError, SchemaError
from fuse_dagster.core.naming import did_you_mean, listing

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

    from fuse_dagster.connectors.vectors.opening import Session

_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is read of a collection.

    Attributes:
        name: The collection.
        where: Which points; None for all.
        schema: The columns, in order.
        vectors: Those of its vectors that are read.
        known: Fields of payloads whose types are known; one beyond them would be lost.
        page: Points that are asked for at once.
    """

    name: str
    where: models.Filter | None
    schema: pa.Schema
    vectors: Mapping[str, Vector | Sparse]
    known: frozenset[str] | None
    page: int


def asked_of(
    session: Session, name: str, *, columns: Sequence[str] | None, limit: int | None, where: models.Filter | None
) -> Asked:
    """Say what is to be read: where the types of payloads were not noted, they are told from the points.

    Raises:
        NotThereError: There is no such collection.
        ConfigError: There is no such column.
        SchemaError: A field holds values of several types.
    """
    collection, info = there.found(session, name)
    vectors = {column_of(each): vector for each, vector in collection.vectors.items()}
    noted = there.columns_noted(info)
    beyond = noted is not None and columns is not None and bool(set(columns) - {POINT_ID, *vectors, *noted.names})
    fields = (
        noted
        if noted is not None and not beyond
        else _told(session, name, columns=columns, where=where, limit=limit, noted=noted)
    )
    clash = [one for one in fields.names if one == POINT_ID or (noted is None and one in vectors)]
    if clash and (columns is None or clash[0] in columns):
        raise SchemaError(
            f"A field of payloads is called `{clash[0]}`, as another column is. Read others by `columns=`."
        )
    types = {POINT_ID: pa.string(), **{one.name: one.type for one in fields}}
    types |= {each: _type(vector) for each, vector in vectors.items()}
    wanted = list(types) if columns is None else list(columns)
    if unknown := [one for one in wanted if one not in types]:
        raise ConfigError(f"`{name}` has no column `{unknown[0]}`. {did_you_mean(unknown[0], types)}")
    read = {each: one for each, one in collection.vectors.items() if column_of(each) in wanted}
    width = sum(one.size for one in read.values() if isinstance(one, Vector))
    return Asked(
        name=name,
        where=where,
        schema=pa.schema([(one, types[one]) for one in wanted]),
        vectors=read,
        known=None if columns is not None or noted is None else frozenset(fields.names),
        page=max(16, min(_PAGE, 400_000 // max(1, width))),
    )


def batches(session: Session, asked: Asked, limit: int | None) -> Iterator[pa.RecordBatch]:
    """Read the points page by page, in the order of their ids."""
    offset, left = None, limit
    while left is None or left > 0:
        size, at = asked.page if left is None else min(asked.page, left), offset
        records, offset = _page(session, asked, size, at)
        if records:
            yield to_batch(records, asked)
        if offset is None:
            return
        left = None if left is None else left - len(records)


def _page(session: Session, asked: Asked, size: int, at: Any) -> tuple[list[models.Record], Any]:
    named = [each for each in asked.vectors if each]
    payload = any(one not in {POINT_ID, *map(column_of, asked.vectors)} for one in asked.schema.names)

    def page(client: QdrantClient) -> Any:
        return client.scroll(
            asked.name,
            scroll_filter=asked.where,
            limit=size,
            offset=at,
            with_payload=payload or asked.known is not None,
            with_vectors=named or bool(asked.vectors),
        )

    return session.ask(page, of=asked.name)  # type: ignore[no-any-return]


def to_batch(records: Sequence[Any], asked: Asked, **more: pa.Array) -> pa.RecordBatch:
    """Points as rows x columns.

    Args:
        records: With ids, payloads and vectors, as Qdrant gives them.
        asked: Which columns.
        **more: Columns of the schema that no point holds.

    Raises:
        SchemaError: A point holds what its column can't, or a field that was not noted.
    """
    if asked.known is not None:
        _refuse_unknown(records, asked)
    by_column = {column_of(each): (each, vector) for each, vector in asked.vectors.items()}
    arrays = []
    for field in asked.schema:
        if field.name in more:
            arrays.append(more[field.name])
        elif field.name == POINT_ID:
            arrays.append(pa.array([str(record.id) for record in records], field.type))
        elif field.name in by_column:
            arrays.append(_vectors(records, *by_column[field.name]))
        else:
            arrays.append(_values([(record.payload or {}).get(field.name) for record in records], field, asked.name))
    return pa.record_batch(arrays, schema=asked.schema)


def _refuse_unknown(records: Sequence[Any], asked: Asked) -> None:
    for record in records:
        if others := [one for one in record.payload or {} if one not in (asked.known or ())]:
            raise SchemaError(
                f"The point `{record.id}` of `{asked.name}` has the field {listing(others)}, which another program "
                "wrote: the types that were noted don't know it. Name the columns that you want by `columns=`; for a "
                "name beyond the note, types are told from the points."
            )


def _values(values: list[Any], field: pa.Field, name: str) -> pa.Array:
    """Values of JSON as a column; times are text there."""
    try:
        if pa.types.is_temporal(field.type):
            return _moments(values, field.type)
        return pa.array(values, field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise SchemaError(
            f"Some points of `{name}` hold in `{field.name}` what is no {field.type}: {str(error)[:120]}. Another "
            "program wrote them. Read other columns by `columns=`, or repair these points."
        ) from error


def _moments(values: list[Any], dtype: pa.DataType) -> pa.Array:
    """Dates and times of text. A zone is a matter of the type: the text is in UTC."""
    if pa.types.is_date(dtype):
        return pa.array(values, pa.string()).cast(dtype)
    bare = [None if value is None else str(value).removesuffix("Z") for value in values]
    told = pa.array(bare, pa.string()).cast(pa.timestamp("us"))
    return told.cast(pa.timestamp("us", "UTC")).cast(dtype) if dtype.tz else told.cast(dtype)


def _vectors(records: Sequence[Any], name: str, vector: Vector | Sparse) -> pa.Array:
    found = [_of(record.vector, name) for record in records]
    if isinstance(vector, Sparse):
        values = [None if one is None else {"indices": list(one.indices), "values": list(one.values)} for one in found]
        return pa.array(values, _type(vector))
    if vector.multi or any(one is None for one in found):
        return pa.array([None if one is None else np.asarray(one, np.float32).tolist() for one in found], _type(vector))
    flat = np.asarray(found, dtype=np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), type=_type(vector))


def _of(vector: Any, name: str) -> Any:
    if isinstance(vector, Mapping):
        return vector.get(name)
    return vector if not name else None


def _type(vector: Vector | Sparse) -> pa.DataType:
    if isinstance(vector, Sparse):
        return pa.struct([("indices", pa.large_list(pa.uint32())), ("values", pa.large_list(pa.float32()))])
    one = pa.list_(pa.float32(), vector.size)
    return pa.large_list(one) if vector.multi else one


def _told(
    session: Session,
    name: str,
    *,
    columns: Sequence[str] | None,
    where: models.Filter | None,
    limit: int | None,
    noted: pa.Schema | None,
) -> pa.Schema:
    """The types of payloads, told from all points that will be read."""
    found: dict[str, pa.DataType] = {}
    asked = Asked(name=name, where=where, schema=pa.schema([("*", pa.null())]), vectors={}, known=None, page=_PAGE)
    offset, left = None, limit
    while left is None or left > 0:
        records, offset = _page(session, asked, asked.page if left is None else min(asked.page, left), offset)
        _tell([record.payload or {} for record in records], found, name, columns)
        left = None if left is None else left - len(records)
        if offset is None:
            break
    types = found | ({} if noted is None else {one.name: one.type for one in noted})
    return pa.schema(list(types.items()))


def _tell(
    payloads: Sequence[Mapping[str, Any]], found: dict[str, pa.DataType], name: str, columns: Sequence[str] | None
) -> None:
    """Widen the types by those of more payloads."""
    for field in dict.fromkeys(one for payload in payloads for one in payload):
        if columns is not None and field not in columns:
            found.setdefault(field, pa.null())  # it is there, and of a type that nobody asks for
            continue
        values = [payload.get(field) for payload in payloads]
        try:
            dtype = pa.array(values).type
            both = [pa.schema([(field, found.get(field, pa.null()))]), pa.schema([(field, dtype)])]
            found[field] = pa.unify_schemas(both, promote_options="permissive").field(0).type
        except (pa.ArrowException, OverflowError, TypeError) as error:
            kinds = sorted({type(value).__name__ for value in values if value is not None})
            raise SchemaError(
                f"The field `{field}` of `{name}` holds values of several types ({', '.join(kinds)}), which one column "
                "can't. Read other columns by `columns=`."
            ) from error


def types_of(
    session: Session, name: str, payloads: Sequence[Mapping[str, Any]], columns: Sequence[str] | None
) -> pa.Schema:
    """The types of payloads: as noted, else told from these.

    Raises:
        SchemaError: A field holds values of several types.
    """
    _, info = there.found(session, name)
    noted = there.columns_noted(info)
    if noted is not None:
        return noted
    found: dict[str, pa.DataType] = {}
    _tell(payloads, found, name, columns)
    return pa.schema(list(found.items()))
