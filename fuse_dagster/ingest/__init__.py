"""Incremental loading: what a source brought since the last load, and how far it was read. No Dagster in here."""

from fuse_dagster.ingest.source import Ledger, Position, Reading, Source

__all__ = ["Ledger", "Position", "Reading", "Source"]
