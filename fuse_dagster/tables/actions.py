"""Making a table, and appending or overwriting through delta-rs' own writer: each one commit."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from fuse_dagster.core.errors import ConfigError, PartitionError
from fuse_dagster.tables.commit import Committed, LostRaceError, Ticket, land
from fuse_dagster.tables.schema import refuse_widened
from fuse_dagster.tables.view import TableView, open_view

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
"""What a null partition value is called on disk: a text of this name would be read back as null."""

logger = logging.getLogger(__name__)


def create(
    view: TableView, frame: pl.DataFrame, *, partition_by: Sequence[str] = (), ticket: Ticket | None = None
) -> Committed:
    """Make the table with its first rows.

    Raises:
        LostRaceError: Someone else made it first.
    """
    refuse_layout(frame, partition_by)

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

    return _measured(view, view.files(), land(view, make, ticket=ticket))


def put(
    view: TableView,
    frame: pl.DataFrame,
    *,
    overwrite: bool,
    predicate: str | None = None,
    replace_schema: bool = False,
    widened: Mapping[str, pl.DataType] | None = None,
    ticket: Ticket | None = None,
) -> Committed:
    """Append rows, or overwrite the table or what matches a predicate, through delta-rs' own writer.

    Args:
        view: The view to write on.
        frame: Rows x columns; new columns are added to the table.
        overwrite: Replace rather than append.
        predicate: SQL over the table's columns; only rows it matches are replaced.
        replace_schema: Take the frame's columns and types as they are.
        widened: Columns whose type grows; such a write is refused, because no public call does it in one commit.
        ticket: What the commit is known by.

    Raises:
        LostRaceError: The table has changed since the view was opened.
        SchemaError: A column's type would grow.
    """
    refuse_widened(view.uri, widened or {})
    refuse_marker(frame, view.table.metadata().partition_columns)
    table, before = view.table, view.files()

    def run(props: CommitProperties) -> None:
        if overwrite:
            schema_mode: Literal["merge", "overwrite"] = "overwrite" if replace_schema else "merge"
            write_deltalake(
                table, frame, mode="overwrite", predicate=predicate, schema_mode=schema_mode, commit_properties=props
            )
        else:
            write_deltalake(table, frame, mode="append", schema_mode="merge", commit_properties=props)

    return _measured(view, before, land(view, run, ticket=ticket))


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


def refuse_layout(frame: pl.DataFrame, partition_by: Sequence[str]) -> None:
    """Refuse physical partition columns that a table cannot be laid out by.

    Raises:
        ConfigError: One is not in the frame, or none is left for the files.
        PartitionError: A value is the one that stands for null on disk.
    """
    missing = [name for name in partition_by if name not in frame.columns]
    if missing or (partition_by and len(partition_by) >= frame.width):
        raise ConfigError(
            f"`partition_by` is {list(partition_by)}, but the columns are {frame.columns}: it names columns of the "
            "batch, and leave at least one for the files"
        )
    odd = [name for name in partition_by if not name.isprintable() or set(name) & set("=/\\")]
    if odd:
        raise ConfigError(
            f"`partition_by` names {odd}: no folder can be named by such a column without being read as another; "
            "rename it in the input"
        )
    refuse_marker(frame, partition_by)


def refuse_marker(frame: pl.DataFrame, partition_columns: Sequence[str]) -> None:
    """Refuse the text that a null partition value is called on disk: it would be read back as null.

    Raises:
        PartitionError: A column of the layout holds it.
    """
    for name in partition_columns:
        if name in frame.columns and frame.schema[name] == pl.String and (frame[name] == HIVE_NULL).any():
            raise PartitionError(
                f"column `{name}` lays out the table's files and holds `{HIVE_NULL}`, which is read back as null; "
                "nothing was written. Choose another word for it"
            )
