"""The flight board's tables, loaded: what is new in each, in a group that mirrors the database's schema."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from fuse_dagster.definitions.demo.board import BOARD, KEYS, LOG
from fuse_dagster.definitions.demo.house import mirrored
from fuse_dagster.ingest import TableSource
from fuse_dagster.orchestration.loads import load_tables, names_in
from fuse_dagster.orchestration.watermarks import watermark_check
from fuse_dagster.tables import History, Upsert, WriteMode

NAMES = Path(__file__).with_name("board.tables")
"""The tables of `public.*`, as `discover` writes them."""

LATE = timedelta(minutes=1)
"""How far below the watermark rows are looked for that came late."""

CURSORS = {BOARD: "updated_at", LOG: "changed_at"}

MODES: dict[str, WriteMode] = {
    # The board shows what is there: what is gone is found by comparing.
    BOARD: Upsert(keys=KEYS, absent="delete"),
    # The log says what happened, deletes too: every version of every flight comes of it, from what is new alone.
    LOG: History(
        keys=KEYS,
        source="changes",
        effective_column="changed_at",
        sequence_by="seq",
        delete_when="op = 'D'",
        ignore=["batch"],
    ),
}


def read(board: Any, name: str) -> TableSource:
    """What is read of a table of the board."""
    return TableSource(database=board, table=name, cursor=CURSORS[name], lag=LATE)


TABLES = {
    name: load_tables([name], read, connection="board", mode=MODES[name], pool=name, **mirrored("board"))[0]
    for name in names_in(NAMES)
}

FRESH = watermark_check(TABLES[LOG], stale_after=timedelta(hours=2))
