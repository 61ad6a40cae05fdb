"""How a collection of vectors is declared, and what is said of a write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean, listing

Distance = Literal["cosine", "dot", "euclid", "manhattan"]
Quantization = Literal["none", "scalar", "binary", "product"]
IndexKind = Literal["keyword", "integer", "float", "bool", "datetime", "uuid", "text", "geo"]
Mode = Literal["overwrite", "upsert", "append"]

UNNAMED = "vector"
"""Column of the vector of a collection whose vector has no name."""
POINT_ID = "point_id"
"""Column of the points' ids."""

_LARGEST = 65_536
_FORBIDDEN = '<>:"/\\|?*\0\x1f'
_LONGEST = 200  # of 255, for the ending of a version


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """A dense vector of each point.

    Attributes:
        size: Numbers in it.
        distance: What near means. With `cosine`, Qdrant scales every vector to the length 1 when it takes it, and that
            is what is read back.
        multi: Whether a point has several of them, as a model of late interaction makes; compared by the best match.
        on_disk: Whether they are kept on the disk rather than in memory.

    Raises:
        ConfigError: The size can't be, or the distance is none.
    """

    size: int
    distance: Distance = "cosine"
    multi: bool = False
    on_disk: bool = False

    def __post_init__(self) -> None:
        if type(self.size) is not int or not 1 <= self.size <= _LARGEST:
            raise ConfigError(f"A vector can't have the size `{self.size}`. Valid: 1 to {_LARGEST}.")
        _refuse_other("distance", self.distance, get_args(Distance))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparse:
    """A sparse vector of each point, as of words: some indices, with a value each.

    Attributes:
        idf: Whether the database weighs each index by how rare it is.
        on_disk: Whether their index is kept on the disk rather than in memory.
    """

    idf: bool = False
    on_disk: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """What a collection holds.

    Attributes:
        vectors: Column -> its vector. The vector of a collection that gives it no name is called "".
        indexes: Field of the payload -> kind of its index, for filters that are fast.
        quantization: How dense vectors are kept small beside the originals.
        on_disk_payload: Whether payloads are kept on the disk rather than in memory.

    Raises:
        ConfigError: A name or kind can't be.
    """

    vectors: Mapping[str, Vector | Sparse]
    indexes: Mapping[str, IndexKind] = field(default_factory=dict)
    quantization: Quantization = "none"
    on_disk_payload: bool = True

    def __post_init__(self) -> None:
        if "" in self.vectors and (len(self.vectors) > 1 or isinstance(self.vectors[""], Sparse)):
            raise ConfigError("A vector without a name is dense, and the only one of its collection. Name all of them.")
        for name, vector in self.vectors.items():
            if not isinstance(vector, Vector | Sparse):
                raise ConfigError(f"`{name}` is no `Vector` and no `Sparse`, but a `{type(vector).__name__}`.")
            if name:
                checked_name(name, "A vector")
        for name, kind in self.indexes.items():
            _refuse_other(f"index of `{name}`", kind, get_args(IndexKind))
        _refuse_other("quantization", self.quantization, get_args(Quantization))


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a write did.

    Attributes:
        collection: The name that it was asked for.
        rows: How many came.
        added: How many points there are more than before, without those that were removed.
        kept: Of an append, how many were there already, and stayed as they were.
        removed: How many points were removed, because they are no longer in the data.
        points: How many the collection holds now.
        batches: In how many requests they were sent.
        sizes: Dense vector -> its size.
        status: What the collection says of itself, as `green`.
        seconds: How long it took.
    """

    collection: str
    rows: int
    added: int
    kept: int
    removed: int
    points: int
    batches: int
    sizes: Mapping[str, int]
    status: str
    seconds: float


def column_of(vector: str) -> str:
    """The column that a vector is read to."""
    return vector or UNNAMED


def checked_name(name: str, what: str = "A collection") -> str:
    """Refuse names that Qdrant does not take, and those that could lead elsewhere.

    Raises:
        ConfigError: It is empty, `.`, `..`, too long, or holds a sign that no name may hold.
    """
    bad = not name or name in {".", ".."} or not name.isprintable() or set(name) & set(_FORBIDDEN)
    if bad or len(name.encode()) > _LONGEST:
        raise ConfigError(
            f"{what} can't be called `{name[:60]}`. Valid: up to {_LONGEST} bytes, without control signs and any of "
            f"`{_FORBIDDEN[:9]}`, other than `.` and `..`."
        )
    return name


def _refuse_other(what: str, value: object, valid: tuple[str, ...]) -> None:
    if value not in valid:
        hint = did_you_mean(value, valid) if isinstance(value, str) else f"Valid: {listing(valid)}."
        raise ConfigError(f"The {what} can't be `{value}`. {hint}")
