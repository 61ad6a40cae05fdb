"""Connections that break at any byte: a read is whole or an error, and a write leaves the old table or the new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from fuse_dagster import MySQL, PostgreSQL
from fuse_dagster.connectors.database import Database
from fuse_dagster.connectors.databases.modes import AppendRows, ReplaceRows, RowsMode, UpsertRows
from fuse_dagster.connectors.databases.partitions import read_parted
from fuse_dagster.core.errors import OutcomeUnknownError, StoreUnavailableError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.ingest import TableSource, load
from fuse_dagster.tables import Append
from fuse_dagster_tests.servers.wire import Wire, wire_before

KINDS = {"postgres": PostgreSQL, "mariadb": MySQL}
ROWS = 600
OLD = pa.table({"id": range(ROWS), "step": [0] * ROWS})
NEW = pa.table({"id": range(ROWS, ROWS + 9), "step": [1] * 9})
OLD_KEYS, NEW_KEYS = dict.fromkeys(range(ROWS), 0), dict.fromkeys(range(ROWS, ROWS + 9), 1)
MODES: dict[str, tuple[RowsMode, dict[int, int]]] = {
    "append": (AppendRows(once="the new"), OLD_KEYS | NEW_KEYS),
    "swap": (ReplaceRows(by="swap"), NEW_KEYS),
    "upsert": (UpsertRows(keys="id"), OLD_KEYS | NEW_KEYS),
}


class Reached:
    """A database, and the same by way of a wire that breaks."""

    def __init__(self, kind: type[Database], login: dict[str, Any], wire: Wire) -> None:
        self.direct = kind(**login)
        self.wired = kind(**login | {"port": wire.port})
        self.wire = wire

    def bytes_back(self, act: Callable[[], object]) -> int:
        """How many bytes come back from the server when nothing breaks."""
        self.wire.calm()
        act()
        return self.wire.longest

    def breaks(self, most: int, times: int) -> Iterator[int]:
        """Break each connection after so many bytes: in a few steps from the first to the last, in small ones there.

        The last answers, of a few bytes each, are those to the last statements and to the commit.
        """
        for after in sorted({most * step // (times - 1) for step in range(times)} | set(range(most - 30, most, 3))):
            self.wire.calm()
            self.wire.cut_after(*[after] * 20)
            yield after
        self.wire.calm()

    def table(self) -> dict[int, int]:
        """Key -> step of all rows, read past the wire."""
        with self.direct.rows("t") as reader:
            found = reader.read_all()
        assert len(set(found["id"].to_pylist())) == found.num_rows, "no key twice"
        return dict(zip(found["id"].to_pylist(), found["step"].to_pylist(), strict=True))


@pytest.fixture(params=KINDS)
def reached(request: pytest.FixtureRequest) -> Iterator[Reached]:
    server = request.getfixturevalue(request.param)
    login = {"host": "127.0.0.1", "user": server.user, "password": server.password, "port": server.port}
    with wire_before(server.port) as wire:
        yield Reached(KINDS[request.param], login | {"database": server.database("broken")}, wire)


def test_a_read_is_whole_or_an_error(reached: Reached) -> None:
    reached.direct.write_rows("t", OLD.to_reader(), UpsertRows(keys="id"))

    def whole() -> list[int]:
        with reached.wired.rows("t") as reader:
            return sorted(reader.read_all()["id"].to_pylist())

    for _ in reached.breaks(reached.bytes_back(whole) - 1, 10):
        with pytest.raises(StoreUnavailableError):
            whole()
    assert whole() == list(range(ROWS))


def test_a_read_in_parts_is_whole_or_an_error(reached: Reached) -> None:
    reached.direct.write_rows("t", OLD.to_reader(), UpsertRows(keys="id"))

    def whole() -> list[int]:
        with read_parted(reached.wired, "t", on="id", connections=3) as reader:
            return sorted(reader.read_all()["id"].to_pylist())

    failed = False
    for _ in reached.breaks(reached.bytes_back(whole) // 2, 8):
        try:
            found = whole()
        except StoreUnavailableError:
            failed = True
        else:
            assert found == list(range(ROWS))
    assert failed
    assert whole() == list(range(ROWS))


@pytest.mark.parametrize("mode", MODES)
def test_a_write_leaves_the_old_table_or_the_new_one(reached: Reached, mode: str) -> None:
    how, new = MODES[mode]

    def anew() -> None:
        with reached.direct.session(writing=True) as connection, connection.cursor() as cursor:
            for name in ("t", "_fuse_loads"):
                cursor.execute(f"DROP TABLE IF EXISTS {name}")
            connection.commit()
        reached.direct.write_rows("t", OLD.to_reader(), UpsertRows(keys="id"))
        # The table of loads is there, as after any other load: each attempt talks as long as the one that was measured.
        reached.direct.write_rows("t", OLD.slice(0, 0).to_reader(), AppendRows(once="the old"))

    def act() -> None:
        reached.wired.write_rows("t", NEW.to_reader(), how)

    anew()
    most = reached.bytes_back(act)
    assert reached.table() == new
    anew()
    for after in reached.breaks(most - 1, 12):
        unknown = False
        try:
            act()
        except OutcomeUnknownError:
            unknown = True
        except StoreUnavailableError:
            assert reached.table() == OLD_KEYS, f"it said that nothing was written, after {after} bytes"
        else:
            assert reached.table() == new, f"it said that all was written, after {after} bytes"
        assert reached.table() in (OLD_KEYS, new)
        if unknown and isinstance(how, AppendRows | UpsertRows):  # may be repeated without a look
            reached.wire.calm()
            act()
            assert reached.table() == new
        if reached.table() == new:
            anew()
    act()
    assert reached.table() == new


def test_a_load_that_breaks_brings_nothing_and_the_next_one_all(reached: Reached, tmp_path: Path) -> None:
    reached.direct.write_rows("t", OLD.to_reader(), UpsertRows(keys="id"))
    table, mode = str(tmp_path / "t"), Append()
    source = TableSource(database=reached.wired, table="t", cursor="id")
    most = reached.bytes_back(lambda: load(source, str(tmp_path / "calm"), mode))
    for _ in reached.breaks(most - 1, 8):
        with pytest.raises(StoreUnavailableError):
            load(source, table, mode)
        assert not (tmp_path / "t" / "_delta_log").exists()
    load(source, table, mode)
    reached.direct.write_rows("t", NEW.to_reader(), UpsertRows(keys="id"))
    for _ in reached.breaks(reached.bytes_back(lambda: load(source, str(tmp_path / "calm"), mode)) - 1, 8):
        with pytest.raises(StoreUnavailableError):
            load(source, table, mode)
    load(source, table, mode)
    assert scan(table).collect()["id"].sort().to_list() == list(range(ROWS + 9))
