"""Rows that an asset does not take lie in a table beside it: each batch once, also after retries and re-runs."""

from typing import Any

import dagster as dg
import polars as pl
import pytest
from deltalake import DeltaTable

from fuse_dagster import delta_table, history_table
from fuse_dagster.orchestration import rejecting
from fuse_dagster.orchestration.declarations import read_declaration
from fuse_dagster.tables import Append, History, Overwrite, Upsert, WriteMode
from fuse_dagster_tests.orchestration.helpers import Lake, StepFailedError, metadata

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-04")


def planes(rows: dict[str, list[Any]], **options: Any) -> dg.AssetsDefinition:
    @history_table(keys=["tailnum"], null_keys="reject", **options)
    def planes() -> pl.DataFrame:
        return pl.DataFrame(rows)

    return planes


FIRST = {"tailnum": ["N1", None, None], "seats": [1, 2, 3]}


def aside(lake: Lake) -> list[tuple[Any, ...]]:
    return sorted(lake.rows("planes__rejected").select("seats", rejecting.BATCH, "_rejection_reasons").rows())


def test_rejected_rows_lie_beside_the_table(lake: Lake) -> None:
    result = lake.run([planes(FIRST, partitions_def=DAYS)], partition="2024-01-01")
    assert aside(lake) == [(2, "2024-01-01", ["null_key"]), (3, "2024-01-01", ["null_key"])]
    assert lake.rows("planes__rejected")[rejecting.AT].null_count() == 0
    said = metadata(result, "planes")
    assert (said["rejected"], said["inserted"]) == (2, 1)
    assert said["rejected_uri"] == str(lake.root / "planes__rejected")


def test_the_same_batch_again_puts_nothing_aside_twice(lake: Lake) -> None:
    for _ in range(2):
        lake.run([planes(FIRST, partitions_def=DAYS)], partition="2024-01-01")
    assert len(aside(lake)) == 2
    shuffled = {name: values[::-1] for name, values in FIRST.items()}
    lake.run([planes(shuffled, partitions_def=DAYS)], partition="2024-01-01")
    assert len(aside(lake)) == 2


def test_other_rejected_rows_of_the_same_partition_are_not_lost(lake: Lake) -> None:
    lake.run([planes(FIRST, partitions_def=DAYS)], partition="2024-01-01")
    lake.run([planes({"tailnum": ["N1", None], "seats": [1, 9]}, partitions_def=DAYS)], partition="2024-01-01")
    assert [seats for seats, *_ in aside(lake)] == [2, 3, 9]


def test_partitions_have_their_rows_each(lake: Lake) -> None:
    for day in ("2024-01-02", "2024-01-01"):
        lake.run([planes(FIRST, partitions_def=DAYS)], partition=day)
    assert [batch for _, batch, _ in aside(lake)] == ["2024-01-01", "2024-01-02"] * 2


def test_without_partitions_the_root_run_names_the_batch(lake: Lake) -> None:
    result = lake.run([planes(FIRST)])
    assert {batch for _, batch, _ in aside(lake)} == {result.run_id}


def test_nothing_is_put_aside_where_nothing_is_rejected(lake: Lake) -> None:
    result = lake.run([planes({"tailnum": ["N1"], "seats": [1]})])
    assert "rejected_uri" not in metadata(result, "planes")
    assert not DeltaTable.is_deltatable(str(lake.root / "planes__rejected"))


def test_rows_that_cannot_be_put_aside_stop_the_write(lake: Lake) -> None:
    taken = FIRST | {rejecting.BATCH: ["x"] * 3}
    with pytest.raises(StepFailedError, match="which rejected rows get"):
        lake.run([planes(taken)])
    assert not DeltaTable.is_deltatable(str(lake.root / "planes"))


@pytest.mark.parametrize(
    "mode",
    [
        Append(once=["tailnum"], null_keys="reject"),
        Overwrite(replace_keys=["tailnum"], null_keys="reject"),
        Upsert(keys=["tailnum"], null_keys="reject"),
    ],
    ids=["append", "overwrite", "upsert"],
)
def test_every_mode_puts_its_rows_aside(lake: Lake, mode: WriteMode) -> None:
    @delta_table(mode=mode, partitions_def=DAYS)
    def planes() -> pl.DataFrame:
        return pl.DataFrame(FIRST)

    for number in range(2):
        said = metadata(lake.run([planes], partition="2024-01-01"), "planes")
        assert (said["rows_in"], said["inserted"], said["unchanged"], said["rejected"]) == (3, 1 - number, number, 2)
        assert said["rejected_uri"] == str(lake.root / "planes__rejected")
        assert aside(lake) == [(2, "2024-01-01", ["null_key"]), (3, "2024-01-01", ["null_key"])]
    assert lake.rows("planes").rows() == [("N1", 1)]


def test_an_upsert_without_partitions_names_its_batch_after_the_run(lake: Lake) -> None:
    @delta_table(mode=Upsert(keys=["tailnum"], null_keys="reject"))
    def planes() -> pl.DataFrame:
        return pl.DataFrame(FIRST)

    runs = {lake.run([planes]).run_id for _ in range(2)}
    assert {batch for _, batch, _ in aside(lake)} == runs
    assert len(aside(lake)) == 4


def test_a_range_is_one_batch_of_an_upsert(lake: Lake) -> None:
    @delta_table(mode=Upsert(keys=["tailnum"], null_keys="reject"), partitions_def=DAYS)
    def planes() -> pl.DataFrame:
        return pl.DataFrame(FIRST)

    for _ in range(2):
        lake.run([planes], range_=("2024-01-01", "2024-01-02"))
    assert [batch for _, batch, _ in aside(lake)] == ["`2024-01-01`, `2024-01-02`"] * 2


def test_a_run_that_has_rejected_rows_only_succeeds_and_keeps_them(lake: Lake) -> None:
    @delta_table(mode=Upsert(keys=["tailnum"], null_keys="reject"))
    def planes() -> pl.DataFrame:
        return pl.DataFrame(FIRST)[1:]

    said = metadata(lake.run([planes]), "planes")
    assert (said["committed"], said["delta_version"], said["rejected"]) == (False, -1, 2)
    assert len(aside(lake)) == 2
    assert not DeltaTable.is_deltatable(str(lake.root / "planes"))


def test_every_option_goes_through_the_metadata() -> None:
    options: dict[str, Any] = {
        "late": "ignore", "missing_column": "carry", "null_keys": "drop", "retrack": "from_now",
        "max_update_fraction": 0.25,
    }  # fmt: skip

    @history_table(keys=["k"], **options)
    def history() -> pl.DataFrame:
        return pl.DataFrame()

    assert read_declaration(history.metadata_by_key[history.key]).mode == History(keys=["k"], **options)


def test_a_late_partition_can_be_left_out(lake: Lake) -> None:
    for day, seats in (("2024-01-02", 2), ("2024-01-01", 1)):
        result = lake.run(
            [planes({"tailnum": ["N1"], "seats": [seats]}, partitions_def=DAYS, late="ignore")], partition=day
        )
    assert metadata(result, "planes")["rejected"] == 1
    assert lake.rows("planes")["seats"].to_list() == [2]
