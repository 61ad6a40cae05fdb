"""Files are left unread only where their bounds prove that they hold none of the keys."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from fuse_dagster.tables import History, write
from fuse_dagster.tables.pruning import in_key_order, may_hold

BOUND = st.none() | st.integers(-20, 20)
NEW_YEAR = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


def bounds(of: list[tuple[Any, Any]], dtype: Any) -> pl.DataFrame:
    lows, highs = [low for low, _ in of], [high for _, high in of]
    return pl.DataFrame({"min.id": lows, "max.id": highs}, schema={"min.id": dtype, "max.id": dtype})


@pytest.mark.parametrize("text", [False, True])
@given(of=st.lists(st.tuples(BOUND, BOUND), min_size=1, max_size=6), keys=st.lists(st.integers(-25, 25), max_size=6))
def test_a_file_is_read_when_a_key_lies_between_its_bounds_or_one_is_unknown(
    of: list[tuple[int | None, int | None]], keys: list[int], text: bool
) -> None:
    def shown(value: int | None) -> Any:
        return value if value is None or not text else f"{value + 50:03}é"

    files = bounds([(shown(low), shown(high)) for low, high in of], pl.String if text else pl.Int64)
    wanted = pl.DataFrame({"id": [shown(key) for key in keys]}, schema={"id": files.schema["min.id"]})
    found = files.select(may_hold(files, wanted).alias("may") & pl.repeat(True, pl.len())).to_series().to_list()
    if not keys:
        assert not any(found)
        return
    assert found == [low is None or high is None or any(low <= key <= high for key in keys) for low, high in of]


@pytest.mark.parametrize("dtype", [pl.Decimal(10, 2), pl.Datetime("us", "UTC"), pl.Boolean])
def test_bounds_that_are_not_exact_leave_no_file_out(dtype: pl.DataType) -> None:
    files = pl.DataFrame({"min.id": [None], "max.id": [None]}, schema={"min.id": dtype, "max.id": dtype})
    keys = pl.DataFrame({"id": [None]}, schema={"id": dtype})
    assert files.filter(may_hold(files, keys)).height == 1


def test_files_come_by_their_lowest_key() -> None:
    assert in_key_order(bounds([(5, 9), (None, 1), (0, 4)], pl.Int64), "id")["max.id"].to_list() == [1, 4, 9]
    assert in_key_order(pl.DataFrame({"path": ["b", "a"]}), "id")["path"].to_list() == ["b", "a"]


def test_a_batch_with_keys_at_both_ends_leaves_the_files_between_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fuse_dagster.tables.new_files.ROWS_PER_FILE", 100)
    monkeypatch.setattr("fuse_dagster.tables.swapping.SMALL", 50)
    mode = History(keys=["id"], source="changes", effective_column="at")
    keys = pl.DataFrame({"id": range(500), "name": "old"}).with_columns(at=pl.lit(NEW_YEAR))
    assert write(tmp_path, keys, mode).files_added == 5
    files = DeltaTable(tmp_path).file_uris()
    ends = pl.DataFrame({"id": [3, 498], "name": "new"}).with_columns(at=pl.lit(NEW_YEAR + dt.timedelta(days=1)))
    result = write(tmp_path, ends, mode)
    assert (result.updated, result.files_added) == (2, 3)  # two of open versions, one of ended ones
    assert len({*files} & {*DeltaTable(tmp_path).file_uris()}) == 3
    assert pl.read_delta(str(tmp_path)).filter("is_current").height == 500


def test_a_file_stays_sorted_by_its_key(tmp_path: Path) -> None:
    keys = pl.DataFrame({"id": range(500), "name": "old"})
    write(tmp_path, keys, History(keys=["id"], effective_at=NEW_YEAR))
    third = keys.with_columns(name=pl.when(pl.col("id") % 3 == 0).then(pl.lit("new")).otherwise("name"))
    result = write(tmp_path, third, History(keys=["id"], effective_at=NEW_YEAR + dt.timedelta(days=1)))
    assert (result.updated, result.unchanged) == (167, 333)
    assert pl.read_delta(str(tmp_path)).filter("is_current")["id"].is_sorted()
