"""The guard against a snapshot that changes too much: in order, late, as a correction, and what it says."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fuse_dagster.core.errors import FuseError, UpdateGuardError
from fuse_dagster.tables import History, write

KEYS = list("abcd")


def at(day: int, fraction: float | None = 0.5) -> History:
    return History(keys=["k"], effective_at=dt.date(2024, 1, day), max_update_fraction=fraction)


def snapshot(*values: int) -> pl.DataFrame:
    return pl.DataFrame({"k": KEYS[: len(values)], "v": values}, schema_overrides={"v": pl.Int64})


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Four keys with 0 from the 1st and with 9 from the 9th."""
    uri = str(tmp_path / "t")
    write(uri, snapshot(0, 0, 0, 0), at(1))
    write(uri, snapshot(9, 9, 9, 9), at(9, None))
    return uri


def refused(table: str, data: pl.DataFrame, mode: Any) -> str:
    before = pl.read_delta(table)
    with pytest.raises(UpdateGuardError) as caught:
        write(table, data, mode)
    assert isinstance(caught.value, FuseError)
    assert isinstance(caught.value, ValueError)
    assert pl.read_delta(table).equals(before)
    return str(caught.value)


def test_in_order(table: str) -> None:
    said = refused(table, snapshot(1, 1, 1, 9), at(10))
    assert "the snapshot of 2024-01-10T00:00:00+00:00 changes 3 of 4 keys (75.0%; at the most 50.0%)" in said
    assert "shifted columns" in said
    assert "raise `max_update_fraction`" in said
    assert write(table, snapshot(1, 1, 9, 9), at(10)).updated == 2, "exactly the share is let through"


def test_late(table: str) -> None:
    assert "changes 3 of 4 keys" in refused(table, snapshot(1, 1, 1, 0), at(5))
    assert write(table, snapshot(1, 1, 0, 0), at(5)).updated == 2


def test_a_correction(table: str) -> None:
    assert "changes 4 of 4 keys" in refused(table, snapshot(1, 1, 1, 1), at(9))
    assert write(table, snapshot(1, 9, 9, 9), at(9)).updated == 1


def test_of_several_in_one_batch_the_one_that_changes_too_much(table: str) -> None:
    parts = [
        snapshot(*values).with_columns(at=pl.lit(dt.datetime(2024, 1, day, tzinfo=dt.UTC)))
        for day, values in ((10, (9, 9, 9, 9)), (11, (1, 1, 1, 1)))
    ]
    mode = History(keys=["k"], effective_column="at", max_update_fraction=0.5)
    uri = table + "2"
    assert "of 2024-01-11" in refused_first(uri, pl.concat(parts), mode)


def refused_first(uri: str, data: pl.DataFrame, mode: History) -> str:
    with pytest.raises(UpdateGuardError) as caught:
        write(uri, data, mode)
    assert not Path(uri, "_delta_log").exists()
    return str(caught.value)


def test_new_and_ended_keys_are_no_updates(table: str) -> None:
    mode = at(10, 0.0)
    assert write(table, snapshot(9, 9, 9), mode).closed == 1
    assert write(table, pl.DataFrame({"k": ["a", "b", "c", "e"], "v": [9, 9, 9, 1]}), at(11, 0.0)).inserted == 1


def test_without_a_share_nothing_is_guarded(table: str) -> None:
    assert write(table, snapshot(1, 1, 1, 1), at(10, None)).updated == 4
