"""Incremental loading: what a source brought since the last load, and how far it was read. No Dagster in here."""

from fuse_dagster.ingest.databases import TableSource, Window
from fuse_dagster.ingest.drift import Drift, DriftPolicy
from fuse_dagster.ingest.load import LoadResult, load
from fuse_dagster.ingest.positions import position_of
from fuse_dagster.ingest.reconciling import ListsKeys, Reconciled, reconcile_deletes
from fuse_dagster.ingest.source import Ledger, Position, Reading, Remembers, Source, TellsProgress

__all__ = [
    "Drift",
    "DriftPolicy",
    "Ledger",
    "ListsKeys",
    "LoadResult",
    "Position",
    "Reading",
    "Reconciled",
    "Remembers",
    "Source",
    "TableSource",
    "TellsProgress",
    "Window",
    "load",
    "position_of",
    "reconcile_deletes",
]
