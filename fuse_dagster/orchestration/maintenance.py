"""Maintenance as a Dagster job: one op per table, listed before anything is removed."""

# Dagster reads the annotations of the functions made here, so they are not postponed.
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import dagster as dg
from pydantic import Field

from fuse_dagster.connectors.lake import Lake
from fuse_dagster.core.errors import ConfigError, TableNotFoundError
from fuse_dagster.core.naming import listing
from fuse_dagster.orchestration.access import Access
from fuse_dagster.orchestration.declarations import Declaration, raise_together, read_declaration
from fuse_dagster.orchestration.io_manager import DeltaIOManager, DeltaTables
from fuse_dagster.orchestration.metadata import URI
from fuse_dagster.orchestration.rejecting import SUFFIX
from fuse_dagster.tables import MaintenanceReport, Upsert, maintain
from fuse_dagster.tables.new_files import ROWS_PER_FILE

_SHOWN = 50


class MaintenanceConfig(dg.Config):
    """What a run of maintenance does; the same for each of its tables."""

    vacuum: bool = Field(
        default=False,
        description="Remove the files that no version within the retention needs. Without it they are only listed.",
    )
    retention_hours: int | None = Field(
        default=None,
        description="Keep removed files for longer than the tables say. Less than they say is refused.",
    )
    rows_per_file: int = Field(
        default=ROWS_PER_FILE,
        description="Rows of a full file of a clustered table. Fewer make single keys faster to find and to change.",
    )
    dry_run: bool = Field(default=False, description="Change nothing at all, only say what would be done.")


def maintenance_job(
    assets: Iterable[dg.AssetsDefinition],
    *,
    name: str = "maintenance",
    resource: str = "io_manager",
    pool: str | None = None,
    description: str | None = None,
) -> dg.JobDefinition:
    """Make a job that looks after the tables of assets: compaction, vacuum and a checkpoint, one op per table.

    Histories are clustered by their keys, and so are tables that are upserted. Counts and bytes are metadata of an
    observation of each asset, so they plot on its page. The vacuum is a dry run until the run's config says
    `vacuum: true`. A table that is not there yet is passed by; one with an asset's rejected rows is looked after with
    it. An op waits for the pool of its asset's own step.

    Args:
        assets: Assets that are stored as Delta tables; all assets of each definition.
        name: Of the job.
        resource: Key of the resource that knows where the tables lie: a `DeltaIOManager`, `DeltaTables` or a connector.
        pool: Concurrency pool of the ops, instead of those of the assets. One slot keeps one table in memory at a time.
        description: Of the job.

    Returns:
        The job; put it on a schedule as any other.

    Raises:
        ConfigError: There is no asset, two share one op name, or the metadata of one can't work.

    Examples:
        >>> import polars as pl
        >>> from fuse_dagster import delta_table
        >>> @delta_table(mode=Upsert(keys=["tailnum"]))
        ... def planes() -> pl.DataFrame:
        ...     return pl.DataFrame({"tailnum": ["N10156"]})
        >>> weekly = dg.ScheduleDefinition(job=maintenance_job([planes]), cron_schedule="0 3 * * 0")
        >>> weekly.job_name
        'maintenance'
    """
    ops = list(_ops(assets, resource, pool))
    names = [op.name for op in ops]
    problems = [] if ops else ["There is no asset. Give at least one."]
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        problems.append(f"Several assets would share the op {listing(twice)}. Give each of them a job of its own.")
    raise_together(problems, f"the job `{name}`")

    @dg.config_mapping
    def for_each_table(config: MaintenanceConfig) -> dict[str, Any]:
        said = {key: value for key, value in config.model_dump().items() if value is not None}
        return {"ops": {each: {"config": said} for each in names}}

    graph = dg.GraphDefinition(
        name=name,
        node_defs=ops,
        description=description or "Merges small files, lists or removes what nobody needs, and writes checkpoints.",
    )
    return graph.to_job(name=name, config=for_each_table)


def _ops(assets: Iterable[dg.AssetsDefinition], resource: str, pool: str | None) -> Iterator[dg.OpDefinition]:
    for asset in assets:
        own = asset.node_def.pool if isinstance(asset.node_def, dg.OpDefinition) else None
        for key in sorted(asset.keys):
            yield _op(key, read_declaration(asset.metadata_by_key.get(key, {})), resource, pool or own)


def _op(key: dg.AssetKey, declared: Declaration, resource: str, pool: str | None) -> dg.OpDefinition:
    cluster_by = declared.mode.keys if isinstance(declared.mode, Upsert) else None

    @dg.op(
        name="__".join(["maintain", *key.path]).replace("-", "_").replace(".", "_"),
        out=dg.Out(dg.Nothing),
        required_resource_keys={resource},
        pool=pool,
        description=f"Looks after the table of `{key.to_user_string()}`.",
    )
    def look_after(context: dg.OpExecutionContext, config: MaintenanceConfig) -> None:
        lake = _lake(context, resource)
        uri = lake.table_uri(*key.path)
        report = _maintained(lake, uri, config, cluster_by)
        if report is None:
            context.log.info("`%s` has no table yet, at `%s`", key.to_user_string(), uri)
            return
        context.log.info(_sentence(key.to_user_string(), report))
        described = _described(report)
        context.log_event(dg.AssetObservation(asset_key=key, metadata=described))
        context.add_output_metadata(described)
        aside = _maintained(lake, uri + SUFFIX, config, None) if declared.mode.null_keys == "reject" else None
        if aside is not None:
            context.log.info(_sentence(key.to_user_string() + SUFFIX, aside))

    assert isinstance(look_after, dg.OpDefinition)
    return look_after


def _maintained(
    lake: Lake, uri: str, config: MaintenanceConfig, cluster_by: Sequence[str] | None
) -> MaintenanceReport | None:
    """What was done for a table; None where there is none."""
    try:
        return Access(lake).ask(
            lambda options: maintain(
                uri,
                cluster_by=cluster_by,
                rows_per_file=config.rows_per_file,
                retention_hours=config.retention_hours,
                remove=config.vacuum,
                dry_run=config.dry_run,
                storage_options=options or None,
            ),
            place=uri,
        )
    except TableNotFoundError:
        return None


def _lake(context: dg.OpExecutionContext, resource: str) -> Lake:
    found = getattr(context.resources, resource)
    if isinstance(found, Lake):
        return found
    if isinstance(found, DeltaIOManager | DeltaTables):
        return found.lake
    msg = (
        f"The resource `{resource}` is a `{type(found).__name__}`, which does not say where tables lie. Name with "
        "`resource` the key of a `DeltaIOManager`, of `DeltaTables` or of a connector."
    )
    raise ConfigError(msg)


def _sentence(name: str, report: MaintenanceReport) -> str:
    parts = [f"`{name}`:"]
    if report.compaction is not None:
        done = report.compaction
        parts.append(f"{done.files_before} files became {done.files_after}, {done.rows} rows moved;")
    if report.vacuumed is not None:
        found = report.vacuumed
        count = len(found.files) + len(found.memory_files)
        parts.append(f"{count} files ({found.bytes} bytes) {'can be' if found.dry_run else 'were'} removed;")
    if report.checkpointed is not None:
        parts.append(f"checkpoint at version {report.checkpointed.version};")
    return f"{' '.join(parts)} {report.seconds:.1f} s"


def _described(report: MaintenanceReport) -> dict[str, Any]:
    found: dict[str, Any] = {URI: report.uri, "seconds": round(report.seconds, 3)}
    if report.compaction is not None:
        names = ("files_before", "files_after", "files_removed", "files_added", "bytes_removed", "bytes_added", "rows")
        found |= {f"compaction_{name}": getattr(report.compaction, name) for name in names}
    if report.vacuumed is not None:
        vacuumed = report.vacuumed
        found |= {
            "vacuum_dry_run": vacuumed.dry_run,
            "vacuum_files": len(vacuumed.files) + len(vacuumed.memory_files),
            "vacuum_bytes": vacuumed.bytes,
            "vacuum_retention_hours": vacuumed.retention_hours,
        }
        listed = [*vacuumed.files, *vacuumed.memory_files]
        if listed:
            found["vacuum_list"] = dg.MetadataValue.md(_list(listed))
    if report.checkpointed is not None:
        found |= {
            "delta_version": report.checkpointed.version,
            "log_files_removed": report.checkpointed.log_files_removed,
        }
    return found


def _list(paths: list[str]) -> str:
    """File names alone: the folders of a partitioned table hold values."""
    shown = [f"- `{PurePosixPath(path).name}`" for path in paths[:_SHOWN]]
    left = len(paths) - _SHOWN
    return "\n".join([*shown, *([f"- and {left} more"] if left > 0 else [])])
