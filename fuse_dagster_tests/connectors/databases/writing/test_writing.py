"""Rows into tables of each system that runs here: appended, in place of others, by key; or refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from fuse_dagster.connectors.base import CanWriteRows
from fuse_dagster.connectors.databases.modes import (
    AppendRows,
    Comparison,
    ReplaceRows,
    RowsMode,
    RowsWritten,
    UpsertRows,
)
from fuse_dagster.core.errors import ConfigError, FuseError, InputError, KeyValueError, SchemaError
from fuse_dagster_tests.connectors.databases.writing.systems import System

EVIL = "Robert'); DROP TABLE t; -- \"`%s ? $1 :a {} \\ ü€😀"
NAME = "odd \"x`y] %s ? :a ';--\\"
WALL = dt.datetime(2024, 3, 31, 2, 30, 0, 1)  # noqa: DTZ001 - on the clock, where a zone would not have it
OLD = pa.table({"id": [1, 2], "name": ["a", "b"]})
BY_ID = UpsertRows(keys="id")


def write(system: System, data: pa.Table, how: RowsMode, name: str = "t") -> RowsWritten:
    return system.connector.write_rows(name, data.to_reader(max_chunksize=2), how)


def rows(system: System, name: str = "t", columns: str = "id, name") -> list[Any]:
    return sorted(system.ask(f"SELECT {columns} FROM {name}"), key=repr)


def test_every_type_arrives_as_it_was(system: System) -> None:
    utc = dt.UTC
    data = {
        "id": pa.array([1, 2, 3], pa.int64()),
        "small": pa.array([-128, 127, None], pa.int8()),
        "unsigned": pa.array([0, 2**32 - 1, None], pa.uint32()),
        "real": pa.array([0.1, -1e300, None], pa.float64()),
        "half": pa.array([1.5, -2.25, None], pa.float32()),
        "flag": pa.array([True, False, None]),
        "text": pa.array([EVIL, "", None]),
        "words": pa.array([EVIL, EVIL, None]).dictionary_encode(),
        "blob": pa.array([b"\x00\xff'\\", b"", None]),
        "day": pa.array([dt.date(2024, 2, 29), dt.date(1900, 1, 1), None]),
        "clock": pa.array([dt.time(23, 59, 59, 999999), dt.time(0), None], pa.time64("us")),
        "wall": pa.array([WALL, WALL.replace(year=1900), None], pa.timestamp("us")),
        "moment": pa.array(
            [dt.datetime(2024, 10, 27, 0, 30, 0, 1, tzinfo=utc), dt.datetime(1990, 1, 1, tzinfo=utc), None],
            pa.timestamp("us", "Europe/Berlin"),
        ),
        "exact": pa.array([Decimal("0.10"), Decimal("-99999999999999999999999999.99"), None], pa.decimal128(28, 2)),
        "large": pa.array([2**64 - 1, 0, None], pa.uint64()),
    }
    if system.name == "sqlite":
        del data["exact"], data["large"]
    assert write(system, pa.table(data), BY_ID).created
    names = ", ".join(system.quoted(name) for name in data)
    found = system.ask(f"SELECT {names} FROM t ORDER BY id")
    expected = [tuple(row.values()) for row in pa.table(data).to_pylist()]
    assert [tuple(map(_said, row)) for row in found] == [tuple(map(_said, row)) for row in expected]


def _said(value: object) -> str:
    """A value in one spelling for all systems: drivers hand over times without their zone, or as texts."""
    if isinstance(value, dt.timedelta):
        value = (dt.datetime(1, 1, 1) + value).time()  # noqa: DTZ001 - a time of day
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        value = value.astimezone(dt.UTC).replace(tzinfo=None)
    if isinstance(value, bool | int | Decimal):
        return str(int(value)) if value == int(value) else str(value)
    text = value.isoformat(sep=" ") if isinstance(value, dt.datetime) else str(value)
    text = text.removesuffix("+00:00")
    try:
        number = Decimal(text)
    except ArithmeticError:
        return text
    return str(int(number)) if number == number.to_integral_value() else str(number)


def test_rows_are_appended_replaced_and_upserted(system: System) -> None:
    assert isinstance(system.connector, CanWriteRows)
    assert write(system, OLD, BY_ID).created
    assert write(system, pa.table({"name": ["c"], "id": [3]}), AppendRows()).inserted == 1
    assert rows(system) == [(1, "a"), (2, "b"), (3, "c")]

    merged = write(system, pa.table({"id": [3, 4], "name": ["C", "d"]}), BY_ID)
    assert (merged.inserted, merged.updated) == (1, 1)
    write(system, pa.table({"id": [4, 5], "name": ["?", "e"]}), UpsertRows(keys="id", when_matched="ignore"))
    assert rows(system) == [(1, "a"), (2, "b"), (3, "C"), (4, "d"), (5, "e")]

    where = ((Comparison("id", "in", (1,)),), (Comparison("id", ">=", 3), Comparison("id", "<", 5)))
    write(system, pa.table({"id": [3], "name": ["new"]}), ReplaceRows(where=where))
    assert rows(system) == [(2, "b"), (3, "new"), (5, "e")]

    for by in ("swap", "truncate"):
        write(system, pa.table({"id": [7, 8], "name": [by, None]}), ReplaceRows(by=by))  # type: ignore[arg-type]
        assert rows(system) == [(7, by), (8, None)]
    write(system, OLD.slice(0, 0), ReplaceRows())
    assert rows(system) == []
    write(system, OLD, BY_ID)  # the key has survived it all
    assert write(system, OLD, BY_ID).updated == 2
    assert system.ours() == []


def test_a_batch_of_a_name_is_appended_once(system: System) -> None:
    assert write(system, OLD, AppendRows(once=EVIL)).inserted == 2
    assert write(system, OLD, AppendRows(once=EVIL)).repeated
    assert write(system, OLD, AppendRows(once=EVIL.lower())).inserted == 2
    assert write(system, OLD, AppendRows(once=EVIL), name="another").inserted == 2
    with pytest.raises(SchemaError):
        write(system, pa.table({"nam": ["a"]}), AppendRows(once="broken"))
    assert write(system, OLD.slice(1), AppendRows(once="broken")).inserted == 1
    assert len(rows(system)) == 5


REFUSED: list[tuple[dict[str, Any], RowsMode, type[FuseError], str]] = [
    ({"id": [3], "nam": ["x"]}, AppendRows(), SchemaError, "no column `nam`. Did you mean `name`"),
    ({"id": [3], "small": [40_000_000_000]}, AppendRows(), InputError, "`small` holds a value"),
    ({"id": ["3"]}, AppendRows(), SchemaError, "can't take that without loss"),
    ({"id": [3.5]}, AppendRows(), SchemaError, "can't take that without loss"),
    ({"id": [dt.date(2024, 1, 1)], "small": [True], "x": [1]}, AppendRows(), SchemaError, "no column `x`"),
    ({"id": [3, None]}, BY_ID, KeyValueError, "1 rows have a null key `id`"),
    ({"id": [3, 4, 3]}, BY_ID, KeyValueError, "1 keys `id` stand more than once, in 2 rows"),
    ({"name": ["x"]}, BY_ID, SchemaError, "no key column `id`"),
    ({"id": [3], "name": ["x"]}, UpsertRows(keys="name"), ConfigError, "No unique index of `t`"),
    ({"id": [3]}, ReplaceRows(where=((Comparison("nam", "=", 1),),)), SchemaError, "no column `nam`"),
    ({"id": [4, 1]}, AppendRows(), InputError, ""),
]


def test_what_does_not_fit_is_refused_and_changes_nothing(system: System) -> None:
    lite = system.name == "sqlite"  # whose integers have 64 bits
    write(system, OLD.append_column("small", pa.array([1, 2], pa.int64() if lite else pa.int16())), BY_ID)
    for data, how, error, said in REFUSED:
        if lite and "`small`" in said:
            continue
        with pytest.raises(error) as raised:
            write(system, pa.table(data), how)
        assert said in str(raised.value)
        assert rows(system) == [(1, "a"), (2, "b")]


def test_a_source_that_breaks_leaves_the_table_as_it_was(system: System) -> None:
    write(system, OLD, BY_ID)
    most = 12_000 if system.name.endswith("odbc") else 60_000  # its driver sends one row after the other

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"id": list(range(10, most)), "name": ["x"] * (most - 10)})
        raise OSError("the source is gone")

    for how in (AppendRows(), AppendRows(once="b"), BY_ID, ReplaceRows(), ReplaceRows(by="truncate")):
        with pytest.raises(OSError, match="the source is gone"):
            system.connector.write_rows("t", pa.RecordBatchReader.from_batches(OLD.schema, batches()), how)
        assert rows(system) == [(1, "a"), (2, "b")], how
    write(system, OLD, ReplaceRows())
    assert system.ours() == []


def test_names_and_values_are_never_statements(system: System) -> None:
    write(system, OLD, BY_ID)
    name = '"' + NAME.replace('"', '""') + '"'
    data = pa.table({NAME: [EVIL, "2"], "select": [1, 2]})
    picked = ReplaceRows(where=((Comparison(NAME, "in", (EVIL, "2")),),))
    for how in (UpsertRows(keys=NAME), UpsertRows(keys=[NAME]), ReplaceRows(), ReplaceRows(by="truncate"), picked):
        write(system, data, how, name=name)
    write(system, pa.table({NAME: ["3"]}), AppendRows(once=NAME), name=name)
    quoted = system.quoted(NAME)
    assert sorted(system.ask(f"SELECT {quoted} FROM {quoted}")) == [("2",), ("3",), (EVIL,)]
    assert rows(system) == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("system", ["postgres", "postgres through odbc"], indirect=True)
def test_texts_that_the_system_would_cut_are_refused(system: System) -> None:
    system.run("CREATE TABLE t (k int PRIMARY KEY, four bit(4), three bit varying(3), name text)")
    for name, value in (("four", "010101"), ("four", "01"), ("three", "0101"), ("name", "a\0b")):
        for how in (AppendRows(), UpsertRows(keys="k")):
            with pytest.raises(FuseError):
                write(system, pa.table({"k": [1], name: [value]}), how)
    assert write(system, pa.table({"k": [1], "four": ["0101"], "three": ["01"]}), UpsertRows(keys="k")).inserted == 1
    assert rows(system, columns="k, four::text, three::text") == [(1, "0101", "01")]


def test_what_is_no_name_of_a_table_is_refused(postgresql: System) -> None:
    for name in ("", "a.", '"a', "a.b.c.d", "_fuse_x", "a\0b"):
        with pytest.raises(ConfigError):
            write(postgresql, OLD, AppendRows(), name=name)


def test_nan_is_kept_or_refused(system: System) -> None:
    data = pa.table({"id": [1], "x": [float("nan")]})
    if system.name in {"sqlite", "mariadb"}:
        with pytest.raises(InputError, match="holds NaN"):
            write(system, data, AppendRows())
    else:
        write(system, data, AppendRows())
        assert str(system.ask("SELECT x FROM t")[0][0]) == "nan"


def test_modes_that_say_nothing_are_refused() -> None:
    for wrong in (
        lambda: UpsertRows(keys=[]),
        lambda: UpsertRows(keys=["a", "a"]),
        lambda: UpsertRows(keys="a", when_matched="delete"),  # type: ignore[arg-type]
        lambda: ReplaceRows(by="drop"),  # type: ignore[arg-type]
        lambda: ReplaceRows(where=((),)),
        lambda: AppendRows(once=""),
        lambda: AppendRows(once="x" * 201),
    ):
        with pytest.raises(ConfigError):
            wrong()
