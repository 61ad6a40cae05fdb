"""Points into collections: new ones, changed ones, a partition, or a whole collection in place of another one.

Ids derive from keys, so a write that is repeated makes the same points: after a failure, the same write again completes
it. What is overwritten is filled beside the old one, counted, and then put in its place by an alias, atomically.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from fuse_dagster.connectors.vectors import collections as there
from fuse_dagster.connectors.vectors.checking import Slices, check, rows_of
from fuse_dagster.connectors.vectors.declaring import Collection, Mode, Sparse, Written, checked_name, column_of
from fuse_dagster.connectors.vectors.filters import text_of, to_filter
from fuse_dagster.connectors.vectors.points import Shape, shape_of, vectors_in
from fuse_dagster.connectors.vectors.sending import Job, Sent, send
from fuse_dagster.connectors.vectors.versions import drop_quietly, first_version, left_over, new_version, switch
from fuse_dagster.core.errors import ConfigError, NotThereError, PartitionError, SchemaError, StoreError
from fuse_dagster.core.naming import listing

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

    from fuse_dagster.connectors.vectors.opening import Session

_IDS = 1000


def write(
    session: Session,
    name: str,
    data: Any,
    *,
    keys: Sequence[str],
    mode: Mode,
    collection: Collection | None = None,
    replacing: Mapping[str, Any] | None = None,
) -> Written:
    """Write rows to a collection; see `Qdrant.write_points`."""
    began = time.monotonic()
    checked_name(name)
    if mode not in {"overwrite", "upsert", "append"}:
        raise ConfigError(f"`{mode}` is no mode. Valid: {listing(['overwrite', 'upsert', 'append'])}.")
    if replacing is not None and mode != "upsert":
        raise ConfigError('`replacing` goes with `mode="upsert"`: the points of a partition are replaced, no others.')
    with rows_of(data) as (schema, slices):
        old = _there(session, name)
        declared = _declared(schema, collection, old[0] if old and mode != "overwrite" else None, name)
        shape = shape_of(schema, keys, declared.vectors)
        columns = _columns(schema, shape)
        if mode != "overwrite" and old:
            columns = _merged(name, there.columns_noted(old[1]), columns)
        if replacing:
            _refuse_others(slices, replacing)
        job = Job(
            name=name,
            declared=declared,
            shape=shape,
            columns=columns,
            slices=slices,
            ids=frozenset(check(slices, shape)),
        )
        done = _overwritten(session, job) if mode == "overwrite" else _landed(session, job, mode, replacing, old)
    return replace(done, seconds=time.monotonic() - began)


def _declared(schema: pl.Schema, given: Collection | None, old: Collection | None, name: str) -> Collection:
    """What the collection is to hold: as declared, as it is, or as the types of the columns tell."""
    if old is not None:
        if given is not None:
            there.refuse_other(name, given, old)
        return old
    if given is not None:
        return given
    vectors = vectors_in(schema)
    if not vectors:
        raise SchemaError(
            f"There is no vector among the columns {listing(schema)}. A vector is a fixed-size list of floats "
            "(`pl.Array(pl.Float32, 384)`); declare other lists by `collection=Collection(vectors=...)`."
        )
    return Collection(vectors=vectors)


def _there(session: Session, name: str) -> tuple[Collection, models.CollectionInfo] | None:
    try:
        return there.found(session, name)
    except NotThereError:
        return None


def _columns(schema: pl.Schema, shape: Shape) -> pa.Schema:
    """The types of columns, as they are read back: vectors in 32 bits."""
    kept: dict[str, Any] = dict(schema)
    for name, vector in shape.vectors.items():
        if isinstance(vector, Sparse):
            kept[column_of(name)] = pl.Struct({"indices": pl.List(pl.UInt32), "values": pl.List(pl.Float32)})
        else:
            one = pl.Array(pl.Float32, vector.size)
            kept[column_of(name)] = pl.List(one) if vector.multi else one
    return pl.DataFrame(schema=kept).to_arrow(compat_level=pl.CompatLevel.oldest()).schema


def _merged(name: str, noted: pa.Schema | None, ours: pa.Schema) -> pa.Schema:
    """The columns that are there, and those that come with this write."""
    if noted is None:
        return ours
    for field in ours:
        at = noted.get_field_index(field.name)
        if at >= 0 and noted.field(at).type != field.type:
            raise SchemaError(
                f"`{field.name}` is {noted.field(at).type} in the collection `{name}`, and {field.type} here. Nothing "
                'was written. Cast it, or write with `mode="overwrite"`.'
            )
    return pa.schema([*noted, *(field for field in ours if noted.get_field_index(field.name) < 0)])


def _refuse_others(slices: Slices, replacing: Mapping[str, Any]) -> None:
    """Refuse rows that do not belong to the partition."""
    for frame in slices(10_000):
        for column, value in replacing.items():
            if column not in frame.schema:
                raise PartitionError(f"The column `{column}`, which decides the partition, is not there. Return it.")
            values = value if isinstance(value, list) else [value]
            other = frame.filter(~pl.col(column).is_in(pl.Series(values, strict=False).implode(), nulls_equal=True))[
                column
            ]
            if len(other):
                raise PartitionError(
                    f"{len(other):,} rows do not belong to the partition `{column}` = `{value}`: "
                    f"{listing(other.unique().head(3).to_list())}. Nothing was written. Filter the rows."
                )


def _overwritten(session: Session, job: Job) -> Written:
    """Fill a new collection, count it, and put it in place of the old one."""
    named = there.aliases(session)
    every = there.collections(session)
    if job.name in every and job.name not in named:
        raise ConfigError(
            f"`{job.name}` at `{session.place}` is a collection itself, and no alias can take its name while it is "
            "there. Nothing was written. Write to another name, or drop it before (`drop`)."
        )
    old = named.get(job.name)
    before = there.points_in(session, old) if old else 0
    new = new_version(job.name)
    there.create(session, new, job.declared, columns=job.columns)
    try:
        sent = send(session, job, new, append=False)
        _refuse_miscounted(session, job, new)
        switch(session, job.name, new)
    except BaseException:
        drop_quietly(session, new, unless_named=job.name)
        raise
    if old:
        drop_quietly(session, old, unless_named=job.name)
    for left in left_over(job.name, every, named):
        drop_quietly(session, left, unless_named=job.name)
    return _told(session, job, sent, added=len(job.ids) - before, removed=0)


def _landed(
    session: Session,
    job: Job,
    mode: Mode,
    replacing: Mapping[str, Any] | None,
    old: tuple[Collection, models.CollectionInfo] | None,
) -> Written:
    """Bring points to a collection that is there, or make it."""
    if old is None:
        _make(session, job)
    elif there.columns_noted(old[1]) != job.columns:
        note = there.noted(job.columns)
        session.ask(lambda client: client.update_collection(job.name, metadata=note), of=job.name)
    before = there.points_in(session, job.name)
    sent = send(session, job, job.name, append=mode == "append")
    between = there.points_in(session, job.name)
    removed = _remove_others(session, job, replacing) if replacing else 0
    return _told(session, job, sent, added=between - before, removed=removed)


def _make(session: Session, job: Job) -> None:
    """Make the first collection behind an alias; several at once make the same one."""
    first = first_version(job.name)
    there.create(session, first, job.declared, columns=job.columns)
    if job.name not in there.aliases(session):
        switch(session, job.name, first)


def _refuse_miscounted(session: Session, job: Job, target: str) -> None:
    counted = there.points_in(session, target)
    if counted != len(job.ids):
        raise StoreError(
            f"`{target}` at `{session.place}` holds {counted:,} points, and {len(job.ids):,} were sent. It was not put "
            f"in place of `{job.name}`, which is as it was. Run this again."
        )


def _remove_others(session: Session, job: Job, replacing: Mapping[str, Any]) -> int:
    """Remove the points of a partition that are no longer in its data."""
    where = to_filter(
        {
            column: [text_of(one) for one in value] if isinstance(value, list) else text_of(value)
            for column, value in replacing.items()
        }
    )
    gone = [each for each in _ids(session, job.name, where) if each not in job.ids]
    for start in range(0, len(gone), _IDS):
        part = gone[start : start + _IDS]
        session.ask(_deleting(job.name, part), of=job.name)
    return len(gone)


def _told(session: Session, job: Job, sent: Sent, *, added: int, removed: int) -> Written:
    _, info = there.found(session, job.name)
    return Written(
        collection=job.name,
        rows=len(job.ids),
        added=added,
        kept=sent.kept,
        removed=removed,
        points=there.points_in(session, job.name),
        batches=sent.batches,
        sizes={column_of(name): vector.size for name, vector in job.shape.dense.items()},
        status=info.status.value,
        seconds=0.0,
    )


def _deleting(name: str, ids: list[Any]) -> Callable[[QdrantClient], object]:
    return lambda client: client.delete(name, points_selector=ids, wait=True)


def _ids(session: Session, name: str, where: models.Filter | None) -> Iterator[Any]:
    offset = None
    while True:
        at = offset

        def page(client: QdrantClient, at: Any = at) -> Any:
            return client.scroll(name, where, limit=_IDS, offset=at, with_payload=False, with_vectors=False)

        records, offset = session.ask(page, of=name)
        yield from (record.id for record in records)
        if offset is None:
            return


def delete(session: Session, name: str, where: models.Filter) -> int:
    """Remove the points that a filter means, and count them.

    Raises:
        NotThereError: There is no such collection.
    """
    from qdrant_client import models

    found = there.points_in(session, name, where)
    selector = models.FilterSelector(filter=where)
    session.ask(lambda client: client.delete(name, points_selector=selector, wait=True), of=name)
    return found
