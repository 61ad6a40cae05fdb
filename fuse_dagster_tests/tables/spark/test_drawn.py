"""Drawn schemas and batches, written by both engines in turn: what the oracle says, and what one engine alone makes.

Few examples, the same in every run, because each write of Spark costs a second or two; the local engine alone meets
hundreds. A failing example is not made smaller, which would take many runs of Spark.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fuse_dagster.engines.spark.frames import to_spark
from fuse_dagster.tables import History, Upsert, write
from fuse_dagster.testing import assert_frames_equal
from fuse_dagster_tests.tables.history.test_schemas import (
    KEYS,
    UTC,
    VALUES,
    Kind,
    Schema,
    frame,
    keys_of,
    moment,
    names,
    plain,
    read,
)
from fuse_dagster_tests.tables.oracle import ABSENT, Statement, of_changes, of_snapshots
from fuse_dagster_tests.tables.spark.test_modes import counts

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from fuse_dagster.tables import WriteMode

pytestmark = [pytest.mark.spark, pytest.mark.slow]

FEW = settings(max_examples=3, derandomize=True, deadline=None, database=None, phases=[Phase.generate])

# The JVM counts characters in halves of 16 bits: beyond them a key is two, and sorts before one that is not.
TEXTS = Kind(pl.String, ("\U0001d518\U0001f600", "\uffff", "ä", "", "a\x00`b'"))
# The first example is always the plainest one: here it has floats, lists and structs.
schemas = st.tuples(
    st.lists(st.sampled_from([TEXTS, *reversed(KEYS)]), min_size=2, max_size=3, unique_by=id),
    st.lists(st.sampled_from([*reversed(VALUES), TEXTS]), min_size=5, max_size=7, unique_by=id),
)


def in_turn(folder: str, steps: Sequence[tuple[pl.DataFrame, WriteMode]], spark: SparkSession, *, first: int) -> str:
    """Write batches to one table by the local engine, to another by both in turn; see that all counts and rows agree.

    Args:
        folder: Where the tables are made.
        steps: Batches and their modes.
        spark: The second engine.
        first: Which engine begins: 0 the local one, 1 Spark.

    Returns:
        The table that both wrote.
    """
    alone, shared = Path(folder, "alone"), Path(folder, "shared")
    for number, (batch, mode) in enumerate(steps):
        expected = write(alone, batch, mode)
        if (number + first) % 2:
            found = write(shared, to_spark(spark, batch), mode, spark=spark)
        else:
            found = write(shared, batch, mode)
        assert counts(found) == counts(expected)
        assert_frames_equal(pl.read_delta(str(shared)), pl.read_delta(str(alone)))
    return str(shared)


def values_of(schema: Schema) -> st.SearchStrategy[Any]:
    return st.tuples(*(st.sampled_from((*kind.values, None)) for kind in schema[1]))


def batches_of(schema: Schema) -> st.SearchStrategy[dict[Any, Any]]:
    return st.dictionaries(keys_of(schema), values_of(schema), min_size=1, max_size=5)


def rows_of(schema: Schema, batch: dict[Any, Any]) -> pl.DataFrame:
    return frame(schema, [(*key, *value) for key, value in batch.items()])


def plain_batch(batch: dict[Any, Any]) -> dict[Hashable, Hashable]:
    return {tuple(map(plain, key)): tuple(map(plain, value)) for key, value in batch.items()}


@FEW
@given(schemas, st.integers(0, 1), st.data())
def test_snapshots(spark: SparkSession, schema: Schema, first: int, data: st.DataObject) -> None:
    snapshots = data.draw(st.dictionaries(st.integers(0, 5), batches_of(schema), min_size=3, max_size=3))
    order = data.draw(st.permutations(sorted(snapshots)))
    at = {time: History(keys=names(schema)[0], effective_at=moment(time), max_delete_fraction=None) for time in order}
    with TemporaryDirectory() as folder:
        # The first one again: by the engine that did not write it.
        steps = [(rows_of(schema, snapshots[time]), at[time]) for time in [*order, order[0]]]
        table = in_turn(folder, steps, spark, first=first)
        assert read(table, schema) == of_snapshots({time: plain_batch(batch) for time, batch in snapshots.items()})


@FEW
@given(schemas, st.integers(0, 1), st.data())
def test_changes(spark: SparkSession, schema: Schema, first: int, data: st.DataObject) -> None:
    said = data.draw(
        st.lists(
            st.tuples(keys_of(schema), st.integers(0, 5), st.none() | values_of(schema)),
            min_size=6,
            max_size=12,
            unique_by=lambda s: (tuple(map(plain, s[0])), s[1]),
        )
    )
    mode = History(keys=names(schema)[0], source="changes", effective_column="at", delete_when="gone", ignore=["gone"])
    nothing = (None,) * len(schema[1])
    with TemporaryDirectory() as folder:
        parts = [said[number::3] for number in range(3)]
        steps = [
            (
                frame(
                    schema,
                    [(*key, *(value or nothing), moment(at), value is None) for key, at, value in part],
                    at=UTC,
                    gone=pl.Boolean,
                ),
                mode,
            )
            for part in [*parts, parts[0]]
        ]
        table = in_turn(folder, steps, spark, first=first)
        statements = [
            Statement(tuple(map(plain, key)), at, ABSENT if value is None else tuple(map(plain, value)))
            for key, at, value in said
        ]
        assert read(table, schema) == of_changes(statements)


def test_snapshots_whose_absences_say_nothing_may_mark_deletes(spark: SparkSession, tmp_path: Path) -> None:
    mode = History(keys=["id"], deletes="ignore", delete_when="gone", ignore=["gone"], effective_column="at")
    said = [[(1, False), (2, False), (3, False)], [(1, True)], [(2, True), (1, False)]]
    steps = [
        (pl.DataFrame([(*row, moment(at)) for row in rows], schema=["id", "gone", "at"], orient="row"), mode)
        for at, rows in enumerate(said)
    ]
    table = in_turn(str(tmp_path), steps, spark, first=0)
    versions = pl.read_delta(table).sort("id", "valid_from").select("id", "valid_from", "valid_to")
    first, second, third = map(moment, range(3))
    assert versions.rows() == [(1, first, second), (1, third, None), (2, first, third), (3, first, None)]


@FEW
@given(schemas, st.integers(0, 1), st.sampled_from(["keep", "delete"]), st.data())
def test_upserts(spark: SparkSession, schema: Schema, first: int, absent: Any, data: st.DataObject) -> None:
    batches = data.draw(st.lists(batches_of(schema), min_size=3, max_size=3))
    mode = Upsert(keys=names(schema)[0], absent=absent, max_delete_fraction=None)
    holds: dict[Hashable, Hashable] = {}
    for batch in batches:
        holds = plain_batch(batch) if absent == "delete" else {**holds, **plain_batch(batch)}
    with TemporaryDirectory() as folder:
        last = batches[-1]
        table = in_turn(folder, [(rows_of(schema, batch), mode) for batch in [*batches, last]], spark, first=first)
        keys, values = names(schema)
        found = pl.read_delta(table)
        both = zip(found.select(keys).rows(), found.select(values).rows(), strict=True)
        assert {tuple(map(plain, key)): tuple(map(plain, value)) for key, value in both} == holds
        assert found.height == len(holds)
