"""Points on their way: rows as points, batch by batch, and what landed where a batch fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from fuse_dagster.connectors.vectors.checking import Slices, dense
from fuse_dagster.connectors.vectors.declaring import Collection, Sparse, Vector, column_of
from fuse_dagster.connectors.vectors.failures import kind_of
from fuse_dagster.connectors.vectors.points import Shape, ids_of, payloads_of
from fuse_dagster.core.errors import FuseError, StoreUnavailableError

if TYPE_CHECKING:
    import pyarrow as pa
    from qdrant_client import QdrantClient, models

    from fuse_dagster.connectors.vectors.opening import Session

_BYTES = 8_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One write, after all of its rows were looked at.

    Attributes:
        name: The collection, as it was asked for.
        declared: What it is to hold.
        shape: Which columns become what.
        columns: Their types, as they are kept.
        slices: Goes through the rows.
        ids: Of all points.
    """

    name: str
    declared: Collection
    shape: Shape
    columns: pa.Schema
    slices: Slices
    ids: frozenset[int | str]


@dataclass(slots=True)
class Sent:
    """What has been sent so far."""

    points: int = 0
    kept: int = 0
    batches: int = 0


def send(session: Session, job: Job, target: str, *, append: bool) -> Sent:
    """Send all points, batch by batch.

    Raises:
        FuseError: A batch failed; the message says what landed.
    """
    sent = Sent()
    for frame in job.slices(_rows_at_once(job)):
        try:
            points = list(_points(frame, job.shape))
            if append:
                known = _known(session, target, [point.id for point in points])
                sent.kept += sum(point.id in known for point in points)
                points = [point for point in points if point.id not in known]
            _upsert(session, target, points, sent)
        except FuseError as error:
            said = (
                f"{error}\nOf {len(job.ids):,} points, {sent.points:,} landed in `{target}`, and up to "
                f"{frame.height:,} of the batch that failed. The same write again completes it and changes nothing in "
                "those."
            )
            raise type(error)(said) from error
    return sent


def _rows_at_once(job: Job) -> int:
    """Rows of a batch: fewer where payloads are large."""
    first = next(iter(job.slices(1000)), None)
    rows = job.shape.batch()
    if first is None or not job.shape.payload:
        return rows
    each = first.select(job.shape.payload).estimated_size() / first.height
    return max(1, min(rows, int(_BYTES / max(each, 1))))


def _upsert(session: Session, target: str, points: list[models.PointStruct], sent: Sent) -> None:
    """Send points, in halves where they are too many for one request; done when they are kept and can be found."""
    if not points:
        return

    def upsert(client: QdrantClient) -> models.UpdateResult | None:
        try:
            return client.upsert(target, points=points, wait=True)
        except Exception as error:
            if kind_of(error, local=session.local) == "large" and len(points) > 1:
                return None
            raise

    result = session.ask(upsert, of=target)
    if result is None:
        _upsert(session, target, points[: len(points) // 2], sent)
        _upsert(session, target, points[len(points) // 2 :], sent)
        return
    if result.status.value != "completed":
        raise StoreUnavailableError(
            f"`{target}` at `{session.place}` took a batch and did not apply it in time (`{result.status.value}`)."
        )
    sent.points += len(points)
    sent.batches += 1


def _points(frame: pl.DataFrame, shape: Shape) -> Iterator[models.PointStruct]:
    from qdrant_client import models

    columns = {name: _numbers(frame[column_of(name)], vector) for name, vector in shape.vectors.items()}
    payloads = payloads_of(frame, shape) if shape.payload else iter([{}] * frame.height)
    for at, (each, payload) in enumerate(zip(ids_of(frame, shape.keys), payloads, strict=True)):
        vector: Any = columns[""][at] if "" in columns else {name: values[at] for name, values in columns.items()}
        yield models.PointStruct.model_construct(id=each, vector=vector, payload=payload)


def _numbers(values: pl.Series, vector: Vector | Sparse) -> list[Any]:
    """Vectors as the client takes them."""
    from qdrant_client import models

    if isinstance(vector, Sparse):
        return [models.SparseVector(indices=one["indices"], values=one["values"]) for one in values.to_list()]
    if not vector.multi:
        return list(dense(values, values.name, vector.size).tolist())
    flat, found, at = dense(values.explode(), values.name, vector.size).tolist(), [], 0
    for count in values.list.len().to_list():
        found.append(flat[at : at + count])
        at += count
    return found


def _known(session: Session, target: str, ids: Sequence[Any]) -> set[Any]:
    """Which of these points are there."""
    asked = list(ids)
    records = session.ask(
        lambda client: client.retrieve(target, asked, with_payload=False, with_vectors=False), of=target
    )
    return {record.id for record in records}
