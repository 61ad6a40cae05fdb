"""Collections: made as declared, described, changed as far as Qdrant allows, and refused with the reason beyond."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fuse_dagster.connectors.vectors.declaring import Collection, IndexKind, Sparse, Vector, checked_name
from fuse_dagster.core.errors import ConfigError, ConflictError
from fuse_dagster.core.naming import listing

if TYPE_CHECKING:
    from qdrant_client import QdrantClient, models

    from fuse_dagster.connectors.vectors.opening import Session

NOTE = "fuse_dagster"
"""Key in a collection's metadata under which the types of its columns are kept."""
_SCHEMA = "arrow_schema"

_DISTANCES = {"cosine": "Cosine", "dot": "Dot", "euclid": "Euclid", "manhattan": "Manhattan"}
_BACK = {theirs: ours for ours, theirs in _DISTANCES.items()}


def create(session: Session, name: str, declared: Collection, *, columns: pa.Schema | None = None) -> None:
    """Make a collection; nothing happens where there is one that holds the same vectors.

    Args:
        session: Where.
        name: What it is to be called.
        declared: What it holds.
        columns: Types of its columns, to be noted with it.

    Raises:
        ConfigError: There is one of that name with other vectors.
    """
    checked_name(name)
    if not declared.vectors:
        raise ConfigError("A collection needs a vector. Give `vectors`, as `{'embedding': Vector(size=384)}`.")
    dense = {each: _dense(vector) for each, vector in declared.vectors.items() if isinstance(vector, Vector)}
    sparse = {each: _sparse(vector) for each, vector in declared.vectors.items() if isinstance(vector, Sparse)}
    try:
        session.ask(
            lambda client: client.create_collection(
                name,
                vectors_config=dense.get("", dense),
                sparse_vectors_config=sparse or None,
                quantization_config=_quantization(declared.quantization),
                on_disk_payload=declared.on_disk_payload,
                metadata=None if columns is None else noted(columns),
            ),
            of=name,
        )
    except ConflictError:
        refuse_other(name, declared, found(session, name)[0])
        return
    if not session.local:  # where indexes do nothing
        for field, kind in declared.indexes.items():
            session.ask(_indexing(name, field, kind), of=name)


def _indexing(name: str, field: str, kind: IndexKind) -> Callable[[QdrantClient], object]:
    from qdrant_client import models

    schema = models.PayloadSchemaType(kind)
    return lambda client: client.create_payload_index(name, path(field), schema)


def found(session: Session, name: str) -> tuple[Collection, models.CollectionInfo]:
    """What a collection holds, and what it says of itself.

    Raises:
        NotThereError: There is none of that name.
    """
    info = session.ask(lambda client: client.get_collection(name), of=name)
    params = info.config.params
    given: Any = params.vectors or {}
    dense = given if isinstance(given, Mapping) else {"": given}
    vectors: dict[str, Vector | Sparse] = {each: _vector(one) for each, one in dense.items()}
    for each, one in (params.sparse_vectors or {}).items():
        index, modifier = getattr(one, "index", None), getattr(one, "modifier", None)
        vectors[each] = Sparse(
            idf=modifier is not None and modifier.value == "idf", on_disk=bool(index and index.on_disk)
        )
    kept = info.config.quantization_config
    how = next((each for each in ("scalar", "product", "binary") if getattr(kept, each, None) is not None), "none")
    indexes = {each: one.data_type.value for each, one in (info.payload_schema or {}).items()}
    collection = Collection(
        vectors=vectors,
        indexes=indexes,  # type: ignore[arg-type]  # as the server says them
        quantization=how,  # type: ignore[arg-type]  # one of ours
        on_disk_payload=bool(params.on_disk_payload),
    )
    return collection, info


def refuse_other(name: str, wanted: Collection, there: Collection) -> None:
    """Refuse a collection whose vectors are others than those wanted.

    Raises:
        ConfigError: They differ; the message says in what.
    """
    differing = [_difference(each, vector, there.vectors.get(each)) for each, vector in wanted.vectors.items()]
    differing += [f"`{each}` is there and not wanted" for each in there.vectors if each not in wanted.vectors]
    if said := [one for one in differing if one]:
        raise ConfigError(
            f"The collection `{name}` holds other vectors: {'; '.join(said)}. Qdrant can't change the size or the "
            'distance of vectors that are there: write with `mode="overwrite"`, which fills a new collection and '
            "puts it in place of the old one, or take another name."
        )


def _difference(name: str, wanted: Vector | Sparse, there: Vector | Sparse | None) -> str:
    if there is None:
        return f"`{name}` is not there"
    if isinstance(wanted, Sparse) or isinstance(there, Sparse):
        return "" if type(wanted) is type(there) else f"`{name}` is {_kind(there)} there, and {_kind(wanted)} is wanted"
    same = (wanted.size, wanted.distance, wanted.multi) == (there.size, there.distance, there.multi)
    return "" if same else f"`{name}` is {_kind(there)} there, and {_kind(wanted)} is wanted"


def _kind(vector: Vector | Sparse) -> str:
    if isinstance(vector, Sparse):
        return "sparse"
    return f"{vector.size} numbers by {vector.distance}{', several a point' if vector.multi else ''}"


def alter(session: Session, name: str, wanted: Collection) -> list[str]:
    """Bring a collection to what is declared, as far as Qdrant changes what is there.

    Indexes are made and removed, new vectors are added, quantization and what lies on the disk are changed.

    Returns:
        What was changed, in words.

    Raises:
        ConfigError: Another size or distance is wanted, or a vector is there that is not wanted. Nothing was changed.
        ConfigError: In a folder or in memory, where neither indexes nor quantization are.
    """
    from qdrant_client import models

    there, _ = found(session, name)
    both = {each: vector for each, vector in wanted.vectors.items() if each in there.vectors}
    _refuse_removed(name, wanted, there)
    if both:
        refuse_other(name, _only(wanted, both), _only(there, {each: there.vectors[each] for each in both}))
    steps: list[tuple[str, Any]] = []
    for each, vector in wanted.vectors.items():
        if each not in there.vectors:
            config = (
                models.SparseVectorNameConfig(sparse=_sparse(vector).model_dump(exclude_none=True))
                if isinstance(vector, Sparse)
                else models.DenseVectorNameConfig(dense=_dense(vector).model_dump(exclude_none=True))
            )
            steps.append(
                (f"added the vector `{each}`", lambda client, e=each, c=config: client.create_vector_name(name, e, c))
            )
    steps += [] if session.local else _of_server(name, wanted, there)
    if session.local and (wanted.quantization != "none" or wanted.indexes):
        raise ConfigError(
            f"`{session.place}` has neither quantization nor indexes of payloads: both are a server's. Leave them out "
            "here, or give `url`."
        )
    for _, step in steps:
        session.ask(step, of=name)
    return [said for said, _ in steps]


def _of_server(name: str, wanted: Collection, there: Collection) -> list[tuple[str, Any]]:
    """What only a server changes, each with what does it."""
    from qdrant_client import models

    steps: list[tuple[str, Any]] = []
    if wanted.quantization != there.quantization:
        how = models.Disabled.DISABLED if wanted.quantization == "none" else _quantization(wanted.quantization)
        steps.append(
            (
                f"quantization is `{wanted.quantization}`",
                lambda client: client.update_collection(name, quantization_config=how),
            )
        )
    disk = {
        each: models.VectorParamsDiff(on_disk=vector.on_disk)
        for each, vector in wanted.vectors.items()
        if isinstance(vector, Vector)
        and isinstance(old := there.vectors.get(each), Vector)
        and old.on_disk != vector.on_disk
    }
    if disk:
        steps.append((f"moved {listing(disk)}", lambda client: client.update_collection(name, vectors_config=disk)))
    if wanted.on_disk_payload != there.on_disk_payload:
        diff = models.CollectionParamsDiff(on_disk_payload=wanted.on_disk_payload)
        steps.append(("moved the payloads", lambda client: client.update_collection(name, collection_params=diff)))
    for each, kind in wanted.indexes.items():
        if there.indexes.get(path(each)) != kind:
            steps.append((f"indexed `{each}` as {kind}", _indexing(name, each, kind)))
    kept = {path(each) for each in wanted.indexes}
    steps += [
        (f"removed the index of `{each}`", lambda client, e=each: client.delete_payload_index(name, e))
        for each in there.indexes
        if each not in kept
    ]
    return steps


def _refuse_removed(name: str, wanted: Collection, there: Collection) -> None:
    gone = [each for each in there.vectors if each not in wanted.vectors]
    if gone:
        raise ConfigError(
            f"The collection `{name}` holds {listing(gone)}, which is not declared. A change removes no vectors: "
            'declare them, or write with `mode="overwrite"`.'
        )


def _only(collection: Collection, vectors: Mapping[str, Vector | Sparse]) -> Collection:
    return Collection(vectors=vectors, quantization=collection.quantization, on_disk_payload=collection.on_disk_payload)


def path(field: str) -> str:
    """A field of the payload as Qdrant's JSON paths write it, whatever signs it holds.

    Raises:
        ConfigError: It holds a `"`, which such a path can't.

    Examples:
        >>> path("country"), path("a.b")
        ('country', '"a.b"')
    """
    if field and all(sign.isascii() and (sign.isalnum() or sign in "_-") for sign in field):
        return field
    if '"' in field or not field:
        raise ConfigError(f"`{field}` can't be a field of a payload: it is empty, or holds a `\"`. Rename the column.")
    return f'"{field}"'


def noted(columns: pa.Schema) -> dict[str, Any]:
    """Metadata of a collection that keeps the types of its columns."""
    packed = base64.b64encode(columns.remove_metadata().serialize().to_pybytes()).decode()
    said = {field.name: str(field.type) for field in columns}
    return {NOTE: {"columns": said, _SCHEMA: packed}}


def columns_noted(info: models.CollectionInfo) -> pa.Schema | None:
    """The types of a collection's columns, as they were noted; None where nobody did."""
    note = (info.config.metadata or {}).get(NOTE)
    packed = note.get(_SCHEMA) if isinstance(note, Mapping) else None
    if not isinstance(packed, str):
        return None
    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(packed)))
    except (ValueError, pa.ArrowException) as error:
        raise ConfigError(
            f"The note of columns in the collection's metadata (`{NOTE}`) can't be read. Remove it: the types are then "
            "told from the points."
        ) from error


def points_in(session: Session, name: str, where: models.Filter | None = None) -> int:
    """How many points a collection holds, counted exactly."""
    return session.ask(lambda client: client.count(name, count_filter=where, exact=True), of=name).count


def aliases(session: Session) -> dict[str, str]:
    """Alias -> the collection that it stands for."""
    return {one.alias_name: one.collection_name for one in session.ask(lambda client: client.get_aliases()).aliases}


def collections(session: Session) -> Sequence[str]:
    """The names of all collections."""
    return [one.name for one in session.ask(lambda client: client.get_collections()).collections]


def _dense(vector: Vector) -> models.VectorParams:
    from qdrant_client import models

    comparator = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    return models.VectorParams(
        size=vector.size,
        distance=models.Distance(_DISTANCES[vector.distance]),
        on_disk=vector.on_disk or None,
        multivector_config=comparator if vector.multi else None,
    )


def _sparse(vector: Vector | Sparse) -> models.SparseVectorParams:
    from qdrant_client import models

    assert isinstance(vector, Sparse)
    return models.SparseVectorParams(
        index=models.SparseIndexParams(on_disk=True) if vector.on_disk else None,
        modifier=models.Modifier.IDF if vector.idf else None,
    )


def _vector(params: Any) -> Vector:
    return Vector(
        size=params.size,
        distance=_BACK[params.distance.value],  # type: ignore[arg-type]  # one of ours
        multi=params.multivector_config is not None,
        on_disk=bool(params.on_disk),
    )


def _quantization(how: str) -> Any:
    from qdrant_client import models

    if how == "scalar":
        return models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8))
    if how == "binary":
        return models.BinaryQuantization(binary=models.BinaryQuantizationConfig())
    if how == "product":
        ratio = models.CompressionRatio.X16
        return models.ProductQuantization(product=models.ProductQuantizationConfig(compression=ratio))
    return None
