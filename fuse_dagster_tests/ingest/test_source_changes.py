"""What becomes of a table of PostgreSQL between two loads: rights, names, clocks and time zones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fuse_dagster import PostgreSQL
from fuse_dagster.core.errors import FuseError, InputError, NotThereError, StoreError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.ingest import TableSource, load
from fuse_dagster.tables import Append
from fuse_dagster_tests.servers.postgres import PostgresServer

Do = Callable[[str], Any]
READER = "the reader"


@pytest.fixture
def do(postgres: PostgresServer) -> Do:
    """Runs statements in the source, as its owner would."""
    postgres.database("changing")

    def run(text: str) -> Any:
        return postgres.sql(text, "changing")

    run(f"""DROP ROLE IF EXISTS "{READER}"; CREATE ROLE "{READER}" LOGIN PASSWORD 'of the reader';
        CREATE TABLE orders (id int, at timestamptz DEFAULT now(), note text);
        INSERT INTO orders VALUES (1, '2024-01-01 00:00Z', 'a'), (2, '2024-01-02 00:00Z', 'b');
        GRANT SELECT ON orders TO "{READER}";""")
    return run


@pytest.fixture
def shop(do: Do, postgres: PostgresServer) -> PostgreSQL:
    login = {"user": READER, "password": "of the reader", "database": "changing"}
    return PostgreSQL(host="127.0.0.1", port=postgres.port, **login)


def orders(shop: PostgreSQL, **more: Any) -> TableSource:
    return TableSource(**{"database": shop, "table": "orders", "cursor": "at", **more})


def ids(table: Path) -> list[int]:
    return sorted(scan(table).collect()["id"].to_list())


@dataclass(frozen=True)
class Taken:
    """What is taken from the reader, what is said of it, and how it is given back."""

    change: str
    error: type[FuseError]
    words: str
    back: str


TAKEN = {
    "rights": Taken(
        f'REVOKE SELECT ON orders FROM "{READER}"',
        StoreError,
        "permission denied",
        f'GRANT SELECT ON orders TO "{READER}"',
    ),
    "table": Taken(
        "ALTER TABLE orders RENAME TO orders_old",
        NotThereError,
        "orders",
        "ALTER TABLE orders_old RENAME TO orders",
    ),
    "cursor": Taken(
        "ALTER TABLE orders RENAME at TO changed_at",
        InputError,
        "column source.at does not exist",
        "ALTER TABLE orders RENAME changed_at TO at",
    ),
    "login": Taken(f'ALTER ROLE "{READER}" NOLOGIN', StoreError, "user", f'ALTER ROLE "{READER}" LOGIN'),
    "type": Taken(
        "ALTER TABLE orders ALTER at TYPE date",
        InputError,
        "was a timestamp and is a date",
        "ALTER TABLE orders ALTER at TYPE timestamptz",
    ),
}


@pytest.mark.parametrize("taken", TAKEN.values(), ids=TAKEN)
def test_what_was_taken_away_is_named_and_nothing_is_lost(
    shop: PostgreSQL, do: Do, tmp_path: Path, taken: Taken
) -> None:
    table = tmp_path / "orders"
    load(orders(shop), table, Append())
    do(f"INSERT INTO orders VALUES (3, '2024-01-03 00:00Z', 'c'); {taken.change};")
    with pytest.raises(taken.error, match=taken.words):
        load(orders(shop), table, Append())
    assert ids(table) == [1, 2]
    do(f"{taken.back};")
    load(orders(shop), table, Append())
    assert ids(table) == [1, 2, 3]


def test_a_renamed_column_is_drift_that_can_be_refused(shop: PostgreSQL, do: Do, tmp_path: Path) -> None:
    table = tmp_path / "orders"
    source = orders(shop, keys=["id"])
    load(source, table, Append())
    do("ALTER TABLE orders RENAME note TO remark; INSERT INTO orders VALUES (3, '2024-01-03 00:00Z', 'c');")
    with pytest.raises(FuseError, match="remark"):
        load(source, table, Append(), drift="refuse")
    assert ids(table) == [1, 2]
    assert load(source, table, Append()).drift
    assert scan(table).sort("id").collect()["remark"].to_list() == [None, None, "c"]


def test_writers_whose_clocks_differ_need_a_lag_as_long(shop: PostgreSQL, do: Do, tmp_path: Path) -> None:
    ahead = "INSERT INTO orders VALUES (3, '2024-01-03 00:05Z', 'its clock is five minutes fast');"
    behind = "INSERT INTO orders VALUES (4, '2024-01-03 00:00:30Z', 'written after it');"
    table, without = tmp_path / "orders", tmp_path / "without"
    source = orders(shop, lag=timedelta(minutes=5))
    do(ahead)
    load(source, table, Append())
    load(orders(shop), without, Append())
    do(behind)
    load(source, table, Append())
    load(orders(shop), without, Append())
    assert ids(table) == [1, 2, 3, 4]
    assert ids(without) == [1, 2, 3], "what the lag is for"


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kathmandu"])
def test_the_zones_of_writers_and_server_change_no_moment(shop: PostgreSQL, do: Do, tmp_path: Path, zone: str) -> None:
    """Around the hour that New York has twice, and the one that it leaves out."""
    table = tmp_path / "orders"
    do(f"ALTER DATABASE changing SET timezone = '{zone}';")
    moments = ["2024-03-10 06:59Z", "2024-03-10 07:00Z", "2024-11-03 05:30Z", "2024-11-03 06:30Z", "2024-11-03 07:30Z"]
    for number, at in enumerate(moments, start=3):
        do(f"SET timezone = '{zone}'; INSERT INTO orders VALUES ({number}, '{at}', 'x');")
        load(orders(shop), table, Append())
    assert ids(table) == list(range(1, 8))
    found = scan(table).sort("id").collect()["at"]
    assert [f"{at:%Y-%m-%d %H:%MZ}" for at in found][2:] == moments


def test_local_time_that_goes_back_an_hour_needs_a_lag_of_one(shop: PostgreSQL, do: Do, tmp_path: Path) -> None:
    do("ALTER TABLE orders ALTER at TYPE timestamp USING at AT TIME ZONE 'UTC';")
    source = orders(shop, lag=timedelta(hours=1), timezone="America/New_York")
    table = tmp_path / "orders"
    for number, at in ((3, "2024-11-03 01:59"), (4, "2024-11-03 01:00"), (5, "2024-11-03 02:00")):
        do(f"INSERT INTO orders VALUES ({number}, '{at}', 'x');")
        result = load(source, table, Append())
    assert ids(table) == [1, 2, 3, 4, 5]
    assert result.after is not None
    assert f"{result.after.time:%Y-%m-%d %H:%M}" == "2024-11-03 07:00", "freshness is told in UTC"
