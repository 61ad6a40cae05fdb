"""The swap: rows out of a table and rows into it, in one commit that touches only the files it must."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from deltalake import Schema
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from fuse_dagster.core.errors import SchemaError, TableStateError
from fuse_dagster.tables.actions import put
from fuse_dagster.tables.commit import Committed, LostRaceError, Ticket, land
from fuse_dagster.tables.files import FileRows
from fuse_dagster.tables.new_files import ROWS_PER_FILE, write_files
from fuse_dagster.tables.rows import ROW, Rows
from fuse_dagster.tables.schema import complete
from fuse_dagster.tables.view import TableView, open_view
from fuse_dagster.tables.weaving import woven

SMALL = 250_000
"""Rows below which what is left of a file is written together with others, so that files don't crumble."""

_NOWHERE = -1


@dataclass(frozen=True, slots=True)
class Swap:
    """Rows to take out of a table and rows to put in, in one commit.

    Attributes:
        rows: The rows that it speaks of.
        removed: Numbers of the rows that go.
        added: Rows that come, with the columns of `schema`.
        schema: The table's columns and types after the commit.
        schema_changes: Whether `schema` differs from the table's.
        apart: Boolean expression, never null, that sends rows to two groups of files; readers then skip one of them.
        updated: `ROW` and columns with new values, for rows that stay; none of them is in `removed`.
        beside: Per row of `added`, the number of the row whose file it should share, or null: what is found together
            stays together.
    """

    rows: Rows
    removed: pl.Series
    added: pl.DataFrame
    schema: Mapping[str, pl.DataType]
    schema_changes: bool = False
    apart: pl.Expr | None = None
    updated: pl.DataFrame | None = None
    beside: pl.Series | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not self.touched and self.added.is_empty() and not self.schema_changes

    @property
    def touched(self) -> list[pl.Series]:
        """Numbers of the rows whose files cannot stay as they are."""
        changed = [] if self.updated is None else [self.updated[ROW]]
        return [numbers for numbers in (self.removed, *changed) if len(numbers)]

    def after(self, rows: pl.DataFrame, near: pl.DataFrame) -> list[pl.DataFrame]:
        """What becomes of neighbouring files, per group: rows that stay, change and come, by their numbers.

        A file that is sorted by its key stays so, and is compared cheaply again. Each group is gathered in one go,
        because rows that are copied twice cost as much as writing them.

        Args:
            rows: All rows of the files, with `ROW`.
            near: Rows that come, with the number of the row that each belongs beside.
        """
        numbers = rows[ROW]
        start = numbers.first() or 0
        kept, others = _without(rows.height, _among(self.removed, numbers) - start), near.select(rows.columns)
        if self.updated is not None and len(mine := self.updated.filter(_within(numbers))):
            kept = kept & _without(rows.height, mine[ROW] - start)
            changed = rows[mine[ROW] - start].with_columns(mine.drop(ROW))
            others = pl.concat([changed.select(rows.columns), others])
        places = (others[ROW] - start).cast(pl.Int64)
        masks = zip(self._masks(rows), self._masks(others), strict=True)
        return [
            woven(rows.drop(ROW), kept & stay, others.drop(ROW).filter(come), places.filter(come))
            for stay, come in masks
        ]

    def groups(self, frame: pl.DataFrame) -> list[pl.DataFrame]:
        """The frame split into its groups of files."""
        return [frame.filter(mask) for mask in self._masks(frame)]

    def _masks(self, frame: pl.DataFrame) -> list[pl.Series]:
        if self.apart is None:
            return [pl.repeat(True, frame.height, eager=True)]
        # A frame of many pieces is copied whole when an expression reads it, so this one reads its own columns only.
        asked = pl.DataFrame([frame[name] for name in self.apart.meta.root_names()])
        mask = asked.select(self.apart.alias(ROW)).to_series()
        return [mask, ~mask]


def only_adding(view: TableView, frame: pl.DataFrame) -> Swap:
    """Rows that come to a table without any that go.

    Args:
        view: The opened table, or its absence.
        frame: Rows x some of its columns, of its types; the others are null.
    """
    schema = view.schema() or dict(frame.schema)
    nothing = pl.Series(ROW, [], dtype=pl.Int64)
    return Swap(FileRows(view, schema, (), (0,)), nothing, complete(frame, schema), schema)


def swap(view: TableView, plan: Swap, *, ticket: Ticket | None = None) -> Committed:
    """Take rows out and put rows in, in one commit; files without such a row are not touched.

    Args:
        view: The view that the plan was made on.
        plan: What goes and what comes.
        ticket: What the commit is known by.

    Raises:
        LostRaceError: The table has changed since the view was opened.
        SchemaError: A row is null in a column that the table declares NOT NULL.
    """
    refuse_nulls(view, plan.added)
    if not view.exists:
        return _make(view, plan, ticket)
    if plan.schema_changes:
        return _rewrite(view, plan, ticket)
    rows = plan.rows
    assert isinstance(rows, FileRows), "only rows of files can be swapped"
    files = rows.holding(plan.touched)
    total = view.count_rows() - len(plan.removed) + plan.added.height
    adds = write_files(view, _new_files(plan, rows, files))
    return replace_files(view, [rows.paths[number] for number in files], adds, rows_total=total, ticket=ticket)


def replace_files(
    view: TableView,
    paths: Sequence[str],
    adds: Sequence[AddAction],
    *,
    rows_total: int,
    data_change: bool = True,
    ticket: Ticket | None = None,
    alone: bool = True,
) -> Committed:
    """Commit that some files go and others come.

    Args:
        view: The view that the files were read from.
        paths: Files that go, as the log names them.
        adds: Files that come.
        rows_total: Rows of the table afterwards.
        data_change: False where the same rows only move.
        ticket: What the commit is known by.
        alone: Whether it may land directly after the view only; else also after commits that leave these files alone.

    Raises:
        LostRaceError: The table has changed since the view was opened.
    """
    now = int(time.time() * 1000)
    removes = [RemoveAction(path, data_change=data_change, deletion_timestamp=now) for path in paths]
    version = land(
        view,
        lambda props: view.table.create_write_transaction(
            [*adds, *removes], mode="append", schema=view.table.schema(), commit_properties=props
        ),
        ticket=ticket,
        alone=alone,
    )
    return Committed(version, len(adds), sum(add.size for add in adds), rows_total)


def mark(view: TableView, *, ticket: Ticket) -> Committed:
    """Commit no data, only the ticket: what it names in the table's memory now holds.

    Raises:
        LostRaceError: The table has changed since the view was opened.
    """
    return replace_files(view, [], [], rows_total=view.count_rows(), ticket=ticket)


def _among(numbers: pl.Series, rows: pl.Series) -> pl.Series:
    """Those of the numbers that are among the rows of neighbouring files."""
    if rows.is_empty():
        return numbers.clear()
    return numbers.filter(numbers.is_between(rows.first(), rows.last()))


def _within(numbers: pl.Series) -> pl.Expr:
    return pl.col(ROW).is_between(numbers.first(), numbers.last())


def _without(height: int, positions: pl.Series) -> pl.Series:
    """A mask that leaves out some positions: cheaper than a join, because rows are numbered without gaps."""
    mask = pl.repeat(True, height, eager=True)
    return mask.scatter(positions, False) if len(positions) else mask


def _make(view: TableView, plan: Swap, ticket: Ticket | None) -> Committed:
    """Make the table with its first rows, in files that are laid out as later ones will be."""
    rows = plan.added.select(*plan.schema)
    adds = write_files(view, plan.groups(rows))
    return make_table(view, plan.schema, adds, rows_total=rows.height, ticket=ticket)


def make_table(
    view: TableView,
    columns: Mapping[str, pl.DataType],
    adds: Sequence[AddAction],
    *,
    rows_total: int,
    ticket: Ticket | None = None,
) -> Committed:
    """Commit the first version of a table.

    Args:
        view: The absence of the table.
        columns: Its columns and types.
        adds: Its files.
        rows_total: Rows in these files.
        ticket: What the commit is known by.

    Raises:
        LostRaceError: Someone else made it first.
    """
    nothing = pl.DataFrame(schema=dict(columns)).to_arrow(compat_level=pl.CompatLevel.oldest())
    schema, options = Schema.from_arrow(nothing.schema), dict(view.storage_options)

    def make(props: object) -> None:
        try:
            create_table_with_add_actions(
                view.uri,
                schema,
                list(adds),
                storage_options=options,
                commit_properties=props,  # type: ignore[arg-type]
            )
        except DeltaError as error:
            if open_view(view.uri, view.storage_options).exists:
                raise LostRaceError from error
            raise

    return Committed(land(view, make, ticket=ticket), len(adds), sum(add.size for add in adds), rows_total)


def _new_files(plan: Swap, rows: FileRows, files: Sequence[int]) -> Iterator[pl.DataFrame]:
    """What is written in place of the touched files: large remains alone, small ones and new rows together."""
    nowhere = pl.Series(ROW, [_NOWHERE], dtype=pl.Int64)
    beside = nowhere.new_from_index(0, plan.added.height) if plan.beside is None else plan.beside.fill_null(_NOWHERE)
    added = plan.added.select(*plan.schema).with_columns(beside.alias(ROW))
    pools: list[list[pl.DataFrame]] = [[] for _ in range(1 if plan.apart is None else 2)]
    placed = pl.lit(False)
    for number in files:
        start, end = rows.starts[number], rows.starts[number + 1]
        here = (pl.col(ROW) >= start) & (pl.col(ROW) < end)
        placed = placed | here
        for pool, part in zip(pools, plan.after(rows.file(number), added.filter(here)), strict=True):
            if part.height >= SMALL:
                yield part
            else:
                pool.append(part)
                yield from _overflow(pool)
    for pool, part in zip(pools, plan.groups(added.filter(~placed).drop(ROW)), strict=True):
        yield pl.concat([*pool, part])


def _overflow(pool: list[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Empty a pool that fills a file, so that no more than one file's rows wait in memory."""
    if sum(part.height for part in pool) >= ROWS_PER_FILE:
        yield pl.concat(pool)
        pool.clear()


def _rewrite(view: TableView, plan: Swap, ticket: Ticket | None) -> Committed:
    """A new or wider column: write the whole table again, in one commit.

    A file swap commits with the old columns whatever its files hold, and a second commit for the schema could be left
    alone by a crash. So this one costs a table, once per new column.
    """
    refuse_lost_promises(view)
    if plan.rows.height != view.count_rows():
        raise TableStateError(
            f"a schema change of `{view.uri}` needs all of its rows, not {plan.rows.height}; nothing was written"
        )
    last = pl.lit(plan.rows.height, dtype=pl.Int64).alias(ROW)
    after = pl.concat(plan.after(plan.rows.frame, plan.added.with_columns(last)))
    return put(view, after, overwrite=True, replace_schema=True, ticket=ticket)


def refuse_lost_promises(view: TableView) -> None:
    """Refuse to change columns that say more than their names and types: a new schema is written from rows alone.

    Raises:
        SchemaError: A column is NOT NULL, has a comment, or is generated.
    """
    said = [f.name for f in view.table.schema().fields if not f.nullable or f.metadata]
    if said:
        raise SchemaError(
            f"the columns of `{view.uri}` change, and {said} are NOT NULL or have comments, which would be lost; "
            "nothing was written. Add the column to the table first (`DeltaTable.alter.add_columns`), then write "
            "again"
        )


def refuse_nulls(view: TableView, added: pl.DataFrame) -> None:
    """Refuse nulls where the table promises that there are none.

    Args:
        view: The opened table, or its absence.
        added: Rows that come, of the table's columns.

    Raises:
        SchemaError: A row is null in a column that the table declares NOT NULL.
    """
    if not view.exists:
        return
    for declared in view.table.schema().fields:
        if not declared.nullable and declared.name in added.columns and added[declared.name].null_count():
            raise SchemaError(
                f"column `{declared.name}` is NOT NULL in `{view.uri}`, but {added[declared.name].null_count()} rows "
                "of the batch are null there; nothing was written"
            )
