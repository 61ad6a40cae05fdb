"""What a load remembers holds with its rows, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_dagster.core.errors import ConfigError, LoadOvertakenError, SchemaError, TableStateError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.tables import (
    Append,
    History,
    Memo,
    Overwrite,
    Upsert,
    WriteMode,
    checkpoint,
    compact,
    forgotten_memo,
    read_ledger,
    read_memo,
    seen_before,
    vacuum,
    write,
)

CHANGES = History(keys=["id"], source="changes", effective_column="at")
MODES: list[WriteMode] = [
    Append(),
    Append(once="id"),
    Append(partition_by=["id"]),
    Overwrite(),
    Overwrite(predicate="id > 0"),
    Upsert(keys=["id"]),
    CHANGES,
]


def _batch(*numbers: int) -> pl.DataFrame:
    frame = pl.DataFrame(
        {"id": list(numbers), "name": [f"n{n}" for n in numbers]}, schema={"id": pl.Int64, "name": str}
    )
    return frame.with_columns(at=pl.datetime(2024, 1, 1, time_zone="UTC") + pl.duration(days=pl.col("id")))


def _load(table: Path, data: Any, said: bytes, mode: WriteMode | None = None, name: str = "shop", **more: Any) -> Any:
    memo = Memo(name=name, data=said, after=read_memo(table, name), **more)
    return write(table, data, mode or Append(), memo=memo)


def _ids(table: Path) -> list[int]:
    return scan(table).select("id").collect()["id"].sort().to_list()


@pytest.mark.parametrize("mode", MODES, ids=repr)
def test_every_mode_saves_it_in_the_commit_of_its_rows(tmp_path: Path, mode: WriteMode) -> None:
    table = tmp_path / "orders"
    for number in range(1, 4):
        assert _load(table, _batch(number), b"%d" % number, mode).version == number - 1
        assert read_memo(table, "shop").data == b"%d" % number
    nothing = _batch(3) if isinstance(mode, Overwrite) else _batch()
    assert _load(table, nothing, b"4", mode).version == 3
    assert DeltaTable(table).history(1)[0]["version"] == 3
    assert _load(table, nothing, b"4", mode).version is None
    assert read_memo(table, "shop").data == b"4"
    assert _load(table, _batch(5), b"5", mode).committed


def test_a_write_that_is_refused_leaves_it_as_it_was(tmp_path: Path) -> None:
    table = tmp_path / "orders"
    _load(table, _batch(1), b"1")
    with pytest.raises(SchemaError):
        _load(table, pl.DataFrame({"id": ["text"]}), b"2")
    assert (read_memo(table, "shop").data, _ids(table)) == (b"1", [1])


def test_a_function_is_asked_once_after_the_rows_and_what_it_raises_stops_the_commit(tmp_path: Path) -> None:
    seen: list[str] = []

    def rows() -> Iterator[pa.RecordBatch]:
        yield from _batch(1, 2).to_arrow().to_batches()
        seen.append("rows")

    def memo() -> Memo:
        seen.append("memo")
        if len(seen) == 2:
            raise ConfigError("not today")
        return Memo(name="shop", data=b"2")

    schema = _batch().to_arrow().schema
    with pytest.raises(ConfigError, match="not today"):
        write(tmp_path, pa.RecordBatchReader.from_batches(schema, rows()), Append(), memo=memo)
    assert not list(tmp_path.rglob("*.parquet"))
    write(tmp_path, pa.RecordBatchReader.from_batches(schema, rows()), Append(), memo=memo)
    assert seen == ["rows", "memo", "rows", "memo"]
    assert read_memo(tmp_path, "shop").data == b"2"


def test_of_two_loads_of_one_source_the_second_is_refused(tmp_path: Path) -> None:
    _load(tmp_path, _batch(1), b"1")
    start = read_memo(tmp_path, "shop")
    write(tmp_path, _batch(2), Append(), memo=Memo(name="shop", data=b"2", after=start))
    with pytest.raises(LoadOvertakenError, match="Load again"):
        write(tmp_path, _batch(2), Append(), memo=Memo(name="shop", data=b"2", after=start))
    with pytest.raises(LoadOvertakenError):
        write(tmp_path, _batch(2), Append(), memo=Memo(name="shop", data=b"2"))
    assert _ids(tmp_path) == [1, 2]


def test_loads_that_race_land_once(tmp_path: Path) -> None:
    _load(tmp_path, _batch(1), b"1")
    start, landed = read_memo(tmp_path, "shop"), []

    def late() -> Memo:
        # Between the reading and the commit of this load another one lands.
        landed.append(_load(tmp_path, _batch(2), b"2").version)
        return Memo(name="shop", data=b"2", after=start)

    with pytest.raises(LoadOvertakenError):
        write(tmp_path, _batch(2), Append(), memo=late)
    assert (landed, _ids(tmp_path)) == ([1], [1, 2])


def test_loads_of_several_sources_share_a_table(tmp_path: Path) -> None:
    for number, name in enumerate(["shop", "Shop", "../shop", "läden/ö x"]):
        _load(tmp_path, _batch(number), name.encode(), name=name)
    for name in ["shop", "Shop", "../shop", "läden/ö x"]:
        assert read_memo(tmp_path, name).data == name.encode()
    assert {path.parent.parent for path in tmp_path.glob("_fuse/loads/*/*.parquet")} == {tmp_path / "_fuse/loads"}


def test_others_may_write_without_touching_it(tmp_path: Path) -> None:
    _load(tmp_path, _batch(1), b"1")
    write(tmp_path, _batch(7), Append())
    DeltaTable(tmp_path).delete("id = 7")
    assert _load(tmp_path, _batch(2), b"2").inserted == 1
    assert (read_memo(tmp_path, "shop").data, _ids(tmp_path)) == (b"2", [1, 2])


def test_a_history_that_only_a_memo_was_committed_to_is_still_a_history(tmp_path: Path) -> None:
    _load(tmp_path, _batch(1), b"1", CHANGES)
    assert _load(tmp_path, _batch(), b"2", CHANGES).version == 1
    checkpoint(tmp_path)
    vacuum(tmp_path, dry_run=False)
    assert _load(tmp_path, _batch(2), b"3", CHANGES).inserted == 1


def test_a_restored_table_is_refused_until_it_is_loaded_anew(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        _load(tmp_path, _batch(number), b"%d" % number)
    DeltaTable(tmp_path).restore(0)
    with pytest.raises(TableStateError, match=r"was restored to a version before .*full_refresh=True"):
        read_memo(tmp_path, "shop")
    memo = Memo(name="shop", data=b"3", after=forgotten_memo(tmp_path, "shop"), afresh=True)
    write(tmp_path, _batch(1, 2, 3), Overwrite(), memo=memo)
    assert (read_memo(tmp_path, "shop").data, _ids(tmp_path)) == (b"3", [1, 2, 3])


def test_a_restore_that_takes_nothing_away_is_none(tmp_path: Path) -> None:
    _load(tmp_path, _batch(1), b"1")
    write(tmp_path, _batch(2), Append())
    DeltaTable(tmp_path).restore(0)
    assert read_memo(tmp_path, "shop").data == b"1"


def test_a_restore_undone_is_none(tmp_path: Path) -> None:
    for number in (1, 2):
        _load(tmp_path, _batch(number), b"%d" % number)
    DeltaTable(tmp_path).restore(0)
    with pytest.raises(TableStateError, match="restore to version 1"):
        read_memo(tmp_path, "shop")
    DeltaTable(tmp_path).restore(1)
    assert (read_memo(tmp_path, "shop").data, _ids(tmp_path)) == (b"2", [1, 2])


@pytest.mark.parametrize("damage", ["removed", "cut", "cloned", "log"])
def test_a_lost_memory_is_no_first_load(tmp_path: Path, damage: str) -> None:
    table = tmp_path / "orders"
    for number in (1, 2):
        _load(table, _batch(number), b"%d" % number)
    newest = max(table.glob("_fuse/loads/*/*.parquet"))
    if damage == "removed":
        newest.unlink()
    elif damage == "cut":
        newest.write_bytes(newest.read_bytes()[:40])
    elif damage == "cloned":
        shutil.copytree(table, tmp_path / "clone", ignore=shutil.ignore_patterns("_fuse"))
        table = tmp_path / "clone"
    else:
        shutil.rmtree(table / "_delta_log")
    with pytest.raises(TableStateError, match="full_refresh=True"):
        read_memo(table, "shop")


def test_what_killed_loads_left_is_neither_read_nor_kept(tmp_path: Path) -> None:
    _load(tmp_path, _batch(1), b"1")
    first = next(tmp_path.glob("_fuse/loads/*/*.parquet"))
    half = first.with_name(f"{1:020d}-{'a' * 32}.parquet")  # killed before its commit, and another was faster
    half.write_bytes(first.read_bytes()[:40])
    ahead = first.with_name(f"{2:020d}-{'b' * 32}.parquet")
    ahead.write_bytes(b"half")
    assert read_memo(tmp_path, "shop").data == b"1"
    _load(tmp_path, _batch(2), b"2")
    assert not ahead.exists()
    assert read_memo(tmp_path, "shop").data == b"2"
    for number in range(3, 40):
        _load(tmp_path, _batch(number), b"%d" % number)
    assert not half.exists()
    assert len(list(first.parent.iterdir())) <= 20


def test_upkeep_keeps_it(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        entries = pl.DataFrame({"id": [f"file-{number}"]})
        _load(tmp_path, _batch(number), b"%d" % number, entries=entries)
    compact(tmp_path)
    checkpoint(tmp_path)
    DeltaTable(tmp_path).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
    memory = read_memo(tmp_path, "shop")
    assert memory.data == b"3"
    assert seen_before(tmp_path, memory, {"file-1", "file-4"}) == {"file-1"}


@settings(max_examples=15, deadline=None)
@given(loads=st.lists(st.sets(st.text(min_size=1, max_size=3), max_size=6), max_size=8))
def test_a_ledger_is_a_set(tmp_path_factory: pytest.TempPathFactory, loads: list[set[str]]) -> None:
    table, known = tmp_path_factory.mktemp("ledger"), set[str]()
    for number, ids in enumerate(loads):
        _load(table, _batch(number), b"", entries=pl.DataFrame({"id": sorted(ids)}, schema={"id": pl.String}))
        known |= ids
        asked = known | {"a", "zz", ""}
        assert seen_before(table, read_memo(table, "shop"), asked) == known & asked
    assert set(read_ledger(table, "shop")["id"]) == known


def test_a_ledger_grows_by_what_is_new_only(tmp_path: Path) -> None:
    _load(tmp_path, _batch(0), b"0", entries=pl.DataFrame({"id": [f"{n:08x}" for n in range(50_000)]}))
    big = max(tmp_path.glob("_fuse/loads/*/ids-*"), key=lambda path: path.stat().st_size)
    for number in range(1, 30):
        _load(tmp_path, _batch(number), b"%d" % number, entries=pl.DataFrame({"id": [f"new-{number}"]}))
    memory = read_memo(tmp_path, "shop")
    assert big.name == memory.segments[0].file, "the many are not written again for a few"
    assert [one.rows for one in memory.segments] == [50_000, 16, 8, 4, 1]
    assert len(list(big.parent.glob("ids-*"))) <= 40


def test_entries_without_an_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="column `id` of text"):
        _load(tmp_path, _batch(1), b"1", entries=pl.DataFrame({"id": [1]}))
    assert not (tmp_path / "_delta_log").exists()


def test_a_load_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="empty name"):
        _load(tmp_path, _batch(1), b"1", name=" ")


def test_spark_takes_no_loads(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Leave `spark` out"):
        write(tmp_path, _batch(1), Append(), memo=Memo(name="shop", data=b""), spark=object())  # type: ignore[arg-type]
