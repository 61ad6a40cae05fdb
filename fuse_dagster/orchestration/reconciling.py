"""Deletes of a source that is read by what is new, found by a run of the load's own asset that says so by a tag."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.ingest.positions import position_of
from fuse_dagster.ingest.reconciling import ListsKeys, Reconciled, reconcile_deletes
from fuse_dagster.orchestration.declarations import raise_together, read_declaration
from fuse_dagster.orchestration.loads import describe_watermark
from fuse_dagster.orchestration.target import COMPARE_KEYS, FULL_REFRESH
from fuse_dagster.tables import History, Upsert

if TYPE_CHECKING:
    from fuse_dagster.ingest.source import Position, Source
    from fuse_dagster.orchestration.target import Target


def compare_keys_job(
    *assets: dg.AssetsDefinition, name: str = "compare_keys", description: str | None = None
) -> dg.UnresolvedAssetJobDefinition:
    """Make a job that ends the rows of loaded tables which their sources no longer have; put it on a schedule.

    Its runs compare the keys of source and table, and load nothing (see `ingest.reconcile_deletes`). They are runs of
    the loads' own assets, with the tag `fuse/compare_keys`: a concurrency pool that the assets have keeps them apart
    from loads.

    Args:
        *assets: Made by `load_table`, with `Upsert(absent="keep")` or a `History` whose absences say nothing.
        name: Of the job.
        description: Of the job.

    Raises:
        ConfigError: There is no asset, or one whose mode or partitions do not go with it.

    Examples:
        >>> from fuse_dagster import load_table
        >>> from fuse_dagster.tables import Upsert
        >>> @load_table(mode=Upsert(keys=["id"]), required_resource_keys={"shop"})
        ... def orders(context: dg.AssetExecutionContext): ...
        >>> nightly = dg.ScheduleDefinition(job=compare_keys_job(orders), cron_schedule="0 3 * * *")
        >>> nightly.job_name
        'compare_keys'
    """
    problems = [] if assets else ["There is no asset. Give at least one."]
    for asset in assets:
        for key, metadata in asset.metadata_by_key.items():
            mode = read_declaration(metadata).mode
            if not isinstance(mode, Upsert | History) or mode.is_whole_truth:
                problems.append(
                    f"`{key.to_user_string()}` has a mode that ends nothing by keys, or takes each batch for the whole "
                    'truth. Valid: `Upsert` with `absent="keep"`, `History` of changes or with `deletes="ignore"`.'
                )
        if asset.partitions_def is not None:
            keys = ", ".join(sorted(key.to_user_string() for key in asset.keys))
            problems.append(f"`{keys}` has partitions, of which each run reads a part. Replace them by `Overwrite()`.")
    raise_together(problems, f"the job `{name}`")
    return dg.define_asset_job(
        name,
        selection=dg.AssetSelection.assets(*assets),
        tags={COMPARE_KEYS: "true"},
        description=description or "Ends rows that are gone from their source, by comparing keys.",
    )


def reconcile_target(target: Target, source: Source) -> tuple[Reconciled, Position | None]:
    """Compare the keys of a source with those of an asset's table, and end what is gone.

    Args:
        target: The table.
        source: What its asset loads.

    Returns:
        What happened, and how far loads have read the source.

    Raises:
        ConfigError: The asset has partitions, or its mode or source can't be reconciled.
        DeleteGuardError: Too many keys are gone; nothing was written.
    """
    if target.definition is not None:
        msg = (
            f"`{target.asset.to_user_string()}` has partitions, of which a run reads a part: what lies outside would "
            f"seem gone. Run it without the tag `{COMPARE_KEYS}`; `Overwrite()` finds what is gone from each part."
        )
        raise ConfigError(msg)
    if target.full_refresh:
        msg = f"The run has the tags `{COMPARE_KEYS}` and `{FULL_REFRESH}`: one loads nothing, the other all. Keep one."
        raise ConfigError(msg)
    if not isinstance(source, ListsKeys):
        msg = (
            f"The source of `{target.asset.to_user_string()}` can't list its keys. Valid: one with `key_rows`, as "
            "`TableSource`."
        )
        raise ConfigError(msg)

    def attempt(options: Mapping[str, str]) -> tuple[Reconciled, Position | None]:
        found = reconcile_deletes(
            source,
            target.uri,
            target.declaration.mode,
            storage_options=options or None,
            masked=target.declaration.masked,
        )
        return found, position_of(target.uri, source.identity, storage_options=options or None)

    return target.access.ask(attempt, place=target.uri)


def describe_reconciled(result: Reconciled, reached: Position | None) -> dict[str, Any]:
    """Describe a comparison as materialization metadata: freshness is still that of the last load.

    Args:
        result: What happened.
        reached: How far loads have read the source.
    """
    return {**result.numbers, "compare_seconds": round(result.seconds, 3), **describe_watermark(reached)}
