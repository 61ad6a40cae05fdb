"""A lakehouse in Dagster: Delta tables and history (SCD2) as software-defined assets."""

from __future__ import annotations

__version__ = "0.1.0"
