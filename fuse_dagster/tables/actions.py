"""The four ways to change a table, each one commit: make it, append or overwrite, swap rows, or only mark it."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError
from deltalake.transaction import RemoveAction

from fuse_dagster.core.errors import ConfigError, PartitionError, SchemaError, TableStateError
from fuse_dagster.tables.commit import Committed, LostRaceError, land
from fuse_dagster.tables.files import ROW, FileRows, write_files
from fuse_dagster.tables.schema import refuse_widened
from fuse_dagster.tables.view import TableView, open_view

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
"""What a null partition value is called on disk: a text of this name would be read back as null."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Swap:
    """Rows to take out of a table and rows to put in, in one commit.

    Attributes:
        rows: The rows read, by file.
        removed: Numbers of the rows that go.
        added: Rows that come, with the columns of `schema`.
        schema: The table's columns and types after the commit.
        schema_changes: Whether `schema` differs from the table's.
        apart: Boolean expression, never null, that sends rows to two groups of files; readers then skip one of them.
    """

    rows: FileRows
    removed: pl.Series
    added: pl.DataFrame
    schema: Mapping[str, pl.DataType]
    schema_changes: bool = False
    apart: pl.Expr | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return self.removed.is_empty() and self.added.is_empty() and not self.schema_changes

    def groups(self, frame: pl.DataFrame) -> list[pl.DataFrame]:
        """The frame split into its groups of files."""
        return [frame] if self.apart is None else [frame.filter(self.apart), frame.filter(~self.apart)]


def swap(view: TableView, plan: Swap, *, transaction: int | None = None) -> Committed:
    """Take rows out and put rows in, in one commit; files without a removed row are not touched.

    Args:
        view: The view that the plan was made on.
        plan: What goes and what comes.
        transaction: From `next_transaction`, where the commit must have a name of its own.

    Raises:
        LostRaceError: The table has changed since the view was opened.
        SchemaError: A row is null in a column that the table declares NOT NULL.
    """
    _refuse_nulls(view, plan.added)
    if not view.exists:
        return create(view, plan.added.select(*plan.schema), transaction=transaction)
    paths, stay = plan.rows.touched(plan.removed)
    if plan.schema_changes:
        return _rewrite(view, plan, transaction=transaction)
    after = pl.concat([stay.select(*plan.schema), plan.added.select(*plan.schema)])
    total = view.count_rows() - len(plan.removed) + plan.added.height
    adds = write_files(view, plan.groups(after))
    now = int(time.time() * 1000)
    removes = [RemoveAction(path, data_change=True, deletion_timestamp=now) for path in paths]
    version = land(
        view,
        lambda props: view.table.create_write_transaction(
            [*adds, *removes], mode="append", schema=view.table.schema(), commit_properties=props
        ),
        transaction=transaction,
    )
    return Committed(version, len(adds), sum(add.size for add in adds), total)


def mark(view: TableView, *, transaction: int) -> Committed:
    """Commit no data, only the transaction: what it names in the table's memory now holds.

    Raises:
        LostRaceError: The table has changed since the view was opened.
    """
    total = view.count_rows()
    version = land(
        view,
        lambda props: view.table.create_write_transaction(
            [], mode="append", schema=view.table.schema(), commit_properties=props
        ),
        transaction=transaction,
    )
    return Committed(version, rows_total=total)


def create(
    view: TableView, frame: pl.DataFrame, *, partition_by: Sequence[str] = (), transaction: int | None = None
) -> Committed:
    """Make the table with its first rows.

    Raises:
        LostRaceError: Someone else made it first.
    """
    _refuse_layout(frame, partition_by)

    def make(props: CommitProperties) -> None:
        try:
            write_deltalake(
                view.uri,
                frame,
                mode="error",
                partition_by=list(partition_by) or None,
                storage_options=dict(view.storage_options),
                commit_properties=props,
            )
        except DeltaError as error:
            if open_view(view.uri, view.storage_options).exists:
                raise LostRaceError from error
            raise

    return _measured(view, view.files(), land(view, make, transaction=transaction))


def put(
    view: TableView,
    frame: pl.DataFrame,
    *,
    overwrite: bool,
    predicate: str | None = None,
    replace_schema: bool = False,
    widened: Mapping[str, pl.DataType] | None = None,
    transaction: int | None = None,
) -> Committed:
    """Append rows, or overwrite the table or what matches a predicate, through delta-rs' own writer.

    Args:
        view: The view to write on.
        frame: Rows x columns; new columns are added to the table.
        overwrite: Replace rather than append.
        predicate: SQL over the table's columns; only rows it matches are replaced.
        replace_schema: Take the frame's columns and types as they are.
        widened: Columns whose type grows; such a write is refused, because no public call does it in one commit.
        transaction: From `next_transaction`, where the commit must have a name of its own.

    Raises:
        LostRaceError: The table has changed since the view was opened.
        SchemaError: A column's type would grow.
    """
    refuse_widened(view.uri, widened or {})
    _refuse_marker(frame, view.table.metadata().partition_columns)
    table, before = view.table, view.files()

    def run(props: CommitProperties) -> None:
        if overwrite:
            schema_mode: Literal["merge", "overwrite"] = "overwrite" if replace_schema else "merge"
            write_deltalake(
                table, frame, mode="overwrite", predicate=predicate, schema_mode=schema_mode, commit_properties=props
            )
        else:
            write_deltalake(table, frame, mode="append", schema_mode="merge", commit_properties=props)

    return _measured(view, before, land(view, run, transaction=transaction, alone=overwrite))


def _rewrite(view: TableView, plan: Swap, *, transaction: int | None) -> Committed:
    """A new or wider column: write the whole table again, in one commit.

    A file swap commits with the old columns whatever its files hold, and a second commit for the schema could be left
    alone by a crash. So this one costs a table, once per new column.
    """
    _refuse_lost_promises(view)
    files = view.files()
    if set(files["path"]) != set(plan.rows.paths):
        raise TableStateError(
            f"a schema change of `{view.uri}` needs all of its files read, not {len(plan.rows.paths)}"
        )
    stay = plan.rows.frame.join(plan.removed.to_frame(ROW), on=ROW, how="anti")
    after = pl.concat([stay.select(*plan.schema), plan.added.select(*plan.schema)])
    return put(view, pl.concat(plan.groups(after)), overwrite=True, replace_schema=True, transaction=transaction)


def _measured(view: TableView, before: pl.DataFrame, version: int) -> Committed:
    """What a commit of delta-rs' own writer added: the files of its version that were not there before."""
    try:
        table = DeltaTable(view.uri, version=version, storage_options=dict(view.storage_options))
        after = pl.DataFrame(table.get_add_actions(flatten=True))
    except (DeltaError, OSError) as error:
        # The commit has landed: a figure that cannot be had must not report it as failed, and invite a second one.
        logger.warning("version %d of %s is committed, but its files cannot be counted: %s", version, view.uri, error)
        return Committed(version)
    new = after.join(before.select("path"), on="path", how="anti")
    rows = None if after["num_records"].null_count() else int(after["num_records"].sum())
    return Committed(version, new.height, int(new["size_bytes"].sum()), rows)


def _refuse_layout(frame: pl.DataFrame, partition_by: Sequence[str]) -> None:
    """Refuse physical partition columns that a table cannot be laid out by."""
    missing = [name for name in partition_by if name not in frame.columns]
    if missing or (partition_by and len(partition_by) >= frame.width):
        raise ConfigError(
            f"`partition_by` is {list(partition_by)}, but the columns are {frame.columns}: it names columns of the "
            "batch, and leave at least one for the files"
        )
    _refuse_marker(frame, partition_by)


def _refuse_marker(frame: pl.DataFrame, partition_columns: Sequence[str]) -> None:
    """Refuse the text that a null partition value is called on disk: it would be read back as null."""
    for name in partition_columns:
        if name in frame.columns and frame.schema[name] == pl.String and (frame[name] == HIVE_NULL).any():
            raise PartitionError(
                f"column `{name}` lays out the table's files and holds `{HIVE_NULL}`, which is read back as null; "
                "nothing was written. Choose another word for it"
            )


def _refuse_lost_promises(view: TableView) -> None:
    """delta-rs writes a new schema from the rows alone: what the old one says beyond names and types would be gone."""
    said = [f.name for f in view.table.schema().fields if not f.nullable or f.metadata]
    if said:
        raise SchemaError(
            f"the columns of `{view.uri}` change, and {said} are NOT NULL or have comments, which would be lost; "
            "nothing was written. Add the column to the table first (`DeltaTable.alter.add_columns`), then write "
            "again"
        )


def _refuse_nulls(view: TableView, added: pl.DataFrame) -> None:
    if not view.exists:
        return
    for declared in view.table.schema().fields:
        if not declared.nullable and declared.name in added.columns and added[declared.name].null_count():
            raise SchemaError(
                f"column `{declared.name}` is NOT NULL in `{view.uri}`, but {added[declared.name].null_count()} rows "
                "of the batch are null there; nothing was written"
            )
