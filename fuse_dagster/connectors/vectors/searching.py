"""The points that lie nearest to vectors, as rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from fuse_dagster.connectors.vectors import collections as there
from fuse_dagster.connectors.vectors.checking import dense
from fuse_dagster.connectors.vectors.declaring import POINT_ID, Sparse, Vector, column_of
from fuse_dagster.connectors.vectors.reading import Asked, to_batch, types_of
from fuse_dagster.core.errors import ConfigError, InputError, SchemaError
from fuse_dagster.core.naming import did_you_mean, listing

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

    from fuse_dagster.connectors.vectors.opening import Session

QUERY, SCORE = "query", "score"
"""Columns of an answer: which of the queries a row answers, from 0, and how near it is."""
_AT_ONCE = 64


def search(
    session: Session,
    name: str,
    queries: Any,
    *,
    using: str | None,
    limit: int,
    where: models.Filter | None,
    columns: Sequence[str] | None,
    score_threshold: float | None,
) -> pa.Table:
    """Find the nearest points of each query; see `Qdrant.search`."""
    from qdrant_client import models

    if isinstance(limit, bool) or limit < 1:
        raise ConfigError(f"`limit` can't be `{limit}`. Valid: 1 and more.")
    collection, _ = there.found(session, name)
    vector_name = _using(name, collection.vectors, using)
    asked = [
        models.QueryRequest(
            query=query,
            using=vector_name or None,
            filter=where,
            limit=limit,
            with_payload=True,
            score_threshold=score_threshold,
        )
        for query in _queries(queries, column_of(vector_name), collection.vectors[vector_name])
    ]
    found: list[tuple[int, models.ScoredPoint]] = []
    for start in range(0, len(asked), _AT_ONCE):
        part = asked[start : start + _AT_ONCE]
        answers = session.ask(_asking(name, part), of=name)
        if len(answers) != len(part):
            raise InputError(f"`{session.place}` answered {len(answers)} of {len(part)} queries. Ask again.")
        found += [(start + at, point) for at, answer in enumerate(answers) for point in answer.points]
    return _table(session, name, found, columns)


def _asking(name: str, queries: list[models.QueryRequest]) -> Callable[[QdrantClient], list[models.QueryResponse]]:
    return lambda client: client.query_batch_points(name, queries)


def _table(
    session: Session, name: str, found: list[tuple[int, models.ScoredPoint]], columns: Sequence[str] | None
) -> pa.Table:
    payloads = [point.payload or {} for _, point in found]
    noted = types_of(session, name, payloads, columns)
    reserved = {QUERY, POINT_ID, SCORE}
    fields = {one.name: one.type for one in noted if one.name in _fields(payloads, noted)}
    if clash := [one for one in fields if one in reserved and (columns is None or one in columns)]:
        raise SchemaError(f"A field of payloads is called `{clash[0]}`, as a column of answers is. Give `columns`.")
    if unknown := [one for one in columns or () if one not in fields]:
        raise ConfigError(f"No answer has a field `{unknown[0]}`. {did_you_mean(unknown[0], fields)}")
    chosen = list(fields) if columns is None else list(columns)
    schema = pa.schema(
        [(QUERY, pa.int64()), (POINT_ID, pa.string()), (SCORE, pa.float64()), *((one, fields[one]) for one in chosen)]
    )
    known = None if columns is not None else frozenset(fields)
    answer = Asked(name=name, where=None, schema=schema, vectors={}, known=known, page=0)
    batch = to_batch(
        [point for _, point in found],
        answer,
        **{
            QUERY: pa.array([at for at, _ in found], pa.int64()),
            SCORE: pa.array([point.score for _, point in found], pa.float64()),
        },
    )
    return pa.Table.from_batches([batch])


def _fields(payloads: Sequence[Mapping[str, Any]], noted: pa.Schema) -> set[str]:
    """The columns that are fields of payloads: not vectors, which are noted, too."""
    vectors = {
        one.name
        for one in noted
        if pa.types.is_fixed_size_list(one.type)
        or (pa.types.is_large_list(one.type) and pa.types.is_fixed_size_list(one.type.value_type))
        or _is_sparse(one.type)
    }
    return {one for payload in payloads for one in payload} | (set(noted.names) - vectors)


def _is_sparse(dtype: pa.DataType) -> bool:
    return pa.types.is_struct(dtype) and {one.name for one in dtype.fields} == {
        "indices",
        "values",
    }


def _using(name: str, vectors: Mapping[str, Vector | Sparse], using: str | None) -> str:
    if using is None:
        if len(vectors) != 1:
            raise ConfigError(f"`{name}` has the vectors {listing(vectors)}. Say by `using` which is compared.")
        return next(iter(vectors))
    if using not in vectors:
        raise ConfigError(f"`{name}` has no vector `{using}`. {did_you_mean(using, vectors)}")
    return using


def _queries(queries: Any, column: str, vector: Vector | Sparse) -> Iterator[Any]:
    """Vectors to search by: of a column of a frame, or as they are."""
    from qdrant_client import models

    if isinstance(queries, pl.DataFrame):
        if column not in queries.schema:
            raise SchemaError(f"The queries have no column `{column}`. {did_you_mean(column, queries.schema)}")
        queries = queries[column]
    if isinstance(vector, Sparse):
        for one in queries.to_list() if isinstance(queries, pl.Series) else queries:
            yield models.SparseVector(indices=list(one["indices"]), values=list(one["values"]))
        return
    rows = queries if isinstance(queries, pl.Series) else _series(queries, column)
    if vector.multi and isinstance(rows.dtype, pl.List) and isinstance(rows.dtype.inner, pl.Array | pl.List):
        for one in rows:
            yield dense(one, column, vector.size).tolist()
    else:
        found = dense(rows, column, vector.size).tolist()
        yield from ([one] for one in found) if vector.multi else found


def _series(queries: Any, column: str) -> pl.Series:
    try:
        return pl.Series(column, [[float(number) for number in one] for one in queries], dtype=pl.List(pl.Float64))
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise InputError(
            f"The queries for `{column}` are no vectors. Valid: lists of numbers, an array of rows x numbers, "
            "or a frame with that column."
        ) from error
