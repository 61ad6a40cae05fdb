"""Other columns make versions from now on; what was applied stays as it is."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.tables import History, write


def at(day: int, **options: Any) -> History:
    return History(keys=["k"], effective_at=dt.date(2024, 1, day), **options)


def row(a: int, b: int) -> pl.DataFrame:
    return pl.DataFrame({"k": ["x"], "a": [a], "b": [b]})


def versions(table: str) -> list[tuple[int, int, int]]:
    found = pl.read_delta(table).sort("valid_from").select("a", "b", pl.col("valid_from").dt.day())
    return [(a, b, day) for a, b, day in found.iter_rows()]


@pytest.fixture
def table(tmp_path: Path) -> str:
    """`a` makes versions, `b` does not: (1, 1) from the 1st, (2, 2) from the 3rd; the `b` of the 2nd is not kept."""
    uri = str(tmp_path / "t")
    for day, a, b in ((1, 1, 1), (2, 1, 5), (3, 2, 2)):
        write(uri, row(a, b), at(day, track=["a"]))
    assert versions(uri) == [(1, 1, 1), (2, 2, 3)]
    return uri


def test_other_columns_need_a_word(table: str) -> None:
    with pytest.raises(ConfigError, match=r"`track` was `\['a'\]`, is `\['a', 'b'\]`.*`retrack=\"from_now\"`"):
        write(table, row(2, 3), at(4, track=["a", "b"]))


def test_from_now_on_the_new_columns_make_versions(table: str) -> None:
    now = {"track": ["a", "b"], "retrack": "from_now"}
    assert write(table, row(2, 3), at(4, **now)).updated == 1
    assert versions(table) == [(1, 1, 1), (2, 2, 3), (2, 3, 4)]
    assert write(table, row(2, 3), at(4, **now)).version is None, "the same batch again commits nothing"
    assert write(table, row(2, 4), at(5, track=["a", "b"])).updated == 1, "the table holds the new declaration"
    with pytest.raises(ConfigError, match="was made with another declaration"):
        write(table, row(2, 4), at(6, track=["a"]))


def test_columns_that_are_tracked_no_more_make_no_versions(table: str) -> None:
    write(table, row(7, 2), at(4, track=["b"], retrack="from_now"))
    assert versions(table) == [(1, 1, 1), (2, 2, 3)]
    write(table, row(8, 3), at(5, track=["b"]))
    assert versions(table) == [(1, 1, 1), (2, 2, 3), (8, 3, 5)]


def test_what_is_ignored_may_change_likewise(tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    write(uri, row(1, 1), at(1, ignore=["b"]))
    assert write(uri, row(1, 2), at(2, retrack="from_now")).updated == 1
    assert versions(uri) == [(1, 1, 1), (1, 2, 2)]


def test_nothing_else_may_change_along(table: str) -> None:
    with pytest.raises(ConfigError, match="`timezone` was `None`, is `UTC`") as refused:
        write(table, row(2, 3), at(4, track=["a", "b"], timezone="UTC", retrack="from_now"))
    assert "`track`" not in str(refused.value)


def test_changes_are_tracked_anew_from_the_next_row_on(tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    feed: dict[str, Any] = {"keys": ["k"], "source": "changes", "effective_column": "at"}
    days = [dt.datetime(2024, 1, day, tzinfo=dt.UTC) for day in (1, 2, 3)]
    said = [row(1, b).with_columns(at=pl.lit(day)) for b, day in zip((1, 2, 3), days, strict=True)]
    write(uri, pl.concat(said[:2]), History(**feed, track=["a"]))
    assert versions(uri) == [(1, 1, 1)]
    write(uri, said[2], History(**feed, track=["a", "b"], retrack="from_now"))
    assert versions(uri) == [(1, 1, 1), (1, 3, 3)]
