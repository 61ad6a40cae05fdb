"""Rows that an asset's table did not take: kept in a table beside it, each batch once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fuse_dagster.core.naming import listing
from fuse_dagster.ingest import quarantine
from fuse_dagster.ingest.quarantine import AT, BATCH, SUFFIX

if TYPE_CHECKING:
    import polars as pl

    from fuse_dagster.orchestration.target import Target

__all__ = ["AT", "BATCH", "SUFFIX", "batch_name", "put_aside", "rejected_table", "rejected_uri"]


def rejected_uri(target: Target) -> str:
    """Where the rejected rows of an asset lie."""
    return f"{target.uri}{SUFFIX}"


def rejected_table(target: Target, rejected: int) -> str | None:
    """The same, where a write has put rows there; else None.

    Args:
        target: The table that was written.
        rejected: Rows that the write left out.
    """
    return rejected_uri(target) if rejected and target.declaration.mode.null_keys == "reject" else None


def batch_name(target: Target) -> str:
    """What the rows of one write are called: the partitions that they came with, or the root run where there are none.

    Args:
        target: The table that is written.
    """
    if not target.keys:
        return target.root_run
    return target.keys[0] if len(target.keys) == 1 else listing(target.keys)


def put_aside(target: Target, rows: pl.DataFrame, batch: str) -> None:
    """Append rejected rows to the table beside an asset's; the same rows of the same batch only once.

    A retry finds them there. A partition that is written again with other rejected rows adds those: its name alone
    would lose them.

    Args:
        target: The table that did not take them.
        rows: The rows, with their reasons.
        batch: As `batch_name` says it.

    Raises:
        SchemaError: The rows have a column of the names that are added, or do not fit the table of rejected rows.
    """
    options = target.storage_options or None
    quarantine.put_aside(target.uri, rows, batch, at=target.run_created, storage_options=options)
