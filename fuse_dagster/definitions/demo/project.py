"""The demo as one set of definitions."""

from __future__ import annotations

import dagster as dg

from fuse_dagster.connectors.lake import Lake
from fuse_dagster.connectors.local import Local
from fuse_dagster.definitions.demo import alerts, arrivals, bronze, checks, gold, jobs, silver
from fuse_dagster.definitions.demo.settings import Places
from fuse_dagster.orchestration.io_manager import DeltaIOManager


def demo_definitions(where: Places, *, lake: Lake | None = None, engine: str = "local") -> dg.Definitions:
    """Put the demo together.

    Args:
        where: Where files land.
        lake: Where tables lie; by default the folder that `where` names.
        engine: `local` or `spark`; the tables are the same, row for row.
    """
    return dg.Definitions(
        assets=dg.load_assets_from_modules([bronze, silver, gold]),
        asset_checks=checks.CHECKS,
        jobs=[jobs.load_release, jobs.load_month, jobs.refresh],
        schedules=[jobs.every_morning],
        sensors=[arrivals.new_airport_release, alerts.alert_on_failure],
        resources={
            "landing": Local(root=str(where.landing)),
            "io_manager": _io_manager(lake or Local(root=str(where.lake)), engine),
        },
    )


def _io_manager(lake: Lake, engine: str) -> DeltaIOManager:
    if engine != "spark":
        return DeltaIOManager(lake=lake)
    # Imported here, because the demo needs no Spark unless it is asked to run on it.
    from fuse_dagster.orchestration.spark import SparkResource

    return DeltaIOManager(lake=lake, spark=SparkResource())
