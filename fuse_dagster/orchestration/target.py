"""What a write needs to know, taken from a Dagster context once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.orchestration.access import Access
from fuse_dagster.orchestration.declarations import Declaration, read_declaration

if TYPE_CHECKING:
    from dagster import (
        AssetExecutionContext,
        AssetKey,
        DagsterInstance,
        DagsterRun,
        OutputContext,
        PartitionsDefinition,
    )

    from fuse_dagster.connectors.lake import Lake

FULL_REFRESH = "fuse/full_refresh"
"""Tag of a run that loads its sources from the start."""

COMPARE_KEYS = "fuse/compare_keys"
"""Tag of a run that loads nothing, and ends what is gone from its sources."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One asset's table, and which part of it this step writes.

    Attributes:
        asset: The asset.
        uri: Where its table lies.
        access: What delta-rs needs to reach it.
        declaration: What the asset's metadata says about the table.
        definition: Its partitioning, if it has one.
        keys: The partitions being written, sorted; empty without partitioning.
        run_created: When the root run was created, UTC: the same for every retry of it.
        root_run: Id of the root run: the same for every retry of it.
        spark: The session that writes; None for the local engine.
        full_refresh: Whether the run asks for its sources to be read from the start.
        compare_keys: Whether the run asks for what is gone from its sources, rather than for what is new.
    """

    asset: AssetKey
    uri: str
    access: Access = field(repr=False)
    declaration: Declaration
    definition: PartitionsDefinition[str] | None
    keys: tuple[str, ...]
    run_created: datetime
    root_run: str
    spark: Any = None
    full_refresh: bool = False
    compare_keys: bool = False

    @property
    def storage_options(self) -> Mapping[str, str]:
        """What delta-rs needs to reach the table."""
        return self.access.options


def target_of_output(context: OutputContext, lake: Lake, spark: Any = None) -> Target:
    """Describe the table behind an output.

    Args:
        context: Of the output.
        lake: Where tables lie.
        spark: The session that writes; None for the local engine.

    Raises:
        ConfigError: The output is no asset, or its metadata can't work.
    """
    if not context.has_asset_key:
        msg = f"The output `{context.name}` is no asset. Tables belong to assets: give it another `io_manager_key`."
        raise ConfigError(msg)
    partitioned = context.has_asset_partitions
    step = context.step_context
    return Target(
        asset=context.asset_key,
        uri=lake.table_uri(*context.asset_key.path),
        access=Access(lake),
        declaration=read_declaration(context.definition_metadata),
        definition=context.asset_partitions_def if partitioned else None,
        keys=tuple(sorted(context.asset_partition_keys)) if partitioned else (),
        run_created=root_created(step.instance, step.dagster_run),
        root_run=step.dagster_run.root_run_id or step.dagster_run.run_id,
        spark=spark,
        full_refresh=_says(step.dagster_run.tags, FULL_REFRESH),
        compare_keys=_says(step.dagster_run.tags, COMPARE_KEYS),
    )


def target_of_asset(context: AssetExecutionContext, lake: Lake, asset: AssetKey | None, spark: Any = None) -> Target:
    """Describe the table of the asset that is being executed.

    Args:
        context: The context of the asset's function.
        lake: Where tables lie.
        asset: Which of a multi-asset's assets; not needed for one.
        spark: The session that writes; None for the local engine.

    Raises:
        ConfigError: The step has several assets and none was named, or the metadata can't work.
    """
    selected = context.selected_asset_keys
    key = asset or (next(iter(selected)) if len(selected) == 1 else None)
    if key is None or key not in selected:
        names = ", ".join(f"`{each.to_user_string()}`" for each in sorted(selected))
        msg = f"This step makes the assets {names}. Say which one is written with `asset=`."
        raise ConfigError(msg)
    definition = context.assets_def.specs_by_key[key].partitions_def or context.assets_def.partitions_def
    return Target(
        asset=key,
        uri=lake.table_uri(*key.path),
        access=Access(lake),
        declaration=read_declaration(context.assets_def.metadata_by_key.get(key, {})),
        definition=definition,
        keys=tuple(sorted(context.partition_keys)) if definition is not None else (),
        run_created=root_created(context.instance, context.run),
        root_run=context.run.root_run_id or context.run.run_id,
        spark=spark,
        full_refresh=_says(context.run.tags, FULL_REFRESH),
        compare_keys=_says(context.run.tags, COMPARE_KEYS),
    )


def _says(tags: Mapping[str, str], tag: str) -> bool:
    said = tags.get(tag, "false")
    if said not in ("true", "false"):
        msg = f"The run's tag `{tag}` is `{said}`. Valid: true, false."
        raise ConfigError(msg)
    return said == "true"


def root_created(instance: DagsterInstance, run: DagsterRun) -> datetime:
    """When the first of a chain of retries was created, UTC."""
    for run_id in (run.root_run_id, run.run_id):
        record = instance.get_run_record_by_id(run_id) if run_id else None
        if record is not None:
            return record.create_timestamp.astimezone(UTC)
    msg = f"The instance does not know the run `{run.run_id}`, so its time is unknown. Run it on an instance."
    raise ConfigError(msg)
