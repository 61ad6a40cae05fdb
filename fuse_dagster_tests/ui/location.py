"""The demo's code location, with a schedule that ticks while a test waits."""

from __future__ import annotations

import dagster as dg

from fuse_dagster.definitions import defs as demo
from fuse_dagster.definitions.demo.jobs import refresh

every_minute = dg.ScheduleDefinition(name="every_minute", job=refresh, cron_schedule="* * * * *")

defs = dg.Definitions.merge(demo, dg.Definitions(schedules=[every_minute]))
