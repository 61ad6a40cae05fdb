"""Batches that a table holds already, remembered beside it in the same transaction as their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fuse_dagster.connectors.databases.links import Link

LOADS = "_fuse_loads"
"""The table of batches, in the schema of the tables that they went to."""


def make_memory(link: Link, table: Sequence[str], *, there: bool) -> None:
    """Make the table of batches where there is none.

    Args:
        link: The connection.
        table: The table that batches go to.
        there: Whether the memory is there already.
    """
    if there:
        _hold_place(link, table)
        return
    # Two batches whose names differ in upper and lower case only are two.
    text = "nvarchar" if link.dialect.name == "tsql" else "varchar"
    collation = " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin" if link.dialect.name == "mysql" else ""
    text += "(200) COLLATE Latin1_General_100_BIN2" if link.dialect.name == "tsql" else "(200)"
    columns = (
        f"table_name {text} NOT NULL, batch {text} NOT NULL, loaded_at varchar(40) NOT NULL, "
        "PRIMARY KEY (table_name, batch)"
    )
    guard = "" if link.dialect.name == "tsql" else "IF NOT EXISTS "
    link.run(f"CREATE TABLE {guard}{memory(link, table)} ({columns}){collation}")
    _hold_place(link, table)


def remember(link: Link, table: Sequence[str], batch: str, now: str) -> bool:
    """Remember a batch, in the transaction that is open; whether it was not there yet.

    A second writer of the same batch waits here until the first has committed, or given up.

    Args:
        link: The connection.
        table: The table that the batch goes to.
        batch: Its name.
        now: UTC, as ISO text.
    """
    mark = link.dialect.mark
    if link.dialect.name == "snowflake":  # where keys are not enforced, a row that is there already is the lock
        link.run(
            f"UPDATE {memory(link, table)} SET loaded_at = ? WHERE table_name = ? AND batch = ''",  # noqa: S608
            [now, table[-1]],
        )
    found = link.ask(
        f"SELECT 1 FROM {memory(link, table)} "  # noqa: S608 - of quoted names
        f"WHERE table_name = {mark(1)} AND batch = {mark(2)}",
        [table[-1], batch],
    )
    if found:
        return False
    link.run(
        f"INSERT INTO {memory(link, table)} (table_name, batch, loaded_at) "  # noqa: S608 - of quoted names
        f"VALUES ({mark(1)}, {mark(2)}, {mark(3)})",
        [table[-1], batch, now],
    )
    return True


def _hold_place(link: Link, table: Sequence[str]) -> None:
    """Have the row that a writer of the table locks, in Snowflake, whose INSERT waits for nobody."""
    if link.dialect.name != "snowflake":
        return
    link.run(
        f"INSERT INTO {memory(link, table)} (table_name, batch, loaded_at) SELECT ?, '', '' WHERE NOT EXISTS "  # noqa: S608
        f"(SELECT 1 FROM {memory(link, table)} WHERE table_name = ? AND batch = '')",
        [table[-1], table[-1]],
    )
    link.commit()


def memory(link: Link, table: Sequence[str]) -> str:
    """The name of the table of batches beside a table."""
    return link.path([*table[:-1], LOADS])
