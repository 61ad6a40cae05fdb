"""What runs together: a release, a month, and everything that is rebuilt as a whole."""

from __future__ import annotations

import dagster as dg

load_release = dg.define_asset_job(
    "load_release",
    selection=dg.AssetSelection.assets(["bronze", "airports"], ["silver", "airport_history"]),
    description="Loads one release of the airports and writes it into their history.",
)

load_month = dg.define_asset_job(
    "load_month",
    selection=dg.AssetSelection.assets(["bronze", "flights"], ["silver", "flights"], ["silver", "flights_quarantine"]),
    description="Loads one month of flights, and puts the impossible ones aside.",
)

load_board = dg.define_asset_job(
    "load_board",
    selection=dg.AssetSelection.groups("public"),
    description="Loads what is new on the flight board.",
    # One process: where the board lies in a file of DuckDB, two would lock each other out.
    executor_def=dg.in_process_executor,
)

refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.groups("gold")
    | dg.AssetSelection.assets(
        *(["bronze", name] for name in ("planes", "carriers", "weather")),
        *(["silver", name] for name in ("planes", "carriers", "weather", "weather_quarantine")),
    ),
    description="Loads planes, carriers and weather, and builds every gold table.",
)

every_five_minutes = dg.ScheduleDefinition(
    name="every_five_minutes",
    job=load_board,
    cron_schedule="*/5 * * * *",
    execution_timezone="UTC",
    description="Follows the flight board.",
)

every_morning = dg.ScheduleDefinition(
    name="every_morning",
    job=refresh,
    cron_schedule="0 6 * * *",
    execution_timezone="UTC",
    description="Brings the gold tables up to date before people come to work.",
)
