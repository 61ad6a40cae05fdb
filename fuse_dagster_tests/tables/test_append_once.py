"""Append(once=...): a batch, or a row, comes once, however often and by however many writers it is sent."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_dagster.core.errors import ConfigError, KeyValueError, SchemaError
from fuse_dagster.tables import Append, write
from fuse_dagster_tests.tables.together import together

KEYED = Append(once=["event"])


def read(table: Path) -> pl.DataFrame:
    return pl.read_delta(str(table))


def events(*rows: tuple[str, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"event": pl.String, "v": pl.Int64}, orient="row")


def test_a_batch_is_appended_once(tmp_path: Path) -> None:
    table = tmp_path / "t"
    for batch in ("monday", "tuesday's", "monday"):
        result = write(table, events(("a", 1), ("b", 2)), Append(once="batch", batch_id=batch))
    assert (result.version, result.table_version, result.unchanged, result.rows_total) == (None, 1, 2, 4)
    assert DeltaTable(str(table)).transaction_version("fuse_dagster.append:tuesday's") == 1
    assert write(table, events(("a", 1)), Append()).version == 2, "a blind append knows of no batches"


def test_a_batch_is_remembered_beyond_checkpoints_and_overwritten_rows(tmp_path: Path) -> None:
    mode = Append(once="batch", batch_id="monday")
    write(tmp_path / "t", events(("a", 1)), mode)
    write(tmp_path / "t", events(("b", 1)), Append())
    DeltaTable(str(tmp_path / "t")).create_checkpoint()
    assert write(tmp_path / "t", events(("a", 1)), mode).version is None


@pytest.mark.parametrize("exists", [True, False])
def test_an_empty_batch_is_not_remembered(tmp_path: Path, exists: bool) -> None:
    mode = Append(once="batch", batch_id="monday")
    write(tmp_path / "t", events(("a", 1)) if exists else events(), Append() if exists else mode)
    assert write(tmp_path / "t", events(), mode).version is None
    assert write(tmp_path / "t", events(("b", 1)), mode).inserted == 1


def test_a_batch_needs_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this batch has no name; give `batch_id`"):
        write(tmp_path / "t", events(("a", 1)), Append(once="batch"))
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"once": []}, "`once` is empty"),
        ({"batch_id": "x"}, 'only `once="batch"` asks for'),
        ({"once": ["k"], "batch_id": "x"}, 'only `once="batch"` asks for'),
        ({"once": "batch", "batch_id": ""}, "`batch_id` is empty"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Append(**options)


def test_a_row_is_appended_once(tmp_path: Path) -> None:
    write(tmp_path / "t", events(("a", 1), ("b", 2)), KEYED)
    result = write(tmp_path / "t", events(("b", 3), ("c", 4), ("c", 4)), KEYED)
    assert (result.inserted, result.unchanged, result.duplicates) == (1, 1, 1)
    assert sorted(read(tmp_path / "t").rows()) == [("a", 1), ("b", 2), ("c", 4)], "the first row of a key stays"
    assert write(tmp_path / "t", events(("b", 3), ("c", 4)), KEYED).version is None


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (events(("a", 1), ("a", 2)), KeyValueError, "more than once with different values"),
        (pl.DataFrame({"event": [None], "v": [1]}, schema={"event": pl.String, "v": pl.Int64}), KeyValueError, "null"),
        (pl.DataFrame({"even": ["a"], "v": [1]}), SchemaError, "`once` names `event`.*Did you mean `even`"),
        (pl.DataFrame({"event": [1.5], "v": [1]}), SchemaError, "no exact equality"),
    ],
)
def test_keys_that_identify_no_row_are_refused(
    tmp_path: Path, frame: pl.DataFrame, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        write(tmp_path / "t", frame, KEYED)
    assert not (tmp_path / "t").exists()


KINDS: dict[str, list[Any]] = {
    "integer": [1, 5, -(2**62)],
    "text": ["O'Hare", "", "ünï"],
    "boolean": [True, False],
    "date": [dt.date(2024, 1, 1), dt.date(1900, 1, 1)],
    "naive time": [dt.datetime(2024, 1, 1, 0, 0, 0, 123), dt.datetime(2024, 1, 1)],  # noqa: DTZ001
    "aware time": [dt.datetime(2024, 1, 1, 0, 0, 0, 999_999, tzinfo=dt.UTC), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)],
    "decimal": [Decimal("99999999999999999999.99"), Decimal("0.01")],
    "bytes": [b"\x00", b"\xff"],
}


@pytest.mark.parametrize("values", KINDS.values(), ids=KINDS)
def test_every_kind_of_key_is_found_again(tmp_path: Path, values: list[Any]) -> None:
    dtype = {"schema_overrides": {"k": pl.Decimal(30, 2)}} if isinstance(values[0], Decimal) else {}
    frame = pl.DataFrame({"k": values, "v": range(len(values))}, **dtype)  # type: ignore[arg-type]
    mode = Append(once=["k", "v"])
    write(tmp_path / "t", frame.head(1), mode)
    assert write(tmp_path / "t", frame, mode).inserted == len(values) - 1
    assert write(tmp_path / "t", frame.reverse(), mode).version is None


def test_a_partitioned_table_and_a_new_column(tmp_path: Path) -> None:
    frame = pl.DataFrame({"day": ["1", "2"], "k": [1, 2]})
    mode = Append(once=["day", "k"], partition_by=["day"])
    write(tmp_path / "t", frame, mode)
    assert write(tmp_path / "t", frame, mode).version is None
    more = pl.DataFrame({"day": ["2", "3"], "k": [2, 2], "note": ["n", "n"]})
    result = write(tmp_path / "t", more, mode)
    assert (result.inserted, result.unchanged, result.schema_changes) == (1, 1, ("note: string added",))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abäc"), st.integers(0, 2), max_size=4), max_size=5))
def test_the_first_row_of_a_key_stays(said: list[dict[str, int]]) -> None:
    truth: dict[str, int] = {}
    with TemporaryDirectory() as folder:
        for batch in said:
            result = write(folder + "/t", events(*batch.items()), KEYED)
            assert result.inserted == len(batch.keys() - truth.keys())
            assert result.rows_in == result.inserted + result.unchanged
            truth = {**batch, **truth}
        if said:
            assert sorted(pl.read_delta(folder + "/t").rows()) == sorted(truth.items())


def append_overlapping(table: str, worker: int) -> None:
    for start in range(6):
        numbers = range((start + worker) * 5, (start + worker) * 5 + 12)
        write(table, events(*((str(n), n) for n in numbers)), KEYED)


def append_batches(table: str, worker: int) -> None:
    for number in range(5):
        write(table, events((f"{number}", number), (f"{number}", number)), Append(once="batch", batch_id=f"b{number}"))
        write(table, events((f"own {worker}", number)), Append(once="batch", batch_id=f"own {worker} {number}"))


def test_three_writers_append_each_row_once(tmp_path: Path) -> None:
    table = str(tmp_path / "t")
    together(append_overlapping, [(table, worker) for worker in range(3)])
    assert sorted(pl.read_delta(table)["v"]) == list(range(47))


def test_three_writers_append_each_batch_once(tmp_path: Path) -> None:
    table = str(tmp_path / "t")
    together(append_batches, [(table, worker) for worker in range(3)])
    found = pl.read_delta(table)
    assert sorted(found.filter(~pl.col("event").str.starts_with("own"))["v"]) == sorted([*range(5)] * 2)
    assert found.filter(pl.col("event").str.starts_with("own")).height == 15
