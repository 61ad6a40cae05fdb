"""Upsert against a dictionary: with a sequence and soft deletes, order, grouping and repetition don't matter."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuse_dagster.core.results import WriteResult
from fuse_dagster.tables import Upsert, write
from fuse_dagster_tests.tables.together import together

PATIENT = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
SCHEMA = {"k": pl.String, "n": pl.Int64, "f": pl.Float64, "t": pl.String}
Key = tuple[str, int]
Value = tuple[float | None, str | None]

keys = st.tuples(st.sampled_from(["a", "ä", "", "日本"]), st.sampled_from([1, 2]))
values = st.tuples(st.sampled_from([None, 0.0, -0.0, 1.5, math.nan]), st.sampled_from([None, "", "x"]))


@dataclass(frozen=True)
class Said:
    """One row of a feed."""

    key: Key
    sequence: int
    value: Value
    deleted: bool


feeds = st.lists(
    st.builds(Said, key=keys, sequence=st.integers(0, 5), value=values, deleted=st.booleans()),
    min_size=1,
    max_size=14,
    unique_by=lambda said: (said.key, said.sequence),
)


def highest(feed: Iterable[Said]) -> dict[Key, Said]:
    """The oracle: of each key the row with the highest sequence holds, and a delete is a row like any other."""
    holds: dict[Key, Said] = {}
    for said in feed:
        if said.key not in holds or said.sequence > holds[said.key].sequence:
            holds[said.key] = said
    return holds


def plain(value: Value) -> Any:
    """NaN and -0.0 as the one value that they are taken for."""
    number, text = value
    return ("nan" if number is not None and math.isnan(number) else None if number is None else number + 0.0), text


def batch(feed: Iterable[Said]) -> pl.DataFrame:
    made = [(*said.key, *said.value, said.sequence, "D" if said.deleted else None) for said in feed]
    return pl.DataFrame(made, schema={**SCHEMA, "seq": pl.Int64, "op": pl.String}, orient="row")


def shuffled(feed: list[Said], data: st.DataObject) -> list[list[Said]]:
    """The feed in another order, cut into batches, some of them sent again."""
    order = data.draw(st.permutations(feed))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=4)))
    groups = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    full = [group for group in groups if group]
    return [*full, *data.draw(st.lists(st.sampled_from(full), max_size=2))]


def adds_up(result: WriteResult, rows_before: int, *, absent: int = 0) -> int:
    """Every row of the batch is counted once, and so is every row of the table."""
    stated_deletes = result.closed - absent
    counted = result.inserted + result.updated + result.unchanged + result.duplicates + stated_deletes
    assert counted == result.rows_in
    assert min(result.inserted, result.updated, result.unchanged, result.duplicates, stated_deletes) >= 0
    assert result.rows_total == rows_before + result.inserted - result.deleted
    return result.rows_total or 0


SEQUENCED = Upsert(keys=["k", "n"], sequence_by="seq", delete_when="op = 'D'", soft_delete="gone")


@PATIENT
@given(feeds, st.data())
def test_with_a_sequence_and_soft_deletes_no_order_or_grouping_matters(feed: list[Said], data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        total = 0
        for group in shuffled(feed, data):
            copies = data.draw(st.lists(st.sampled_from(group), max_size=2))
            total = adds_up(write(folder + "/t", batch([*group, *copies]), SEQUENCED), total)
        assert not any(write(folder + "/t", batch(group), SEQUENCED).committed for group in shuffled(feed, data))
        found = pl.read_delta(folder + "/t").select(*SCHEMA, "seq", "gone").rows()
        truth = highest(feed).values()
        assert sorted(map(repr, ((k, n, plain((f, t)), seq, gone) for k, n, f, t, seq, gone in found))) == sorted(
            repr((*said.key, plain(said.value), said.sequence, said.deleted)) for said in truth
        )


@PATIENT
@given(feeds, st.data())
def test_with_a_sequence_hard_deletes_are_right_in_order(feed: list[Said], data: st.DataObject) -> None:
    mode = Upsert(keys=["k", "n"], sequence_by="seq", delete_when="op = 'D'")
    ordered = sorted(feed, key=lambda said: said.sequence)
    cut = data.draw(st.integers(0, len(ordered)))
    with TemporaryDirectory() as folder:
        total = 0
        for group in (ordered[:cut], ordered[cut:]):
            total = adds_up(write(folder + "/t", batch(group), mode), total)
        found = pl.read_delta(folder + "/t").select("k", "n", "seq").rows()
        assert sorted(found) == sorted((*s.key, s.sequence) for s in highest(feed).values() if not s.deleted)


truths = st.lists(st.dictionaries(keys, values, max_size=6), min_size=1, max_size=4)


def whole(truth: dict[Key, Value]) -> pl.DataFrame:
    return pl.DataFrame([(*key, *value) for key, value in truth.items()], schema=SCHEMA, orient="row")


@PATIENT
@given(truths, st.booleans())
def test_a_whole_truth_is_what_the_table_holds(said: list[dict[Key, Value]], soft: bool) -> None:
    mode = Upsert(
        keys=["k", "n"],
        absent="delete",
        allow_empty=True,
        max_delete_fraction=None,
        soft_delete="gone" if soft else None,
    )
    marked: dict[Key, Value] = {}
    holds: dict[Key, Value] = {}
    with TemporaryDirectory() as folder:
        total = 0
        for truth in said:
            absent = holds.keys() - truth.keys()
            result = write(folder + "/t", whole(truth), mode)
            total = adds_up(result, total, absent=len(absent))
            assert result.closed == len(absent)
            assert write(folder + "/t", whole(truth), mode).version is None
            marked = {key: value for key, value in {**marked, **holds}.items() if key not in truth}
            holds = truth
        found = pl.read_delta(folder + "/t").with_columns(gone=pl.col("gone") if soft else pl.lit(False))
        expected = {key: (plain(value), False) for key, value in holds.items()}
        if soft:
            expected |= {key: (plain(value), True) for key, value in marked.items()}
        assert {(k, n): (plain((f, t)), gone) for k, n, f, t, gone in found.rows()} == expected
        assert found.height == len(expected)


@PATIENT
@given(
    st.lists(
        st.dictionaries(keys, st.tuples(st.none() | st.integers(0, 3), st.text(max_size=1)), max_size=5), max_size=4
    )
)
def test_conditions_agree_with_an_if(said: list[dict[Key, tuple[int | None, str]]]) -> None:
    mode = Upsert(keys=["k", "n"], update_when="new.i > old.i")
    holds: dict[Key, tuple[int | None, str]] = {}
    with TemporaryDirectory() as folder:
        for stated in said:
            made = [(*key, *value) for key, value in stated.items()]
            schema = {"k": pl.String, "n": pl.Int64, "i": pl.Int64, "t": pl.String}
            write(folder + "/t", pl.DataFrame(made, schema=schema, orient="row"), mode)
            for key, value in stated.items():
                old = holds.get(key)
                if old is None or (value[0] is not None and old[0] is not None and value[0] > old[0]):
                    holds[key] = value
        if said:
            assert {(k, n): (i, t) for k, n, i, t in pl.read_delta(folder + "/t").rows()} == holds


def test_the_oracle_says_that_an_older_row_does_not_undo_a_newer_delete() -> None:
    deleted = Said(("a", 1), 3, (None, None), deleted=True)
    assert highest([deleted, Said(("a", 1), 2, (1.5, "x"), deleted=False)]) == {("a", 1): deleted}


def story() -> list[Said]:
    """Sixty rows of eight keys, every seventh a delete."""
    return [Said((f"k{i % 8}", 1), i, (float(i), None), deleted=i % 7 == 0) for i in range(60)]


def apply_share(table: str, worker: int) -> None:
    mine = [said for said in story() if said.sequence % 3 == worker or said.sequence % 5 == 0]
    for start in range(0, len(mine), 5):
        write(table, batch(mine[start : start + 5][::-1]), SEQUENCED)


def test_three_writers_at_once_leave_the_highest_sequences(tmp_path: Path) -> None:
    table = str(tmp_path / "t")
    together(apply_share, [(table, worker) for worker in range(3)])
    found = pl.read_delta(table).select("k", "seq", "f", "gone").rows()
    assert sorted(found) == sorted(
        (said.key[0], said.sequence, said.value[0], said.deleted) for said in highest(story()).values()
    )
