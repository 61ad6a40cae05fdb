"""The IO manager for vectors: each asset is a collection, each row a point."""

# Dagster and pydantic read these annotations, so they are not postponed.
from typing import Any

import polars as pl
import pyarrow as pa
from dagster import ConfigurableIOManager, InputContext, MetadataValue, OutputContext, ResourceDependency

from fuse_dagster.connectors.qdrant import Qdrant
from fuse_dagster.connectors.vectors import Written
from fuse_dagster.connectors.vectors.declaring import POINT_ID, Mode
from fuse_dagster.core.errors import ConfigError, PartitionNotFoundError
from fuse_dagster.engines.local.frames import from_polars, to_polars
from fuse_dagster.orchestration.declarations import read_declaration
from fuse_dagster.orchestration.engine import EngineFrame
from fuse_dagster.orchestration.loading import read_options, refuse_versions
from fuse_dagster.orchestration.metadata import (
    PARTITION_ROW_COUNT,
    PREVIEW_ROWS,
    ROW_COUNT,
    STORAGE_KIND,
    TABLE_NAME,
    URI,
    add_described,
    preview,
)
from fuse_dagster.orchestration.vector_declarations import collection_name, partition_values, vector_write

_SHOWN = 3


class QdrantIOManager(ConfigurableIOManager):
    """Stores assets as collections of vectors: each at the parts of its key, joined by dots; each row is a point.

    The asset's metadata says `{"vectors": {"keys": [...]}}`, and may say `mode`, `distance`, `indexes` and
    `quantization`. Without a mode the collection is replaced at once; of an asset with partitions, the points whose
    column `partition_by` has the partition's key. What functions return and inputs get are the same frames as with
    `DeltaIOManager`.

    Examples:
        >>> import dagster as dg
        >>> from fuse_dagster import Qdrant, QdrantIOManager
        >>> defs = dg.Definitions(resources={"vectors": QdrantIOManager(qdrant=Qdrant(path="vectors"))})
    """

    qdrant: ResourceDependency[Qdrant]

    def handle_output(self, context: OutputContext, obj: Any) -> None:
        """Write what an asset returned, and describe it as metadata of the materialization.

        Raises:
            ConfigError: The asset's declaration can't work.
            InputError: The data is refused; nothing was written.
        """
        if not context.has_asset_key:
            msg = f"The output `{context.name}` is no asset. Collections belong to assets: give it another IO manager."
            raise ConfigError(msg)
        asset = context.asset_key
        name, label = collection_name(asset), asset.to_user_string()
        metadata = context.definition_metadata
        declared, shared = vector_write(asset, metadata), read_declaration(metadata)
        data = obj if isinstance(obj, pa.RecordBatchReader) else to_polars(obj)
        empty = pl.DataFrame(data.schema.empty_table()) if isinstance(data, pa.RecordBatchReader) else data.clear()
        mode: Mode = declared.mode or "overwrite"
        where = None
        keys = sorted(context.asset_partition_keys) if context.has_asset_partitions else []
        if keys:
            definition = context.asset_partitions_def
            where = partition_values(label, definition, shared.partition_by, keys, empty.schema)
            if declared.mode == "overwrite":
                raise ConfigError(
                    f"`{label}` has partitions, and `mode` is `overwrite`, which would remove the others. Leave `mode` "
                    "out: then the partition is replaced."
                )
            mode = declared.mode or "upsert"
        written = self.qdrant.write_points(
            name,
            data,
            keys=declared.keys,
            mode=mode,
            collection=declared.collection(empty.schema),
            replacing=where if declared.mode is None else None,
        )
        context.log.info("`%s`: %d rows to `%s`, which holds %d points", label, written.rows, name, written.points)
        described = self._described(written, where, shared.masked, single=len(keys) == 1)
        add_described(context, described)

    def load_input(self, context: InputContext) -> Any:
        """Read an upstream asset as the type that the input's annotation names.

        Raises:
            ConfigError: The annotation is no frame, or the input's metadata can't work.
            NotThereError: The upstream asset has no collection.
            PartitionNotFoundError: The one upstream partition asked for was never written.
        """
        if not context.has_asset_key:
            msg = f"The input `{context.name}` is no asset. Collections belong to assets: give it another IO manager."
            raise ConfigError(msg)
        options = read_options(context.definition_metadata or {})
        refuse_versions(options, of="collections")
        name, where = collection_name(context.asset_key), None
        if context.has_asset_partitions:
            keys = sorted(context.asset_partition_keys)
            there = context.instance.get_materialized_partitions(context.asset_key)
            if len(keys) == 1 and keys[0] not in there:
                label = context.asset_key.to_user_string()
                raise PartitionNotFoundError(
                    f"The partition `{keys[0]}` of `{label}` was never written. Materialize it."
                )
            upstream = context.upstream_output
            shared = read_declaration((upstream.definition_metadata if upstream else None) or {})
            with self.qdrant.rows(name, limit=0) as reader:
                schema = pl.DataFrame(reader.schema.empty_table()).schema
            definition = context.asset_partitions_def
            where = partition_values(name, definition, shared.partition_by, keys, schema)
        with self.qdrant.rows(name, columns=options.columns, where=where) as reader:
            frame = pl.DataFrame(reader.read_all())
        if options.columns is None:
            frame = frame.drop(POINT_ID)
        wanted = context.dagster_type.typing_type
        return from_polars(frame.lazy(), pl.LazyFrame if wanted is EngineFrame else wanted)

    def _described(self, written: Written, where: Any, masked: frozenset[str], *, single: bool) -> dict[str, Any]:
        """Metadata by its documented name. Counts are ints, so that Dagster plots them."""
        with self.qdrant.rows(written.collection, limit=PREVIEW_ROWS, where=where) as reader:
            first = pl.DataFrame(reader.read_all())
        found: dict[str, Any] = {
            ROW_COUNT: written.points,
            TABLE_NAME: written.collection,
            STORAGE_KIND: "qdrant",
            URI: f"{self.qdrant.place}/collections/{written.collection}",
            "collection_status": written.status,
            "vector_sizes": MetadataValue.json(dict(written.sizes)),
            "rows_in": written.rows,
            "points_added": written.added,
            "points_kept": written.kept,
            "points_removed": written.removed,
            "seconds": round(written.seconds, 3),
            "preview": MetadataValue.md(preview(_shortened(first), masked)),
        }
        return found | ({PARTITION_ROW_COUNT: written.rows} if single else {})


def _shortened(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows with the first numbers of each vector, and how many there are."""
    return frame.with_columns(
        pl.Series(name, [None if one is None else _short(list(one)) for one in frame[name]], dtype=pl.String)
        for name, dtype in frame.schema.items()
        if isinstance(dtype, pl.Array)
    )


def _short(numbers: list[float]) -> str:
    shown = ", ".join(f"{number:.3g}" for number in numbers[:_SHOWN])
    return f"[{shown}, … of {len(numbers)}]" if len(numbers) > _SHOWN else f"[{shown}]"
