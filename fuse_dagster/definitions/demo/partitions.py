"""How the work is divided: airports by release, flights by month."""

from __future__ import annotations

import dagster as dg

RELEASES = dg.DynamicPartitionsDefinition(name="airport_release")
"""One key per airports file, such as `20240119`; the landing sensor adds them."""

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2013-01-01", end_date="2014-01-01")
"""The twelve months of 2013; keys such as `2013-01-01`."""
