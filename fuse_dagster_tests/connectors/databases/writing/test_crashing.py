"""A writer that is killed at any moment leaves the old table or the new one, on every system.

`FUSE_SOAK=100` makes the loops that much longer.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from typing import Any

import pyarrow as pa
import pytest

from fuse_dagster.connectors.databases.modes import AppendRows, ReplaceRows, RowsMode, UpsertRows
from fuse_dagster.core.errors import FuseError, OutcomeUnknownError, StoreUnavailableError
from fuse_dagster_tests.connectors.databases.writing.systems import CLASSES, System
from fuse_dagster_tests.soak import SOAK

ROUNDS = SOAK
ROWS = 1_500


def step(number: int) -> tuple[RowsMode, range]:
    """What the write of this number does, and to which keys."""
    if number % 3 == 0:
        return ReplaceRows(by="swap" if number % 2 else "truncate"), range(ROWS)
    if number % 3 == 1:
        return UpsertRows(keys="id"), range(ROWS // 2, ROWS * 2)
    return AppendRows(once=f"batch {number}"), range(number * ROWS * 10, number * ROWS * 10 + ROWS)


def expected(number: int) -> dict[int, int]:
    """Key -> the number of the write that it is of, after this write."""
    found: dict[int, int] = {}
    for one in range(number + 1):
        how, keys = step(one)
        found = {} if isinstance(how, ReplaceRows) else found
        found |= dict.fromkeys(keys, one)
    return found


def write(connector: Any, number: int) -> None:
    how, keys = step(number)
    table = pa.table({"id": list(keys), "step": [number] * len(keys)})
    connector.write_rows("t", table.to_reader(max_chunksize=300), how)


def write_for_ever(connector: Any, first: int) -> None:
    """What the process runs that is killed: it says when a write is done."""
    for number in range(first, first + 1_000_000):
        write(connector, number)
        print(number, flush=True)


def test_a_killed_writer_leaves_the_old_table_or_the_new_one(system: System) -> None:
    system.connector.write_rows("t", pa.table({"id": [-1], "step": [-1]}).to_reader(), UpsertRows(keys="id"))
    write(system.connector, 0)
    done, seen, chance = 0, 0, random.Random(f"{system.name} {ROUNDS}")
    for _ in range(ROUNDS):
        seen += 1
        last = killed_after(system, done + 1, chance.uniform(0.0, 0.4))
        found = dict(system.ask("SELECT id, step FROM t"))
        states = {number: expected(number) for number in (last, last + 1)}
        assert found in states.values(), f"neither {last} nor {last + 1}, but {len(found)} rows"
        # What was cut off is repeated, whether it had been committed or not.
        write(system.connector, last + 1)
        done = last + 1
        assert dict(system.ask("SELECT id, step FROM t")) == expected(done)
        assert system.ours() == []
    assert seen == ROUNDS


def killed_after(system: System, first: int, seconds: float) -> int:
    """Start a writer, kill it some time after its first write, and say which was the last that it finished."""
    given = json.dumps(system.given)
    command = [sys.executable, "-m", __name__, system.name, given, str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = int(process.stdout.readline())
        time.sleep(seconds)
        process.kill()
        return max([last, *(int(line) for line in process.stdout.read().split("\n")[:-1])])


def test_a_connection_that_is_cut_in_the_middle_changes_nothing(postgresql: System) -> None:
    write(postgresql.connector, 0)
    other = "pid <> pg_backend_pid() AND query LIKE 'COPY%'"
    cut = f"SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE {other}"

    def batches() -> Any:
        yield pa.record_batch({"id": list(range(50_000, 250_000)), "step": [1] * 200_000})
        while not postgresql.ask(cut):
            time.sleep(0.01)
        for start in range(300_000, 3_000_000, 100_000):
            yield pa.record_batch({"id": list(range(start, start + 100_000)), "step": [1] * 100_000})

    schema = pa.schema({"id": pa.int64(), "step": pa.int64()})
    with pytest.raises(StoreUnavailableError):
        postgresql.connector.write_rows("t", pa.RecordBatchReader.from_batches(schema, batches()), AppendRows())
    assert dict(postgresql.ask("SELECT id, step FROM t")) == expected(0)


def test_a_connection_that_is_cut_during_the_commit_is_said_to_be_in_doubt(postgresql: System) -> None:
    postgresql.run(
        "CREATE TABLE t (id bigint, step bigint)",
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION cut()",
    )
    table = pa.table({"id": [1], "step": [1]})
    with pytest.raises(OutcomeUnknownError, match="during the commit"):
        postgresql.connector.write_rows("t", table.to_reader(), AppendRows(once="a"))
    postgresql.run("DROP TRIGGER at_commit ON t")
    for repeated in (False, True):
        assert postgresql.connector.write_rows("t", table.to_reader(), AppendRows(once="a")).repeated is repeated
    assert postgresql.ask("SELECT id FROM t") == [(1,)]


def test_rights_that_are_taken_away_change_nothing(postgresql: System) -> None:
    write(postgresql.connector, 0)
    postgresql.run("DROP ROLE IF EXISTS poor", "CREATE ROLE poor LOGIN PASSWORD 'poor'", "GRANT SELECT ON t TO poor")
    connector = CLASSES["postgres"](**{**postgresql.given, "user": "poor", "password": "poor"})
    for number in (1, 2, 3, 6):
        with pytest.raises(FuseError):
            write(connector, number)
    assert dict(postgresql.ask("SELECT id, step FROM t")) == expected(0)
    postgresql.run("DROP OWNED BY poor", "DROP ROLE poor")


def test_two_writers_of_one_batch_write_it_once(postgresql: System) -> None:
    from concurrent.futures import ThreadPoolExecutor

    write(postgresql.connector, 0)
    how, keys = step(2)
    table = pa.table({"id": list(keys), "step": [2] * len(keys)})

    def one(_: int) -> str:
        try:
            done = postgresql.connector.write_rows("t", table.to_reader(), how)
        except FuseError as error:
            return type(error).__name__
        return "repeated" if done.repeated else "written"

    postgresql.connector.write_rows("t", table.slice(0, 0).to_reader(), AppendRows(once="makes the memory"))
    with ThreadPoolExecutor(4) as pool:
        outcomes = sorted(pool.map(one, range(4)))
    assert outcomes.count("written") == 1, outcomes
    assert postgresql.ask(f"SELECT count(*) FROM t WHERE id >= {keys.start}") == [(ROWS,)]


if __name__ == "__main__":
    write_for_ever(CLASSES[sys.argv[1]](**json.loads(sys.argv[2])), int(sys.argv[3]))
