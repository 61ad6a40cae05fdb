"""SIGKILL at random moments, while several transactions at a time change PostgreSQL: nothing lost, nothing doubled.

By default three of the ways to load are tried; `FUSE_SOAK` tries all, and multiplies the rounds.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fuse_dagster.engines.local.reading import scan
from fuse_dagster.ingest import TableSource, load
from fuse_dagster.tables import Append, History, Upsert, WriteMode
from fuse_dagster_tests.ingest.killing import kill_loads
from fuse_dagster_tests.ingest.shop_floor import LAG, Clerks, ShopFloor
from fuse_dagster_tests.servers.postgres import PostgresServer
from fuse_dagster_tests.soak import SOAK
from fuse_dagster_tests.tables.oracle import ABSENT, Statement, of_changes

pytest.importorskip("adbc_driver_postgresql")

ROUNDS = 2 * SOAK
SETTLED = "SELECT * FROM visits WHERE xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
Rows = list[tuple[Any, ...]]


def _visits(held: pl.DataFrame, shop: ShopFloor) -> tuple[Rows, Rows]:
    """Every visit, also those that are equal."""
    return held.select("door", "stamp", "xid").rows(), shop.rows("SELECT door, stamp, xid FROM visits")


def _orders(held: pl.DataFrame, shop: ShopFloor) -> tuple[Rows, Rows]:
    """Every order as it is. Of those that were deleted a load by a cursor hears nothing: it holds what once was so."""
    expected = shop.rows("SELECT id, stamp, name FROM orders")
    there, found = {row[0] for row in expected}, held.select("id", "stamp", "name").rows()
    assert {row for row in found if row[0] not in there} <= set(shop.rows("SELECT id, stamp, name FROM changes"))
    return [row for row in found if row[0] in there], expected


def _live(held: pl.DataFrame, shop: ShopFloor) -> tuple[Rows, Rows]:
    """The orders that there are, and no others."""
    live = held.filter(~pl.col("gone")) if "gone" in held.columns else held
    return live.select("id", "stamp", "name").rows(), shop.rows("SELECT id, stamp, name FROM orders")


def _versions(held: pl.DataFrame, shop: ShopFloor) -> tuple[Rows, Rows]:
    """Every version that an order ever had."""
    said = [
        Statement(key, at, ABSENT if op == "D" else name, sequence)
        for key, at, op, name, sequence in shop.rows("SELECT id, stamp, op, name, lsn FROM changes")
    ]
    return held.select("id", "name", "valid_from", "valid_to").rows(), list(of_changes(said))


@dataclass(frozen=True)
class Way:
    """How rows are loaded, and what the table should hold then."""

    mode: WriteMode
    compared: Callable[[pl.DataFrame, ShopFloor], tuple[Rows, Rows]]
    source: Mapping[str, Any] = field(default_factory=dict)


WAYS = {
    "append": Way(Append(), _visits, {"table": "visits"}),
    "upsert": Way(Upsert(keys=["id"]), _orders, {"table": "orders"}),
    "changes to history": Way(
        History(
            keys=["id"],
            source="changes",
            effective_column="stamp",
            sequence_by="lsn",
            delete_when="op = 'D'",
            ignore=["op"],
        ),
        _versions,
        {"table": "changes"},
    ),
    "changes to upsert": Way(
        Upsert(keys=["id"], sequence_by="lsn", delete_when="op = 'D'", soft_delete="gone"), _live, {"table": "changes"}
    ),
    "append of what is settled": Way(
        Append(), _visits, {"query": SETTLED, "name": "visits", "cursor": "xid", "lag": None}
    ),
    "upsert of all": Way(Upsert(keys=["id"], absent="delete", max_delete_fraction=None), _live, {"table": "orders"}),
}


def source_of(shop: ShopFloor, said: Mapping[str, Any]) -> TableSource:
    """What a way reads."""
    return TableSource(database=shop.connector(), **{"cursor": "stamp", "lag": LAG, **said})


@pytest.mark.parametrize("name", list(WAYS)[: None if SOAK > 1 else 3])
def test_loads_that_are_killed_lose_and_double_nothing(postgres: PostgresServer, tmp_path: Path, name: str) -> None:
    shop, table, way = ShopFloor.made(postgres, "killed"), tmp_path / "table", WAYS[name]
    source = partial(source_of, shop, way.source)
    with Clerks(shop):
        tally = kill_loads(source, table, way.mode, rounds=ROUNDS, chance=random.Random(name))
    load(source(), table, way.mode)
    held, expected = way.compared(scan(table).collect(), shop)
    print(f"PostgreSQL, {name}: {tally}; {len(expected)} rows expected, {len(held)} found")
    assert Counter(held) == Counter(expected)
    assert tally.killed >= ROUNDS / 2
    again = load(source(), table, way.mode).written
    assert again.files_added == 0
    assert way.mode.is_whole_truth or again.version is None, "nothing new is no commit"


def test_rows_of_a_transaction_longer_than_the_lag(postgres: PostgresServer, tmp_path: Path) -> None:
    """No lag finds them; what reads only what is settled waits for them, and has them all."""
    shop = ShopFloor.made(postgres, "late")
    lagging = source_of(shop, {"table": "visits", "lag": timedelta(milliseconds=1)})
    settled = source_of(shop, WAYS["append of what is settled"].source)
    with closing(shop.connector().connect(writing=True)) as slow, slow.cursor() as cursor:
        cursor.execute("INSERT INTO visits (door) VALUES (1)")
        postgres.sql("SELECT pg_sleep(0.01); INSERT INTO visits (door) VALUES (2);", shop.database)
        assert load(lagging, tmp_path / "lagging", Append()).rows == 1
        assert load(settled, tmp_path / "settled", Append()).rows == 0, "the second came after one that is open"
        slow.commit()
    assert load(lagging, tmp_path / "lagging", Append()).rows == 0, "the first began before the lag"
    assert load(settled, tmp_path / "settled", Append()).rows == 2
    assert load(settled, tmp_path / "settled", Append()).written.version is None
