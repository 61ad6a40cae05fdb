"""The demo as one set of definitions."""

from __future__ import annotations

import dagster as dg

from fuse_dagster.connectors.local import Local
from fuse_dagster.definitions.demo import alerts, arrivals, bronze, checks, gold, jobs, silver
from fuse_dagster.definitions.demo.settings import Places
from fuse_dagster.orchestration.io_manager import DeltaIOManager


def demo_definitions(where: Places) -> dg.Definitions:
    """Put the demo together.

    Args:
        where: Where files land and tables lie.
    """
    return dg.Definitions(
        assets=dg.load_assets_from_modules([bronze, silver, gold]),
        asset_checks=checks.CHECKS,
        jobs=[jobs.load_release, jobs.load_month, jobs.refresh],
        schedules=[jobs.every_morning],
        sensors=[arrivals.new_airport_release, alerts.alert_on_failure],
        resources={
            "landing": Local(root=str(where.landing)),
            "io_manager": DeltaIOManager(lake=Local(root=str(where.lake))),
        },
    )
