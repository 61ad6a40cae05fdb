"""The rights that the pages say a writer needs: with them it writes, and without any one of them it does not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pytest

from fuse_dagster.connectors.databases.modes import AppendRows, Comparison, ReplaceRows, RowsMode, UpsertRows
from fuse_dagster.core.errors import FuseError
from fuse_dagster_tests.connectors.databases.writing.systems import System

NEW = pa.table({"id": [2, 3], "step": [1, 1]})
MODES: dict[str, RowsMode] = {
    "append": AppendRows(),
    "once": AppendRows(once="a"),
    "upsert": UpsertRows(keys="id"),
    "partition": ReplaceRows(where=((Comparison("step", "=", 0),),)),
    "truncate": ReplaceRows(by="truncate"),
    "swap": ReplaceRows(by="swap"),
}
POSTGRES = {
    "append": ["INSERT ON t"],
    "once": ["INSERT ON t", "SELECT ON _fuse_loads", "INSERT ON _fuse_loads"],
    "upsert": ["SELECT ON t", "INSERT ON t", "UPDATE ON t"],
    "partition": ["SELECT ON t", "INSERT ON t", "DELETE ON t"],
    "truncate": ["INSERT ON t", "TRUNCATE ON t"],
    "swap": ["owner", "CREATE ON SCHEMA public"],
}
MYSQL = {
    "append": ["INSERT ON t"],
    "once": ["INSERT ON t", "SELECT ON _fuse_loads", "INSERT ON _fuse_loads"],
    "upsert": ["SELECT ON t", "INSERT ON t", "UPDATE ON t", "CREATE TEMPORARY TABLES ON *"],
    "partition": ["SELECT ON t", "INSERT ON t", "DELETE ON t"],
    "truncate": ["INSERT ON t", "DELETE ON t"],
    "swap": ["SELECT ON *", "INSERT ON *", "CREATE ON *", "ALTER ON *", "DROP ON *"],
}
AFTER = {
    "append": [(1, 0), (2, 0), (2, 1), (3, 1)],
    "once": [(1, 0), (2, 0), (2, 1), (3, 1)],
    "upsert": [(1, 0), (2, 1), (3, 1)],
    "partition": [(2, 1), (3, 1)],
    "truncate": [(2, 1), (3, 1)],
    "swap": [(2, 1), (3, 1)],
}


@pytest.mark.parametrize("mode", MODES)
def test_postgres(postgresql: System, mode: str) -> None:
    prove(postgresql, mode, POSTGRES[mode])


@pytest.mark.parametrize("mode", MODES)
def test_mysql(mysql: System, mode: str) -> None:
    prove(mysql, mode, MYSQL[mode])


def test_what_a_killed_swap_left_stops_nobody_who_may_not_drop_it(mysql: System) -> None:
    mysql.run("CREATE TABLE t (id bigint NOT NULL, step bigint)")
    left = [f"_fuse_{hashlib.sha256(b't').hexdigest()[:16]}_{end}" for end in ("new", "old")]
    mysql.run(*(f"CREATE TABLE {name} (id bigint)" for name in left))
    with somebody(mysql, ["SELECT ON *", "INSERT ON *"]) as writer:
        writer.connector.write_rows("t", NEW.to_reader(), AppendRows())
    assert sorted(mysql.ours()) == left
    mysql.connector.write_rows("t", NEW.to_reader(), AppendRows())
    assert mysql.ours() == []
    assert mysql.ask("SELECT count(*) FROM t") == [(4,)]


def prove(system: System, mode: str, rights: Sequence[str]) -> None:
    key = ", UNIQUE (id)" if mode == "upsert" else ""
    system.run(f"CREATE TABLE t (id bigint NOT NULL, step bigint{key})", "INSERT INTO t VALUES (1, 0), (2, 0)")
    system.connector.write_rows("t", NEW.slice(0, 0).to_reader(), AppendRows(once="makes the memory"))
    for lacking in rights:
        with somebody(system, [right for right in rights if right != lacking]) as writer:
            with pytest.raises(FuseError):
                writer.connector.write_rows("t", NEW.to_reader(), MODES[mode])
            assert sorted(system.ask("SELECT id, step FROM t")) == [(1, 0), (2, 0)], f"without {lacking}"
    with somebody(system, rights) as writer:
        writer.connector.write_rows("t", NEW.to_reader(), MODES[mode])
        assert sorted(system.ask("SELECT id, step FROM t")) == AFTER[mode]


@contextmanager
def somebody(system: System, rights: Sequence[str]) -> Iterator[System]:
    """Who has nothing but some rights."""
    if system.name == "postgres":
        texts = ["CREATE ROLE writer LOGIN PASSWORD 'of-the-writer'"]
        texts += [
            "ALTER TABLE t OWNER TO writer" if right == "owner" else f"GRANT {right} TO writer" for right in rights
        ]
        after = ["REASSIGN OWNED BY writer TO CURRENT_USER", "DROP OWNED BY writer", "DROP ROLE writer"]
    else:
        database = system.given["database"]
        texts = ["CREATE USER writer IDENTIFIED BY 'of-the-writer'", f"GRANT SHOW VIEW ON {database}.* TO writer"]
        texts += [f"GRANT {right.replace('ON ', f'ON {database}.')} TO writer" for right in rights]
        after = ["DROP USER writer"]
    system.run(*texts)
    try:
        yield System(system.name, {**system.given, "user": "writer", "password": "of-the-writer"})
    finally:
        system.run(*after)
