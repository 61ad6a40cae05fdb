"""Overwritten columns through Spark: what the local engine gives, for keys that return and for late statements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fuse_dagster.core.errors import CorrectionError
from fuse_dagster.tables import History, write
from fuse_dagster_tests.tables.history.test_overwrite_columns import (
    FEED,
    OVERWRITTEN,
    at_hour,
    expected_by,
    expected_of,
    feed,
    read,
    snapshot,
)
from fuse_dagster_tests.tables.oracle import ABSENT, Statement

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.slow


def test_a_key_that_returns_brings_its_value_to_what_ended_long_ago(tmp_path: Path, spark: SparkSession) -> None:
    snapshots: dict[int, Any] = {
        0: {"a": ("x", (0.0, ["a"])), "b": ("x", (None, None))},
        1: {"b": ("x", (None, None))},
        3: {"b": ("", (None, ["b"]))},
        5: {"a": ("x", (None, [])), "b": ("", (None, ["b"]))},
        2: {"b": ("x", (0.0, ["late"]))},
    }
    table = str(tmp_path / "t")
    for at, batch in snapshots.items():
        write(table, snapshot(batch), at_hour(at), spark=spark)
    assert write(table, snapshot(snapshots[5]), at_hour(5), spark=spark).version is None
    assert read(table) == expected_of(snapshots)
    better = {**snapshots[5], "a": ("x", (None, ["better"]))}
    with pytest.raises(CorrectionError, match="other content"):
        write(table, snapshot(better), History(**{**_options(5), "on_correction": "error"}), spark=spark)


def _options(at: int) -> dict[str, Any]:
    mode = at_hour(at)
    return {name: getattr(mode, name) for name in mode.__dataclass_fields__}


def test_a_feed_with_late_rows_and_values_that_no_row_shows(tmp_path: Path, spark: SparkSession) -> None:
    groups = [
        [
            Statement("a", 4, "x", sequence=1, note=(None, ["four"])),
            Statement("b", 1, "x", note=(None, None)),
            Statement("b", 2, ABSENT),
        ],
        [Statement("a", 4, ABSENT, sequence=2), Statement("b", 6, "", note=(0.0, ["six"]))],
        [Statement("a", 2, "x", note=(None, ["two"])), Statement("b", 5, "x", note=(None, ["five"]))],
    ]
    table = str(tmp_path / "t")
    mode = History(keys=["k"], sequence_by="seq", overwrite_columns=OVERWRITTEN, **FEED)
    for group in groups:
        write(table, feed(group), mode, spark=spark)
    assert not any(write(table, feed(group), mode, spark=spark).committed for group in groups)
    assert read(table) == expected_by([one for group in groups for one in group])
