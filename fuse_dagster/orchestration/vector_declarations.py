"""How an asset says that its vectors are kept: the `vectors` of its metadata, and which points are a partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import polars as pl
from dagster import AssetKey, MetadataValue

from fuse_dagster.connectors.vectors import Collection, Sparse
from fuse_dagster.connectors.vectors.declaring import checked_name
from fuse_dagster.connectors.vectors.points import vectors_in
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean, listing
from fuse_dagster.orchestration.partition_values import key_value
from fuse_dagster.orchestration.partitions import dimensions, split_key

if TYPE_CHECKING:
    from dagster import PartitionsDefinition

    from fuse_dagster.orchestration.declarations import PartitionBy

VECTORS = "vectors"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorWrite:
    """What the metadata `vectors` of an asset may say.

    Attributes:
        keys: The columns that tell one point from another.
        mode: `overwrite`, `upsert` or `append`; by default the asset, or its partition, is replaced.
        distance: What near means: one for all dense vectors, or a map from column to it.
        indexes: Field of the payload -> kind of its index.
        quantization: How vectors are kept small: `none`, `scalar`, `binary` or `product`.
    """

    keys: Sequence[str]
    mode: Any = None
    distance: Any = "cosine"
    indexes: Mapping[str, Any] = field(default_factory=dict)
    quantization: Any = "none"

    def collection(self, schema: pl.Schema) -> Collection | None:
        """What the collection is to hold, by the types of the columns; None where no column is a vector.

        Raises:
            ConfigError: A distance, index or quantization is none.
        """
        found = vectors_in(schema)
        by_column = isinstance(self.distance, Mapping)
        if by_column and (unknown := [name for name in self.distance if name not in found]):
            raise ConfigError(f"`distance` names `{unknown[0]}`, which is no vector. {did_you_mean(unknown[0], found)}")
        if not found:
            return None
        told = {
            name: vector
            if isinstance(vector, Sparse)
            else type(vector)(
                size=vector.size,
                multi=vector.multi,
                distance=self.distance.get(name, "cosine") if by_column else self.distance,
            )
            for name, vector in found.items()
        }
        return Collection(vectors=told, indexes=self.indexes, quantization=self.quantization)


def vector_write(asset: AssetKey, metadata: Mapping[str, Any]) -> VectorWrite:
    """Read what an asset says of its vectors.

    Raises:
        ConfigError: It says nothing, no keys, or what is no option.
    """
    name = asset.to_user_string()
    said = metadata.get(VECTORS)
    said = said.value if isinstance(said, MetadataValue) else said
    if not isinstance(said, Mapping):
        raise ConfigError(
            f"`{name}` doesn't say what tells one of its points from another. Give it `metadata={{'vectors': {{'keys': "
            "['icao']}}}}`."
        )
    valid = [one.name for one in fields(VectorWrite)]
    if unknown := [one for one in said if one not in valid]:
        raise ConfigError(f"The `vectors` of `{name}` have no option `{unknown[0]}`. {did_you_mean(unknown[0], valid)}")
    if not said.get("keys") or isinstance(said["keys"], str):
        raise ConfigError(f"The `vectors` of `{name}` name no `keys`. Give a list of columns, as `['icao']`.")
    modes = ("overwrite", "upsert", "append")
    if said.get("mode") not in {None, *modes}:
        raise ConfigError(f"The `vectors` of `{name}` can't be written by `{said['mode']}`. Valid: {listing(modes)}.")
    return VectorWrite(**said)


def collection_name(asset: AssetKey) -> str:
    """The collection of an asset: the parts of its key, with dots between them.

    Raises:
        ConfigError: A part holds a dot, so that two assets could be one collection; or a sign that names don't take.
    """
    if any("." in part for part in asset.path):
        raise ConfigError(f"A part of `{asset.to_user_string()}` holds a dot, which joins parts. Rename the asset.")
    return checked_name(".".join(asset.path))


def partition_values(
    name: str,
    definition: PartitionsDefinition[str],
    partition_by: PartitionBy | None,
    keys: Sequence[str],
    schema: Mapping[str, pl.DataType],
) -> dict[str, Any]:
    """The points of partitions: column -> value, or a list of values.

    Raises:
        ConfigError: No column decides; or several partitions of several dimensions are asked for at once.
        PartitionError: A key is no value of its column.
    """
    parts = dimensions(definition, partition_by)
    if len(parts) > 1 and len(keys) > 1:
        raise ConfigError(f"`{name}` has partitions of {len(parts)} dimensions. Run, or read, one of them at a time.")
    found: dict[str, Any] = {}
    for axis, part in enumerate(parts):
        if part.column not in schema:
            raise ConfigError(f"`{name}` has no column `{part.column}`, which decides the partition. Return it.")
        values = [key_value(split_key(definition, key)[axis], schema[part.column], part.column) for key in keys]
        found[part.column] = values[0] if len(values) == 1 else values
    return found
