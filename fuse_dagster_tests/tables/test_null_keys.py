"""Every mode with a key leaves rows without one out the same way: counted, in the log or handed over, none lost."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_dagster.core.errors import ConfigError, DeleteGuardError, KeyValueError, SchemaError, TableStateError
from fuse_dagster.core.results import WriteResult
from fuse_dagster.tables import Append, History, Overwrite, Upsert, write
from fuse_dagster.tables.sifting import REASONS

Keyed = Append | Overwrite | Upsert

MODES: dict[str, Keyed] = {
    "append": Append(once=["k", "n"]),
    "overwrite": Overwrite(replace_keys=["k", "n"]),
    "upsert": Upsert(keys=["k", "n"]),
}
every_mode = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)

SCHEMA = {"k": pl.String, "n": pl.Int64, "v": pl.Int64}
ROWS = pl.DataFrame({"k": ["a", None, "b"], "n": [1, 2, None], "v": [1, 2, 3]})


def rows(table: Path | str) -> list[tuple[Any, ...]]:
    return sorted(pl.read_delta(str(table)).rows())


def adds_up(result: WriteResult) -> bool:
    counted = result.inserted + result.updated + result.unchanged + result.rejected + result.duplicates
    return result.rows_in == counted


@every_mode
def test_a_null_key_is_an_error_by_default(tmp_path: Path, mode: Keyed) -> None:
    with pytest.raises(KeyValueError, match="2 rows have a null key `k, n`"):
        write(tmp_path / "t", ROWS, mode)
    assert not (tmp_path / "t").exists()


@every_mode
def test_dropped_rows_are_counted_and_logged(tmp_path: Path, mode: Keyed, caplog: pytest.LogCaptureFixture) -> None:
    result = write(tmp_path / "t", ROWS, replace(mode, null_keys="drop"))
    assert (result.rows_in, result.inserted, result.rejected, result.unchanged) == (3, 1, 2, 0)
    assert rows(tmp_path / "t") == [("a", 1, 1)]
    assert "2 rows with a null key were dropped" in caplog.text


@every_mode
def test_rejected_rows_are_handed_over_before_the_commit(tmp_path: Path, mode: Keyed) -> None:
    table, taken = str(tmp_path / "t"), []

    def take(rejected: pl.DataFrame) -> None:
        assert not DeltaTable.is_deltatable(table), "nothing is committed yet"
        taken.append(rejected)

    result = write(table, ROWS, replace(mode, null_keys="reject"), on_rejected=take)
    assert (result.inserted, result.rejected) == (1, 2)
    (rejected,) = taken
    assert rejected.drop(REASONS).rows() == [(None, 2, 2), ("b", None, 3)]
    assert rejected[REASONS].to_list() == [["null_key"], ["null_key"]]


@every_mode
def test_who_fails_to_take_the_rows_stops_the_write(tmp_path: Path, mode: Keyed) -> None:
    def refuse(rejected: pl.DataFrame) -> None:
        raise OSError(f"no place for {rejected.height} rows")

    table, rejecting = tmp_path / "t", replace(mode, null_keys="reject")
    write(table, ROWS[:1], mode)
    with pytest.raises(OSError, match="no place for 2 rows"):
        write(table, ROWS.with_columns(k=pl.col("k") + "x"), rejecting, on_rejected=refuse)
    assert DeltaTable(table).version() == 0
    with pytest.raises(OSError, match="no place for 2 rows"):
        write(table, ROWS[1:], rejecting, on_rejected=refuse)


@every_mode
def test_a_batch_that_is_refused_hands_nothing_over(tmp_path: Path, mode: Keyed) -> None:
    taken: list[pl.DataFrame] = []
    write(tmp_path / "t", ROWS[:1], mode)
    text = ROWS.with_columns(v=pl.lit("x"))
    with pytest.raises(SchemaError, match="`v` is string in the batch but int64"):
        write(tmp_path / "t", text, replace(mode, null_keys="reject"), on_rejected=taken.append)
    assert not taken


@every_mode
def test_a_lost_race_hands_nothing_over_twice(tmp_path: Path, mode: Keyed) -> None:
    """While the rows are taken, somebody else commits: the write is planned again."""
    table, taken = str(tmp_path / "t"), []
    write(table, ROWS[:1], mode)

    def take(rejected: pl.DataFrame) -> None:
        taken.append(rejected)
        write(table, ROWS[:1].with_columns(k=pl.lit("c")), mode)

    more = ROWS.with_columns(n=pl.col("n") + 7)
    result = write(table, more, replace(mode, null_keys="reject"), on_rejected=take)
    assert len(taken) == 1
    assert (result.inserted, result.rejected, result.table_version) == (1, 2, 2)
    assert rows(table) == [("a", 1, 1), ("a", 8, 1), ("c", 1, 1)]


@every_mode
def test_a_batch_said_again_commits_nothing_and_still_hands_over(tmp_path: Path, mode: Keyed) -> None:
    taken: list[pl.DataFrame] = []
    for _ in range(2):
        result = write(tmp_path / "t", ROWS, replace(mode, null_keys="reject"), on_rejected=taken.append)
    assert (result.version, result.unchanged, result.rejected) == (None, 1, 2)
    assert len(taken) == 2


@every_mode
@pytest.mark.parametrize("exists", [True, False])
def test_where_no_row_has_a_key_there_is_nothing_to_write(tmp_path: Path, mode: Keyed, exists: bool) -> None:
    taken: list[pl.DataFrame] = []
    if exists:
        write(tmp_path / "t", ROWS[:1], mode)
    rejecting = replace(mode, null_keys="reject")
    other_columns = ROWS[1:].with_columns(pl.lit(None).alias("k"), pl.lit("x").alias("new"))
    for batch in (ROWS[1:], other_columns):
        result = write(tmp_path / "t", batch, rejecting, on_rejected=taken.append)
        assert (result.version, result.rows_in, result.rejected) == (None, 2, 2)
        assert (result.table_version, result.rows_total) == ((0, 1) if exists else (-1, 0))
        assert adds_up(result)
    assert [rejected.height for rejected in taken] == [2, 2]
    assert (tmp_path / "t").exists() == exists


def test_a_broken_whole_truth_is_not_an_empty_one(tmp_path: Path) -> None:
    taken: list[pl.DataFrame] = []
    whole = Upsert(keys=["k", "n"], absent="delete", allow_empty=True, max_delete_fraction=None, null_keys="reject")
    write(tmp_path / "t", ROWS, whole, on_rejected=taken.append)
    with pytest.raises(DeleteGuardError, match=r"2 rows, and none of them has a whole key `k, n`.*nothing was written"):
        write(tmp_path / "t", ROWS[1:], whole, on_rejected=taken.append)
    assert (len(taken), DeltaTable(tmp_path / "t").version()) == (1, 0)
    assert write(tmp_path / "t", ROWS.clear(), whole, on_rejected=taken.append).deleted == 1


def test_rows_without_a_key_say_nothing_of_a_whole_truth(tmp_path: Path) -> None:
    whole = Upsert(keys=["k"], absent="delete", null_keys="drop")
    first = pl.DataFrame({"k": ["a", "b", "c"], "v": [1, 2, 3]})
    write(tmp_path / "t", first, whole)
    broken = pl.DataFrame({"k": ["a", None, None], "v": [1, 2, 3]})
    with pytest.raises(DeleteGuardError, match="2 of 3 keys are absent"):
        write(tmp_path / "t", broken, whole)
    result = write(tmp_path / "t", first.with_columns(k=pl.Series(["a", "b", None])), whole)
    assert (result.closed, result.unchanged, result.rejected) == (1, 2, 1)


@every_mode
def test_reject_needs_somebody_who_takes_the_rows(tmp_path: Path, mode: Keyed) -> None:
    rejecting = replace(mode, null_keys="reject")
    with pytest.raises(ConfigError, match="give `on_rejected`"):
        write(tmp_path / "t", ROWS[:1], rejecting)
    with pytest.raises(SchemaError, match="`_rejection_reasons`, which rejected rows get"):
        write(tmp_path / "t", ROWS.with_columns(pl.lit("x").alias(REASONS)), rejecting, on_rejected=print)


@every_mode
def test_a_key_that_is_not_there_is_still_an_error(tmp_path: Path, mode: Keyed) -> None:
    with pytest.raises(SchemaError, match=r"names `n`"):
        write(tmp_path / "t", ROWS.drop("n"), replace(mode, null_keys="drop"))


@every_mode
def test_a_history_is_refused_also_where_there_is_nothing_to_write(tmp_path: Path, mode: Keyed) -> None:
    write(tmp_path / "t", ROWS[:1], History(keys=["k"], effective_at=dt.date(2024, 1, 1)))
    with pytest.raises(TableStateError, match="is a history"):
        write(tmp_path / "t", ROWS[1:], replace(mode, null_keys="drop"))


@pytest.mark.parametrize("policy", ["drop", "reject"])
@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda policy: Append(null_keys=policy), "name in `once`"),
        (lambda policy: Append(once="batch", null_keys=policy), "name in `once`"),
        (lambda policy: Overwrite(null_keys=policy), "name in `replace_keys`"),
        (lambda policy: Overwrite(predicate="v = 1", null_keys=policy), "name in `replace_keys`"),
    ],
)
def test_without_a_key_there_are_no_null_keys(make: Any, remedy: str, policy: str) -> None:
    with pytest.raises(ConfigError, match=f'`null_keys="{policy}"` .* no key is declared; {remedy}'):
        make(policy)


@every_mode
def test_another_word_is_refused(mode: Keyed) -> None:
    with pytest.raises(ConfigError, match="`null_keys` is `keep`; valid: 'error', 'drop', 'reject'"):
        replace(mode, null_keys="keep")  # type: ignore[arg-type]


def test_what_is_no_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`'append'` is no write mode"):
        write(tmp_path / "t", ROWS, "append")  # type: ignore[arg-type]


def told(held: dict[Any, list[int]], batch: dict[Any, int], name: str, copies: int) -> dict[Any, list[int]]:
    """What a table holds after a batch, per whole key."""
    said = {key: [value] for key, value in batch.items() if None not in key}
    if name == "append":
        return said | held
    return held | ({key: value * copies for key, value in said.items()} if name == "overwrite" else said)


@settings(max_examples=40)
@given(
    st.lists(
        st.dictionaries(
            st.tuples(st.sampled_from(["a", "", None]), st.sampled_from([1, 2, None])), st.integers(0, 2), min_size=1
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(sorted(MODES)),
    st.sampled_from(["drop", "reject"]),
    st.sampled_from([1, 2]),
)
def test_the_table_is_that_of_the_rows_with_a_key(batches: list[Any], name: str, policy: Any, copies: int) -> None:
    held: dict[Any, list[int]] = {}
    taken: list[pl.DataFrame] = []
    lost = 0
    with TemporaryDirectory() as folder:
        for batch in batches:
            said = [(*key, value) for key, value in batch.items()] * copies
            frame = pl.DataFrame(said, schema=SCHEMA, orient="row")
            mode = replace(MODES[name], null_keys=policy)
            result = write(folder + "/t", frame, mode, on_rejected=taken.append)
            held = told(held, batch, name, copies)
            lost += (nulls := copies * sum(None in key for key in batch))
            assert result.rejected == nulls
            assert adds_up(result)
            assert result.rows_total == sum(map(len, held.values()))
        found = rows(folder + "/t") if held else []
    assert found == sorted((*key, value) for key, values in held.items() for value in values)
    assert sum(map(len, taken)) == (lost if policy == "reject" else 0)
