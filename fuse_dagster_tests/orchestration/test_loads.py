"""Loads as assets: what is new lands, and the materialization says how far the source was read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
import pytest

from fuse_dagster import DeltaIOManager, compare_keys_job, discover, load_table, load_tables, watermark_check
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.ingest import Ledger, Position, TableSource
from fuse_dagster.orchestration.loads import Load, names_in
from fuse_dagster.tables import Append, History, Overwrite, Upsert, current
from fuse_dagster_tests.ingest.shop import Shop
from fuse_dagster_tests.orchestration.helpers import RANGE_END, RANGE_START, Lake, metadata


@pytest.fixture
def shop() -> Shop:
    return Shop(
        "CREATE TABLE orders (id BIGINT, changed TIMESTAMPTZ, name VARCHAR)",
        "INSERT INTO orders VALUES (1, '2024-01-01 10:00Z', 'a'), (2, '2024-01-02 10:00Z', 'b')",
    )


def _run(lake: Lake, *assets: Any, partition: str | None = None, tags: Any = None) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        assets,
        instance=lake.instance,
        partition_key=partition,
        tags=tags,
        resources={"io_manager": DeltaIOManager(lake=lake.connector)},
    )


def _orders(shop: Shop, **options: Any) -> dg.AssetsDefinition:
    @load_table(**{"mode": Append(), **options})
    def orders() -> TableSource:
        """The orders of the shop."""
        return TableSource(database=shop, table="orders", cursor="changed", timezone="UTC")

    return orders


def test_each_run_brings_what_is_new_and_says_how_far_it_came(lake: Lake, shop: Shop) -> None:
    orders = _orders(shop)
    first = metadata(_run(lake, orders), "orders")
    assert first["rows_loaded"] == 2
    assert (first["watermark_before"], first["watermark_after"]) == ("none", "2024-01-02 10:00:00Z")
    assert first["dagster/last_updated_timestamp"] == datetime.fromisoformat("2024-01-02T10:00Z").timestamp()
    assert first["lag_seconds"] > timedelta(days=300).total_seconds()
    assert first["drift"] == "none"
    shop.do("ALTER TABLE orders ADD COLUMN size INTEGER", "INSERT INTO orders VALUES (3, '2024-01-03 10:00Z', 'c', 7)")
    second = metadata(_run(lake, orders), "orders")
    assert (second["rows_loaded"], second["dagster/row_count"]) == (1, 3)
    assert (second["watermark_before"], second["drift"]) == ("2024-01-02 10:00:00Z", "size: int32 is new")
    third = metadata(_run(lake, orders), "orders")
    assert (third["rows_loaded"], third["committed"]) == (0, False)
    assert orders.descriptions_by_key[dg.AssetKey("orders")] == "The orders of the shop."


def test_freshness_is_told_by_the_watermark_and_not_by_the_run(lake: Lake, shop: Shop) -> None:
    orders = _orders(shop)
    result = _run(
        lake,
        orders,
        watermark_check(orders, stale_after=timedelta(hours=1)),
        watermark_check(orders, stale_after=timedelta(days=9999), name="old_is_fine"),
    )
    assert {one.check_name: one.passed for one in result.get_asset_check_evaluations()} == {
        "watermark_is_fresh": False,
        "old_is_fine": True,
    }
    with pytest.raises(ConfigError, match="above zero"):
        watermark_check(orders, stale_after=timedelta(0))


def test_a_tag_of_the_run_reads_all_anew(lake: Lake, shop: Shop) -> None:
    orders = _orders(shop)
    _run(lake, orders)
    shop.do("DELETE FROM orders WHERE id = 1")
    _run(lake, orders, tags={"fuse/full_refresh": "true"})
    assert lake.rows("orders")["id"].to_list() == [2]


def test_a_partition_is_a_window_of_the_source(lake: Lake, shop: Shop) -> None:
    days = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-05")
    orders = _orders(shop, mode=Overwrite(), partition_by="changed", partitions_def=days)
    for day in ("2024-01-02", "2024-01-01"):
        assert metadata(_run(lake, orders, partition=day), "orders")["rows_loaded"] == 1
    shop.do("UPDATE orders SET name = 'B' WHERE id = 2")
    _run(lake, orders, partition="2024-01-02")
    assert lake.rows("orders").sort("id")["name"].to_list() == ["a", "B"]
    with pytest.raises(ConfigError, match="Name in `partition_by` the cursor"):
        _run(lake, _orders(shop, mode=Overwrite(), partition_by="id", partitions_def=days), partition="2024-01-01")


def test_a_run_loads_windows_that_do_not_adjoin(lake: Lake, shop: Shop) -> None:
    """The second day is no partition: what lies in it is neither read nor replaced."""
    days = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-05", exclusions=[datetime(2024, 1, 2)])  # noqa: DTZ001
    shop.do("INSERT INTO orders VALUES (3, '2024-01-03 10:00Z', 'c'), (4, '2024-01-04 10:00Z', 'd')")
    orders = _orders(
        shop,
        mode=Overwrite(),
        partition_by="changed",
        partitions_def=days,
    )
    both = {RANGE_START: "2024-01-01", RANGE_END: "2024-01-04"}
    assert metadata(_run(lake, orders, tags=both), "orders")["rows_loaded"] == 3
    shop.do("UPDATE orders SET name = 'new'", "INSERT INTO orders VALUES (5, '2024-01-01 23:59:59Z', 'new')")
    assert metadata(_run(lake, orders, tags=both | {RANGE_END: "2024-01-03"}), "orders")["rows_loaded"] == 3
    rows = lake.rows("orders").sort("id").select("id", "name").rows()
    assert rows == [(1, "new"), (3, "new"), (4, "d"), (5, "new")]

    class OneAtATime(_Talker):
        cursor = "changed"

        def schema(self) -> dict[str, pl.DataType]:
            return {"changed": pl.Datetime("us", "UTC")}

        def within(self, start: datetime, end: datetime) -> OneAtATime:
            raise AssertionError((start, end))

    @load_table(mode=Overwrite(), partition_by="changed", partitions_def=days)
    def single() -> _Talker:
        return OneAtATime()

    with pytest.raises(ConfigError, match="2 windows that do not adjoin, and its source reads one at a time"):
        _run(lake, single, tags=both)


def test_a_run_that_waited_states_what_it_read_when_it_read_it(lake: Lake, shop: Shop) -> None:
    """Below what a run has brought that was created later, what it read would not be what holds."""
    mode = History(keys=["id"], deletes="ignore")
    other = _orders(shop, mode=mode)

    @load_table(mode=mode)
    def orders() -> TableSource:
        _run(lake, other)  # created after this one, and faster
        shop.do("UPDATE orders SET name = 'newer', changed = '2024-01-03 10:00Z' WHERE id = 1")
        return TableSource(database=shop, table="orders", cursor="changed")

    _run(lake, orders)
    assert sorted(current(lake.root / "orders").collect()["name"]) == ["b", "newer"]
    assert scan(lake.root / "orders").collect().height == 3


def test_a_change_table_becomes_a_history(lake: Lake, shop: Shop) -> None:
    mode = History(keys=["id"], source="changes", effective_column="changed")
    orders = _orders(shop, mode=mode)
    _run(lake, orders)
    shop.do("INSERT INTO orders VALUES (1, '2024-01-05 10:00Z', 'A')")
    assert metadata(_run(lake, orders), "orders")["updated"] == 1
    assert lake.rows("orders").filter("is_current")["name"].sort().to_list() == ["A", "b"]


def test_snapshots_are_read_whole_and_what_is_gone_ends(lake: Lake, shop: Shop) -> None:
    orders = _orders(shop, mode=Upsert(keys=["id"], absent="delete"))
    _run(lake, orders)
    shop.do("DELETE FROM orders WHERE id = 1")
    assert metadata(_run(lake, orders), "orders")["closed"] == 1
    shop.do("DELETE FROM orders")
    with pytest.raises(Exception, match="allow_empty"):
        _run(lake, orders)


def test_a_function_that_returns_no_source_is_told_so(lake: Lake) -> None:
    @load_table(mode=Append())
    def orders() -> int:
        return 1

    with pytest.raises(ConfigError, match="has to return a source"):
        _run(lake, orders)


def test_drift_is_declared_with_the_asset(lake: Lake, shop: Shop) -> None:
    with pytest.raises(ConfigError, match="Valid: evolve, warn, refuse"):
        _orders(shop, drift="ignore")
    _run(lake, _orders(shop, drift="refuse"))
    shop.do("ALTER TABLE orders ADD COLUMN size INTEGER")
    with pytest.raises(Exception, match="size: int32 is new"):
        _run(lake, _orders(shop, drift="refuse"))
    assert Load(TableSource(database=shop, table="t", cursor="c")).drift == "evolve"


class _Listed:
    def names(self, pattern: str = "*") -> Iterator[str]:
        yield from (name for name in ("public.orders", "public.Order Lines") if pattern == "public.*")


def test_a_list_of_tables_becomes_assets_in_the_groups_of_the_source(lake: Lake, shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "shop.tables"
    with pytest.raises(ConfigError, match="let `discover` do so"):
        names_in(file)
    assert discover(_Listed(), "public.*", into=file) == ["public.Order Lines", "public.orders"]
    with pytest.raises(ConfigError, match="stays as it was"):
        discover(_Listed(), "nothing.*", into=file)
    shop.do("CREATE SCHEMA public", "CREATE TABLE public.orders AS SELECT * FROM orders")

    def source(database: Any, name: str) -> TableSource:
        return TableSource(database=database, table=name, cursor="changed")

    made = load_tables(file, source, connection="shop", mode=lambda _: Upsert(keys=["id"]), key_prefix="bronze")
    keys = [asset.key.to_user_string() for asset in made]
    assert keys == ["bronze/public/Order_Lines", "bronze/public/orders"]
    assert {group for asset in made for group in asset.group_names_by_key.values()} == {"public"}
    result = dg.materialize(
        [made[1]], resources={"io_manager": DeltaIOManager(lake=lake.connector), "shop": shop}, instance=lake.instance
    )
    assert metadata(result, "bronze/public/orders")["rows_loaded"] == 2
    with pytest.raises(ConfigError, match="make one asset key"):
        load_tables(["a.b c", "a.b_c"], source, connection="shop", mode=Append())
    with pytest.raises(ConfigError, match="There are no names"):
        load_tables([], source, connection="shop", mode=Append())


class _Talker:
    """A source whose reading says more of itself."""

    identity = "talker"

    def __init__(self, *told: Any) -> None:
        self.told = list(told)

    @contextmanager
    def read(self, since: Position | None, ledger: Ledger | None = None) -> Iterator[_Talking]:
        del since, ledger
        yield _Talking(self.told.pop(0))


class _Talking:
    def __init__(self, told: Any) -> None:
        self.told = told

    def batches(self) -> pa.RecordBatchReader:
        return pl.DataFrame({"n": [1]}).to_arrow().to_reader()

    def position(self) -> None:
        return None

    def rejected(self) -> pl.DataFrame:
        return pl.DataFrame()

    def landed(self) -> None:
        """Nothing follows."""

    def progress(self) -> Any:
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


def test_what_a_reading_tells_becomes_metadata_to_plot(lake: Lake, caplog: pytest.LogCaptureFixture) -> None:
    odd = {"files": 3, "lag": 0.5, "offsets": {"0": 7}, "note": "x", "rows_loaded": 99, "odd": timedelta(1), "ok": True}
    talker = _Talker(odd, OSError("no numbers today"))

    @load_table(mode=Append())
    def told() -> _Talker:
        return talker

    found = metadata(_run(lake, told), "told")
    assert (found["files"], found["lag"], found["offsets"], found["note"]) == (3, 0.5, {"0": 7}, "x")
    assert (found["rows_loaded"], found["odd"], found["ok"]) == (1, "1 day, 0:00:00", "True"), "what is ours stays ours"
    values = _run(lake, told).asset_materializations_for_node("told")[0].metadata
    assert "files" not in values
    assert values["rows_loaded"] == dg.MetadataValue.int(1)
    assert "no numbers today" in caplog.text


@pytest.mark.parametrize("mode", [Upsert(keys=["id"]), History(keys=["id"], deletes="ignore")])
def test_a_run_with_the_tag_ends_what_is_gone_and_stays_as_fresh_as_it_was(lake: Lake, shop: Shop, mode: Any) -> None:
    orders = _orders(shop, mode=mode)
    loaded = metadata(_run(lake, orders), "orders")
    shop.do("DELETE FROM orders WHERE id = 1", "INSERT INTO orders VALUES (3, '2024-01-01 10:00Z', 'too late')")
    job = compare_keys_job(orders)
    resources = {"io_manager": DeltaIOManager(lake=lake.connector)}
    defs = dg.Definitions(assets=[orders], jobs=[job], resources=resources)
    run = defs.resolve_job_def(job.name).execute_in_process(instance=lake.instance)
    found = metadata(run, "orders")
    assert (found["keys_in_source"], found["keys_in_table"], found["keys_gone"]) == (2, 2, 1)
    assert (found["keys_only_in_source"], found["keys_left"], found["committed"]) == (1, 0, True)
    assert found["dagster/last_updated_timestamp"] == loaded["dagster/last_updated_timestamp"]
    assert found["watermark_after"] == loaded["watermark_after"]
    assert "rows_loaded" not in found
    table = lake.root / "orders"
    rows = scan(table) if isinstance(mode, Upsert) else current(table)
    assert rows.collect()["id"].to_list() == [2]
    again = metadata(_run(lake, orders, tags={"fuse/compare_keys": "true"}), "orders")
    assert (again["keys_gone"], again["committed"]) == (0, False)
    assert metadata(_run(lake, orders), "orders")["rows_loaded"] == 0


def test_a_comparison_that_cannot_be_is_refused(lake: Lake, shop: Shop) -> None:
    days = dg.DailyPartitionsDefinition("2024-01-01")
    with pytest.raises(ConfigError, match=r"(?s)ends nothing by keys.*has partitions"):
        compare_keys_job(_orders(shop, mode=Append(), partitions_def=days, partition_by="changed"))
    with pytest.raises(ConfigError, match="no asset"):
        compare_keys_job()
    tags = {"fuse/compare_keys": "true"}
    parts = _orders(shop, mode=Overwrite(), partitions_def=days, partition_by="changed")
    with pytest.raises(ConfigError, match="has partitions, of which a run reads a part"):
        _run(lake, parts, partition="2024-01-01", tags=tags)

    @load_table(mode=Upsert(keys=["n"]))
    def told() -> _Talker:
        return _Talker()

    with pytest.raises(ConfigError, match="can't list its keys"):
        _run(lake, told, tags=tags)
    with pytest.raises(ConfigError, match="one loads nothing, the other all"):
        _run(lake, _orders(shop, mode=Upsert(keys=["id"])), tags=tags | {"fuse/full_refresh": "true"})
    with pytest.raises(ConfigError, match="Valid: true, false"):
        _run(lake, _orders(shop), tags={"fuse/compare_keys": "yes"})
    empty = metadata(_run(lake, _orders(shop, mode=Upsert(keys=["id"])), tags=tags), "orders")
    assert (empty["keys_in_table"], empty["keys_only_in_source"]) == (0, 2)
