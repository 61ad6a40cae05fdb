"""What a source could not read, kept in a table beside the one that its rows go to; the same pieces only once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from fuse_dagster.core.errors import SchemaError
from fuse_dagster.tables import Append, write

SUFFIX = "__rejected"
"""After the address of a table: the table beside it with what it did not take."""

BATCH = "_rejected_batch"
"""Column of that table: what the rows came with."""

AT = "_rejected_at"
"""Column of that table: when, UTC."""


def put_aside(
    table: str | Path,
    rows: pl.DataFrame,
    batch: str,
    *,
    at: datetime | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> None:
    """Append rejected rows to the table beside one; the same rows of the same batch only once.

    Args:
        table: URI or path of the table that did not take them.
        rows: The rows, with their reasons.
        batch: What they came with.
        at: When, UTC; now by default.
        storage_options: As delta-rs takes them.

    Raises:
        SchemaError: The rows have a column of the names that are added, or do not fit the table of rejected rows.
    """
    taken = [name for name in (BATCH, AT) if name in rows.columns]
    if taken:
        raise SchemaError(f"the batch has {taken}, which rejected rows get; drop or rename them in the asset")
    said = rows.with_columns(pl.lit(batch).alias(BATCH), pl.lit(at or datetime.now(tz=UTC)).alias(AT))
    once = Append(once="batch", batch_id=f"{batch}:{_digest(rows)}")
    write(f"{table}{SUFFIX}", said, once, storage_options=storage_options)


def _digest(rows: pl.DataFrame) -> str:
    """Tells sets of rows apart, whatever their order."""
    names = sorted(rows.columns)
    found = hashlib.sha256(repr(names).encode())
    for row in sorted(map(repr, rows.select(names).iter_rows())):
        found.update(row.encode("utf-8", "surrogatepass"))
    return found.hexdigest()
