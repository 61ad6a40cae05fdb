"""Rows that an asset's table did not take: kept in a table beside it, each batch once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.core.errors import SchemaError
from fuse_dagster.core.naming import listing
from fuse_dagster.tables import Append, write

if TYPE_CHECKING:
    from fuse_dagster.orchestration.target import Target

SUFFIX = "__rejected"
"""After the name of a table: the table beside it with the rows that it did not take."""

BATCH = "_rejected_batch"
"""Column of that table: the partition that the row came with, or the root run where there is none."""

AT = "_rejected_at"
"""Column of that table: when the root run was created, UTC."""


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
    taken = [name for name in (BATCH, AT) if name in rows.columns]
    if taken:
        raise SchemaError(f"the batch has {taken}, which rejected rows get; drop or rename them in the asset")
    said = rows.with_columns(pl.lit(batch).alias(BATCH), pl.lit(target.run_created).alias(AT))
    once = Append(once="batch", batch_id=f"{batch}:{_digest(rows)}")
    write(rejected_uri(target), said, once, storage_options=target.storage_options or None)


def _digest(rows: pl.DataFrame) -> str:
    """Tells sets of rows apart, whatever their order."""
    names = sorted(rows.columns)
    found = hashlib.sha256(repr(names).encode())
    for row in sorted(map(repr, rows.select(names).iter_rows())):
        found.update(row.encode("utf-8", "surrogatepass"))
    return found.hexdigest()
