"""Runs the whole demo through real Dagster runs, in dependency order, and keeps what every asset reported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from fuse_dagster.core.errors import FuseError
from fuse_dagster.definitions.demo.arrivals import file_tags
from fuse_dagster.definitions.demo.landing import AIRPORTS, Landing, sha256
from fuse_dagster.definitions.demo.partitions import MONTHS, RELEASES

CONSOLE = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""Run config that keeps a run's events out of the terminal; the UI has them."""


class RunFailedError(FuseError, RuntimeError):
    """A run of the demo failed; the message is that of the step that did."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One run: a job, and a partition where it has any."""

    job: str
    partition: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """How a person calls it."""
        return f"{self.job} {self.partition}" if self.partition else self.job


@dataclass(frozen=True, kw_only=True)
class Done:
    """What one materialization of one asset reported.

    Attributes:
        asset: Its key, as `silver/flights`.
        rows: Rows of its table afterwards.
        inserted: Rows (for a history: keys) that were not there before.
        updated: Rows (for a history: keys) whose values changed.
        closed: Keys of a history that ended.
        version: Delta version of the table afterwards.
        committed: Whether this materialization made it.
        seconds: Time the write took.
        where: Where the table lies.
        warnings: Names of the asset's checks that warned in this run.
        failures: Names of those that failed.
        loaded: Rows that a load brought; None for what is no load.
        watermark: How far it read its source.
    """

    asset: str
    rows: int
    inserted: int
    updated: int
    closed: int
    version: int
    committed: bool
    seconds: float
    where: str
    warnings: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    loaded: int | None = None
    watermark: str = ""


LOAD_BOARD = Step(job="load_board")

LOAD_EVERY = 3
"""Months between two loads of the flight board."""


def plan(landing: Landing, *, newest_first: bool = False) -> list[Step]:
    """Say which runs bring everything that has landed into the lake.

    Args:
        landing: Where the files lie.
        newest_first: Load the releases in reverse; the history comes out the same.

    Returns:
        One run per release and per month, with loads of the flight board between them; then one for all the rest.
    """
    releases = []
    for entry in landing.list(AIRPORTS.folder):
        part = AIRPORTS.part_of(entry)
        if part is not None:
            with landing.open(entry.path) as file:
                releases.append(Step(job="load_release", partition=part, tags=file_tags(sha256(file.read()))))
    releases.sort(key=lambda step: step.partition or "", reverse=newest_first)
    months = []
    for number, month in enumerate(MONTHS.get_partition_keys(), start=1):
        months.append(Step(job="load_month", partition=month))
        if number % LOAD_EVERY == 0:
            months.append(LOAD_BOARD)
    return [*releases, *months, Step(job="refresh")]


def run(defs: dg.Definitions, step: Step, instance: dg.DagsterInstance) -> list[Done]:
    """Execute one run in this process.

    Args:
        defs: Where the job is.
        step: The run.
        instance: Where it is recorded, for the UI to show.

    Returns:
        What every asset reported, in the order of materialization.

    Raises:
        RunFailedError: The run failed.
    """
    if step.job == "load_release" and step.partition and RELEASES.name:
        instance.add_dynamic_partitions(RELEASES.name, [step.partition])
    result = defs.resolve_job_def(step.job).execute_in_process(
        instance=instance,
        partition_key=step.partition,
        tags=dict(step.tags),
        run_config=CONSOLE,
        raise_on_error=False,
    )
    if not result.success:
        raise RunFailedError(_why(step, result))
    return list(_reported(result))


def _reported(result: dg.ExecuteInProcessResult) -> Iterator[Done]:
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    for event in result.get_asset_materialization_events():
        facts: dict[str, Any] = {name: value.value for name, value in event.materialization.metadata.items()}
        of_asset = [check for check in failed if check.asset_key == event.materialization.asset_key]
        warned = [check for check in of_asset if check.severity is dg.AssetCheckSeverity.WARN]
        yield Done(
            asset=event.materialization.asset_key.to_user_string(),
            rows=facts["dagster/row_count"],
            inserted=facts["inserted"],
            updated=facts["updated"],
            closed=facts["closed"],
            version=facts["delta_version"],
            committed=facts["committed"],
            seconds=facts["seconds"],
            where=facts["dagster/uri"],
            warnings=tuple(check.check_name for check in warned),
            failures=tuple(check.check_name for check in of_asset if check not in warned),
            loaded=facts.get("rows_loaded"),
            watermark=facts.get("watermark_after", ""),
        )


def _why(step: Step, result: dg.ExecuteInProcessResult) -> str:
    """Find the error that failed a run: Dagster's own wraps what the asset raised."""
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error is not None:
            error = event.step_failure_data.error.cause or event.step_failure_data.error
            return f"{step.title}, in `{event.step_key}`: {error.message.strip()}"
    return f"{step.title}: the run failed before its first step"
