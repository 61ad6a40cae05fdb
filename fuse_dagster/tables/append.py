"""Append: the batch's rows come to those that are there; with `once`, a batch or a row comes only once."""

from __future__ import annotations

import polars as pl

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.tables.actions import create, put
from fuse_dagster.tables.commit import APP_ID, Committed, Ticket
from fuse_dagster.tables.keys import collapse, refuse_bad_keys
from fuse_dagster.tables.modes import Append
from fuse_dagster.tables.pruning import has_exact_bounds
from fuse_dagster.tables.schema import reconcile, refuse_widened
from fuse_dagster.tables.swapping import only_adding, swap
from fuse_dagster.tables.tally import Tally
from fuse_dagster.tables.view import TableView, unkept_promises


def append(view: TableView, batch: pl.DataFrame, mode: Append) -> tuple[Committed | None, Tally]:
    """Add the rows of the batch; with `once`, those that are new.

    Args:
        view: The opened table, or its absence.
        batch: Rows x columns, Delta types.
        mode: The declaration.

    Raises:
        ConfigError: `once="batch"` without a `batch_id`.
        SchemaError: The batch does not fit the table's columns.
        KeyValueError: For `once` by columns: a key is null, or stands twice with different values.
    """
    typed, change = reconcile(batch, view.schema(), policy=mode.schema)
    ticket = batch_ticket(view, mode)
    if ticket is not None and has_landed(view, ticket):
        return None, Tally()
    fresh, duplicates = typed, 0
    if mode.once_by_key:
        refuse_widened(view.uri, change.widened)
        fresh, duplicates = _fresh(view, typed, mode.once_by_key)
    tally = Tally(inserted=fresh.height, duplicates=duplicates, schema_changes=change.sentences)
    if fresh.is_empty():
        ticket = None  # the batch may still come, under the same name
    if not view.exists and (mode.partition_by or fresh.is_empty()):
        return create(view, fresh, partition_by=mode.partition_by, ticket=ticket), tally
    if view.exists and fresh.is_empty() and not change:
        return None, tally
    if view.exists and (change or unkept_promises(view)):
        return put(view, fresh, overwrite=False, widened=change.widened, ticket=ticket), tally
    # Files of our own: polars takes less CPU to write and to read them than those of delta-rs' writer.
    return swap(view, only_adding(view, fresh), ticket=ticket), tally


def batch_ticket(view: TableView, mode: Append) -> Ticket | None:
    """The ticket of a batch with a name, which goes into the commit of its rows: neither is there without the other.

    Raises:
        ConfigError: `once="batch"`, and no name.
    """
    if not mode.once_by_batch:
        return None
    if mode.batch_id is None:
        raise ConfigError(
            f'the append to `{view.uri}` is `once="batch"` and this batch has no name; give `batch_id`, such as the '
            "partition or the file that it comes from"
        )
    return Ticket({f"{APP_ID}.append:{mode.batch_id}": 1})


def has_landed(view: TableView, ticket: Ticket) -> bool:
    """Whether the batch of a ticket is in the table."""
    # Looked up on the view that the rows are appended to: of two writers of one batch, Delta refuses the second.
    return view.exists and any(view.table.transaction_version(app) is not None for app in ticket.transactions)


def _fresh(view: TableView, batch: pl.DataFrame, keys: tuple[str, ...]) -> tuple[pl.DataFrame, int]:
    """Rows whose key the table does not hold, each key once, and how many copies there were."""
    refuse_bad_keys(batch, keys, role="once")
    unique, duplicates = collapse(batch, keys, [name for name in batch.columns if name not in keys])
    known = view.schema()
    if any(key not in known for key in keys) or unique.is_empty():
        return unique, duplicates
    first = unique[keys[0]]
    low, high = (pl.lit(bound, dtype=first.dtype) for bound in (first.min(), first.max()))
    where = pl.col(keys[0]).is_between(low, high) if has_exact_bounds(first.dtype) else None
    held = scan(view.uri, columns=keys, version=view.version, where=where, storage_options=view.storage_options)
    wanted = unique.select(keys)
    seen = held.join(wanted.lazy(), on=list(keys), how="semi").unique().collect()
    return unique.join(seen, on=list(keys), how="anti", maintain_order="left"), duplicates
