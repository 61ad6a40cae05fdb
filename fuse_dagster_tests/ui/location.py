"""The demo's code location, with a schedule that ticks while a test waits."""

from __future__ import annotations

import dagster as dg

from fuse_dagster import definitions

carriers = dg.AssetSelection.assets(["bronze", "carriers"], ["silver", "carriers"])
every_minute = dg.ScheduleDefinition(name="every_minute", target=carriers, cron_schedule="* * * * *")

# Dagster takes the only `Definitions` that it finds in a module, so there must be one.
defs = dg.Definitions.merge(definitions.defs, dg.Definitions(schedules=[every_minute]))
