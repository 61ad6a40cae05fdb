"""Commits: one write is one version, its outcome is known, and nobody else's commit slips in between.

Each commit is planned on a view and allowed to land only directly after it (`max_commit_retries=0`): anything that came
in between makes a conflict, and the caller plans again on what is there now. Outcomes are failed, unknown, or done; a
failure is believed only after the table's log was asked for this write's own identifier.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import RemoveAction

from fuse_dagster.core.errors import ConflictError, OutcomeUnknownError, SchemaError, TableStateError
from fuse_dagster.tables.files import FileRows, write_files
from fuse_dagster.tables.view import TableView, open_view

APP_ID = "fuse_dagster"
_WRITE_ID = "fuse_dagster.write"
_ATTEMPTS = 30
_LONGEST_PAUSE = 2.0

logger = logging.getLogger(__name__)


class LostRaceError(Exception):
    """Another commit came first; plan again. Never leaves this room."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit that is known to have landed.

    Attributes:
        version: The table version it made.
        files_added: Data files written.
        bytes_added: Bytes of these files.
    """

    version: int
    files_added: int = 0
    bytes_added: int = 0


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


def attempts(uri: str) -> Iterator[int]:
    """Tries of one write, with growing, jittered pauses between them.

    Raises:
        ConflictError: After the last try.
    """
    for attempt in range(_ATTEMPTS):
        yield attempt
        pause = min(_LONGEST_PAUSE, 0.02 * 2**attempt) * random.SystemRandom().uniform(0.5, 1.5)
        logger.info("another writer changed %s first; planning again in %.2f s (try %d)", uri, pause, attempt + 1)
        time.sleep(pause)
    raise ConflictError(
        f"`{uri}` was changed by other writers at each of {_ATTEMPTS} tries; nothing was written. Run this again, or "
        "let one writer at a time have the table (a Dagster pool)"
    )


def next_transaction(view: TableView) -> int:
    """A transaction version above the table's last and, by 40 random bits, unlike any that a racing writer picks."""
    last = view.table.transaction_version(APP_ID) if view.exists else None
    return (last or 0) + 1 + random.SystemRandom().getrandbits(40)


def swap(view: TableView, plan: Swap, *, transaction: int) -> Committed:
    """Take rows out and put rows in, in one commit; files without a removed row are not touched.

    Args:
        view: The view that the plan was made on.
        plan: What goes and what comes.
        transaction: From `next_transaction`; makes two such commits exclude each other.

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
    adds = write_files(view, plan.groups(after))
    now = int(time.time() * 1000)
    removes = [RemoveAction(path, data_change=True, deletion_timestamp=now) for path in paths]
    version = _land(
        view,
        lambda props: view.table.create_write_transaction(
            [*adds, *removes], mode="append", schema=view.table.schema(), commit_properties=props
        ),
        transaction=transaction,
    )
    return Committed(version, len(adds), sum(add.size for add in adds))


def mark(view: TableView, *, transaction: int) -> Committed:
    """Commit no data, only the transaction: what it names in the table's memory now holds.

    Raises:
        LostRaceError: The table has changed since the view was opened.
    """
    version = _land(
        view,
        lambda props: view.table.create_write_transaction(
            [], mode="append", schema=view.table.schema(), commit_properties=props
        ),
        transaction=transaction,
    )
    return Committed(version)


def create(
    view: TableView, frame: pl.DataFrame, *, partition_by: Sequence[str] = (), transaction: int | None = None
) -> Committed:
    """Make the table with its first rows.

    Raises:
        LostRaceError: Someone else made it first.
    """

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

    return _measured(view, view.files(), _land(view, make, transaction=transaction))


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
        transaction: From `next_transaction`, where the commit must exclude others.

    Raises:
        LostRaceError: The table has changed since the view was opened.
        SchemaError: A column's type would grow.
    """
    if widened:
        raise SchemaError(
            f"columns {list(widened)} need a wider type than `{view.uri}` has; overwrite the whole table "
            "once, or cast them "
            "in the asset. Nothing was written"
        )
    table, before = view.table, view.files()

    def run(props: CommitProperties) -> None:
        if overwrite:
            schema_mode: Literal["merge", "overwrite"] = "overwrite" if replace_schema else "merge"
            write_deltalake(
                table, frame, mode="overwrite", predicate=predicate, schema_mode=schema_mode, commit_properties=props
            )
        else:
            write_deltalake(table, frame, mode="append", schema_mode="merge", commit_properties=props)

    return _measured(view, before, _land(view, run, transaction=transaction))


def _rewrite(view: TableView, plan: Swap, *, transaction: int) -> Committed:
    """A new or wider column: write the whole table again, in one commit.

    A file swap commits with the old columns whatever its files hold, and a second commit for the schema could be left
    alone by a crash. So this one costs a table, once per new column.
    """
    files = view.files()
    if set(files["path"]) != set(plan.rows.paths):
        raise TableStateError(
            f"a schema change of `{view.uri}` needs all of its files read, not {len(plan.rows.paths)}"
        )
    stay = plan.rows.frame.join(plan.removed.to_frame("__row"), on="__row", how="anti")
    after = pl.concat([stay.select(*plan.schema), plan.added.select(*plan.schema)])
    return put(view, pl.concat(plan.groups(after)), overwrite=True, replace_schema=True, transaction=transaction)


def _land(view: TableView, commit: Callable[[CommitProperties], None], *, transaction: int | None) -> int:
    """Run a commit and find out what became of it.

    Returns:
        The version it made.

    Raises:
        LostRaceError: It did not land because the table had changed.
        OutcomeUnknownError: It failed and the log could not be read.
    """
    write_id, planned = uuid.uuid4().hex, view.version + 1  # delta-rs' writer moves the opened table on
    properties = CommitProperties(
        custom_metadata={_WRITE_ID: write_id},
        max_commit_retries=0,
        app_transactions=None if transaction is None else [Transaction(APP_ID, transaction)],
    )
    try:
        commit(properties)
    except (DeltaError, OSError, LostRaceError) as error:
        landed = _look_up(view, write_id, planned - 1, error)
        if landed is not None:
            return landed
        if isinstance(error, LostRaceError | CommitFailedError):
            raise LostRaceError from error
        raise TableStateError(
            f"writing to `{view.uri}` failed, and nothing was written: {str(error).strip().splitlines()[0]}"
        ) from error
    return planned


def _look_up(view: TableView, write_id: str, since: int, error: Exception) -> int | None:
    """Version in which this write landed after all, by the log; None where it did not."""
    try:
        now = open_view(view.uri, view.storage_options)
        recent = now.table.history(now.version - since) if now.version > since else []
    except (TableStateError, DeltaError, OSError) as unreadable:
        raise OutcomeUnknownError(
            f"the commit to `{view.uri}` failed ({str(error).strip().splitlines()[0]}) and its log cannot "
            "be read to see "
            f"whether it landed; once the store answers, look for `{write_id}` in the table's history before repeating"
        ) from unreadable
    return next((int(entry["version"]) for entry in recent if entry.get(_WRITE_ID) == write_id), None)


def _measured(view: TableView, before: pl.DataFrame, version: int) -> Committed:
    """Files that a commit of delta-rs' own writer added: those of its version that were not there before."""
    table = DeltaTable(view.uri, version=version, storage_options=dict(view.storage_options))
    after = pl.DataFrame(table.get_add_actions(flatten=True))
    new = after.join(before.select("path"), on="path", how="anti")
    return Committed(version, new.height, int(new["size_bytes"].sum()))


def _refuse_nulls(view: TableView, added: pl.DataFrame) -> None:
    if not view.exists:
        return
    for declared in view.table.schema().fields:
        if not declared.nullable and declared.name in added.columns and added[declared.name].null_count():
            raise SchemaError(
                f"column `{declared.name}` is NOT NULL in `{view.uri}`, but "
                f"{added[declared.name].null_count()} rows of "
                "the batch are null there; nothing was written"
            )
