"""History against the oracle over drawn schemas: any key types, any value types, any order, grouping and repetition."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Hashable
from dataclasses import dataclass
from decimal import Decimal
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuse_dagster.tables import History, write
from fuse_dagster_tests.tables.oracle import ABSENT, Statement, Version, of_changes, of_snapshots

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
PATIENT = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Kind:
    """A type, and values of it that are easily taken for each other."""

    dtype: Any
    values: tuple[Any, ...]


UTC, WALL = pl.Datetime("us", "UTC"), pl.Datetime("us")
DECIMAL = pl.Decimal(38, 9)
KEYS = [
    Kind(pl.String, ("a", "ä", "", "'`\\\"", "a\x00b")),
    Kind(pl.Int8, (0, -1, 127)),
    Kind(pl.Int64, (2**62, -(2**63), 1)),
    Kind(pl.Boolean, (True, False)),
    Kind(pl.Date, (dt.date(1, 1, 1), dt.date(9999, 12, 31))),
    Kind(UTC, (dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, dt.UTC), dt.datetime(2024, 3, 31, 1, tzinfo=dt.UTC))),
    Kind(WALL, (dt.datetime(2024, 3, 31, 2, 30), dt.datetime(1, 1, 1))),  # noqa: DTZ001  # wall times
    Kind(DECIMAL, (Decimal("1.1"), Decimal("1.100000001"), Decimal("-99999999999999999999999999999.999999999"))),
    Kind(pl.Binary, (b"", b"\x00", b"\xff\xfe")),
]
VALUES = [
    *KEYS,
    Kind(pl.Float64, (0.0, -0.0, math.nan, math.inf, 5e-324)),
    Kind(pl.Float32, (0.0, -0.0, math.nan, 1.5)),
    Kind(pl.List(pl.Int64), ([], [None], [1, None], [1])),
    Kind(pl.Struct({"a": pl.String, "b": pl.Float64}), ({"a": "", "b": None}, {"a": None, "b": -0.0})),
    Kind(pl.List(pl.Struct({"x": pl.Date})), ([], [{"x": None}], [{"x": dt.date(2024, 2, 29)}])),
]  # fmt: skip

schemas = st.tuples(
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=3), st.lists(st.sampled_from(VALUES), min_size=1, max_size=3)
)
Schema = tuple[list[Kind], list[Kind]]


def moment(at: int) -> dt.datetime:
    return START + dt.timedelta(hours=at)


def plain(value: Any) -> Hashable:
    """A value as the one that it is taken for: NaN is one value, -0.0 is 0.0, lists and structs are what they hold."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value + 0.0
    if isinstance(value, list):
        return ("list", *map(plain, value))
    if isinstance(value, dict):
        return ("struct", *((name, plain(inner)) for name, inner in value.items()))
    return value  # type: ignore[no-any-return]


def keys_of(schema: Schema) -> st.SearchStrategy[Any]:
    return st.tuples(*(st.sampled_from(kind.values) for kind in schema[0]))


def values_of(schema: Schema) -> st.SearchStrategy[Any]:
    return st.tuples(*(st.none() | st.sampled_from(kind.values) for kind in schema[1]))


def names(schema: Schema) -> tuple[list[str], list[str]]:
    return [f"k{i}" for i in range(len(schema[0]))], [f"v{i}" for i in range(len(schema[1]))]


def types(schema: Schema) -> dict[str, Any]:
    pairs = zip([*names(schema)[0], *names(schema)[1]], [*schema[0], *schema[1]], strict=True)
    return {name: kind.dtype for name, kind in pairs}


def frame(schema: Schema, rows: list[tuple[Any, ...]], **more: Any) -> pl.DataFrame:
    columns = {**types(schema), **more}
    series = [
        pl.Series(name, [row[number] for row in rows], dtype=dtype)
        for number, (name, dtype) in enumerate(columns.items())
    ]
    return pl.DataFrame(series)


def read(table: str, schema: Schema) -> set[Version]:
    keys, values = names(schema)
    found = pl.read_delta(table)
    hours = [
        (
            tuple(plain(row[name]) for name in keys),
            tuple(plain(row[name]) for name in values),
            int((row["valid_from"] - START).total_seconds() // 3600),
            row["valid_to"] and int((row["valid_to"] - START).total_seconds() // 3600),
        )
        for row in found.iter_rows(named=True)
    ]
    assert len(hours) == len(set(hours)), "a version stands twice"
    return set(hours)


@PATIENT
@given(schemas, st.data())
def test_snapshots_of_any_schema_in_any_order(schema: Schema, data: st.DataObject) -> None:
    batches = st.dictionaries(keys_of(schema), values_of(schema), max_size=4)
    snapshots = data.draw(st.dictionaries(st.integers(0, 5), batches, min_size=1, max_size=4))
    order = data.draw(st.permutations(sorted(snapshots)))
    with TemporaryDirectory() as folder:
        table = folder + "/t"
        for at in [*order, order[0]]:
            rows = frame(schema, [(*key, *value) for key, value in snapshots[at].items()])
            mode = History(keys=names(schema)[0], effective_at=moment(at), max_delete_fraction=None, allow_empty=True)
            result = write(table, rows, mode)
            assert result.rows_in == result.inserted + result.updated + result.unchanged + result.duplicates
        expected = {
            at: {tuple(map(plain, k)): tuple(map(plain, v)) for k, v in batch.items()}
            for at, batch in snapshots.items()
        }
        assert read(table, schema) == of_snapshots(expected)


@PATIENT
@given(schemas, st.data())
def test_changes_of_any_schema_in_any_order_and_grouping(schema: Schema, data: st.DataObject) -> None:
    said = data.draw(
        st.lists(
            st.tuples(keys_of(schema), st.integers(0, 5), st.none() | values_of(schema)),
            min_size=1,
            max_size=10,
            unique_by=lambda s: (tuple(map(plain, s[0])), s[1]),
        )
    )
    order = data.draw(st.permutations(said))
    cut = data.draw(st.integers(0, len(order)))
    nothing = (None,) * len(schema[1])
    mode = History(keys=names(schema)[0], source="changes", effective_column="at", delete_when="gone", ignore=["gone"])
    with TemporaryDirectory() as folder:
        table = folder + "/t"
        for part in [order[:cut], order[cut:], order[:cut]]:
            rows = [(*key, *(value or nothing), moment(at), value is None) for key, at, value in part]
            if rows:
                write(table, frame(schema, rows, at=UTC, gone=pl.Boolean), mode)
        statements = [
            Statement(tuple(map(plain, key)), at, ABSENT if value is None else tuple(map(plain, value)))
            for key, at, value in said
        ]
        assert read(table, schema) == of_changes(statements)
