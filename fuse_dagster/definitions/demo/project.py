"""The demo as one set of definitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import dagster as dg

from fuse_dagster.connectors.database import Database
from fuse_dagster.connectors.lake import Lake
from fuse_dagster.connectors.local import Local
from fuse_dagster.definitions.demo import alerts, arrivals, bronze, checks, gold, jobs, mirrored, silver
from fuse_dagster.definitions.demo.server import flight_board
from fuse_dagster.definitions.demo.settings import Places
from fuse_dagster.orchestration.io_manager import DeltaIOManager


def demo_definitions(
    where: Places, *, lake: Lake | None = None, board: Database | None = None, engine: str = "local"
) -> dg.Definitions:
    """Put the demo together.

    Args:
        where: Where files land.
        lake: Where tables lie; by default the folder that `where` names.
        board: The database of the flight board; by default the demo's own.
        engine: `local` or `spark`; the tables are the same, row for row.
    """
    kept = lake or Local(root=str(where.lake))
    return dg.Definitions(
        assets=[*dg.load_assets_from_modules([bronze, silver, gold]), *mirrored.TABLES.values()],
        asset_checks=checks.CHECKS,
        jobs=[jobs.load_release, jobs.load_month, jobs.load_board, jobs.refresh],
        schedules=[jobs.every_five_minutes, jobs.every_morning],
        sensors=[arrivals.new_airport_release, alerts.alert_on_failure],
        resources={
            "landing": Local(root=str(where.landing)),
            "board": _board(where, board),
            "io_manager": _io_manager(kept, engine),
            "loads": DeltaIOManager(lake=kept),
        },
    )


def _board(where: Places, given: Database | None) -> dg.ResourceDefinition:
    """The flight board's database, whose server runs while a run needs it."""

    def opened() -> Iterator[Database]:
        with flight_board(where.board, given) as database:
            yield database

    made: Callable[..., Iterator[Database]] = lambda _: opened()  # noqa: E731
    return dg.ResourceDefinition(made, description="The flight board of New York's airports.")


def _io_manager(lake: Lake, engine: str) -> DeltaIOManager:
    if engine != "spark":
        return DeltaIOManager(lake=lake)
    # Imported here, because the demo needs no Spark unless it is asked to run on it.
    from fuse_dagster.orchestration.spark import SparkResource

    return DeltaIOManager(lake=lake, spark=SparkResource())
