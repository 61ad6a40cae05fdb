"""Reading a history: what happened in a span, versions by number, and the member that stands for what is not there."""

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

from fuse_dagster.core.errors import ConfigError, KeyValueError, TableNotFoundError, TimeValueError
from fuse_dagster.tables import History, as_of, changes, current, numbered, write
from fuse_dagster_tests.tables.oracle import of_snapshots

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
NAIVE = START.replace(tzinfo=None)
SNAPSHOTS = {0: {"a": 1, "b": 1}, 2: {"a": 2}, 4: {"a": 2, "b": 3}, 6: {"b": 3}}


def hour(at: float) -> dt.datetime:
    return START + dt.timedelta(hours=at)


def load(path: str | Path, snapshots: dict[int, dict[str, int]], **options: Any) -> None:
    for at, rows in snapshots.items():
        frame = pl.DataFrame({"k": list(rows), "v": list(rows.values())}, schema={"k": pl.String, "v": pl.Int64})
        mode = History(keys=["k"], effective_at=hour(at), max_delete_fraction=None, allow_empty=True, **options)
        write(path, frame, mode)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    load(tmp_path / "t", SNAPSHOTS)
    return tmp_path / "t"


def told(frame: pl.LazyFrame) -> list[tuple[str, float, str, int]]:
    rows = frame.collect().select("change", "changed_at", "k", "v").rows()
    return [(what, (at - START) / dt.timedelta(hours=1), k, v) for what, at, k, v in rows]


ALL = [
    ("insert", 0, "a", 1),
    ("insert", 0, "b", 1),
    ("update", 2, "a", 2),
    ("close", 2, "b", 1),
    ("insert", 4, "b", 3),
    ("close", 6, "a", 2),
]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, None, ALL),
        (0, 7, ALL),
        (0, 2, ALL[:2]),
        (2, 4, ALL[2:4]),
        (3, 4, []),
        (4, 4, []),
        (4.5, 6.5, ALL[5:]),
        (7, None, []),
    ],
)
def test_what_happened_in_a_span_holds_its_start_and_not_its_end(
    table: Path, start: float, end: float | None, expected: list[Any]
) -> None:
    found = changes(table, hour(start), None if end is None else hour(end), keys="k")
    assert told(found) == expected


def test_what_happened_has_the_business_columns_only(table: Path) -> None:
    assert changes(table, START, keys=["k"]).collect_schema() == {
        "change": pl.String(),
        "changed_at": pl.Datetime("us", "UTC"),
        "k": pl.String(),
        "v": pl.Int64(),
    }


def test_other_names_are_taken(tmp_path: Path) -> None:
    load(tmp_path / "t", SNAPSHOTS, valid_from="since", valid_to="until", is_current="open")
    own = {"valid_from": "since", "valid_to": "until", "is_current": "open"}
    found = changes(tmp_path / "t", START, keys="k", change="op", changed_at="ts", **own).collect()
    assert found.columns == ["op", "ts", "k", "v"]
    assert numbered(tmp_path / "t", keys="k", name="n", valid_from="since").collect()["n"].sort().to_list() == [
        1, 1, 2, 2,
    ]  # fmt: skip
    member = {"k": "?", "v": -1}
    assert current(tmp_path / "t", unknown_member=member, keys="k", **own).collect().sort("k").rows() == [
        ("?", -1, dt.datetime(1, 1, 1, tzinfo=dt.UTC), None, True),
        ("b", 3, hour(4), None, True),
    ]


def test_dates_are_midnights_of_a_zone(table: Path) -> None:
    span = dt.date(2024, 1, 1), dt.date(2024, 1, 2)
    assert told(changes(table, *span, keys="k")) == ALL
    assert told(changes(table, *span, keys="k", timezone="America/New_York")) == ALL[5:]
    with pytest.raises(TimeValueError, match="has no zone"):
        changes(table, NAIVE, keys="k")


@settings(max_examples=30)
@given(
    st.dictionaries(
        st.integers(0, 6), st.dictionaries(st.sampled_from("aäb"), st.integers(0, 1)), min_size=1, max_size=5
    ),
    st.integers(0, 7),
    st.integers(0, 7),
    st.randoms(),
)
def test_events_and_numbers_are_those_of_the_versions(
    snapshots: dict[int, dict[str, int]], start: int, length: int, order: Any
) -> None:
    shuffled = list(snapshots)
    order.shuffle(shuffled)
    versions = of_snapshots(snapshots)  # type: ignore[arg-type]
    starts, ends = {(k, a) for k, _, a, _ in versions}, {(k, b) for k, _, _, b in versions}
    expected = {("update" if (k, a) in ends else "insert", a, k, v) for k, v, a, _ in versions}
    expected |= {("close", b, k, v) for k, v, _, b in versions if b is not None and (k, b) not in starts}
    with TemporaryDirectory() as folder:
        load(folder + "/t", {at: snapshots[at] for at in shuffled})
        found = told(changes(folder + "/t", hour(start), hour(start + length), keys=["k"]))
        assert found == sorted(found, key=lambda event: event[1:3])
        assert set(found) == {event for event in expected if start <= event[1] < start + length}
        assert len(found) == len(set(found))
        for k in {k for k, *_ in versions}:
            mine = numbered(folder + "/t", keys="k").filter(pl.col("k") == k).sort("valid_from").collect()
            assert mine["version"].to_list() == list(range(1, mine.height + 1))


def test_files_outside_of_the_span_are_not_read(table: Path) -> None:
    plan = changes(table, hour(6), keys="k").explain()
    assert "SELECTION" in plan
    assert plan.count("other sources") < plan.count("Parquet SCAN"), "statistics of the files leave some out"


def test_times_below_a_millisecond_are_found_though_the_log_cuts_them(tmp_path: Path) -> None:
    for micros in (500, 1700, 2900, 3100):
        at = START + dt.timedelta(microseconds=micros)
        write(tmp_path / "t", pl.DataFrame({"k": ["a"], "v": [micros]}), History(keys=["k"], effective_at=at))
    for compacted in (False, True):
        if compacted:
            DeltaTable(str(tmp_path / "t")).optimize.compact()
        versions = pl.read_delta(str(tmp_path / "t"))
        for micros in range(400, 3300, 100):
            at = START + dt.timedelta(microseconds=micros)
            until = at + dt.timedelta(microseconds=700)
            assert as_of(tmp_path / "t", at).collect().equals(as_of(versions, at).collect())
            assert told(changes(tmp_path / "t", at, until, keys="k")) == told(changes(versions, at, until, keys="k"))


def test_a_frame_that_was_read_already_is_a_history_too(table: Path) -> None:
    frame = pl.read_delta(str(table))
    elsewhere = frame.with_columns(pl.col("valid_from", "valid_to").cast(pl.Datetime("ns", "Asia/Tokyo")))
    for given_ in (frame, frame.lazy(), elsewhere):
        assert told(changes(given_, START, keys="k")) == ALL
        assert as_of(given_, hour(3)).collect()["v"].to_list() == [2]
        assert current(given_).collect()["v"].to_list() == [3]
        assert numbered(given_, keys="k").collect().height == 4


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: changes(t, hour(2), hour(1), keys="k"), ConfigError, "before its start .* swap them"),
        (lambda t: changes(t, START, keys=[]), ConfigError, "`keys` is empty"),
        (lambda t: changes(t, START, keys="x"), ConfigError, r"no key columns \['x'\]"),
        (lambda t: changes(t, START, keys="k", change="v"), ConfigError, r"columns \['v'\] of its own.*`change=`"),
        (lambda t: changes(t, START, keys="k", change="x", changed_at="x"), ConfigError, "must be different names"),
        (lambda t: changes(t, START, keys="k", valid_to="x"), ConfigError, "so it is no history"),
        (lambda t: changes(t, START, keys="k", valid_to="is_current"), ConfigError, "no timestamps with a zone"),
        (lambda t: changes(t / "x", START, keys="k"), TableNotFoundError, "no Delta table"),
        (lambda t: numbered(t, keys="k", name="v"), ConfigError, r"columns \['v'\] of its own.*`name=`"),
        (lambda t: numbered(t, keys="x"), ConfigError, "no key columns"),
        (lambda t: numbered(t, keys="k", valid_from="x"), ConfigError, "so it is no history"),
    ],
)
def test_what_can_not_be_read_is_said(table: Path, call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(table)


def test_the_unknown_member_is_added_to_every_moment(table: Path) -> None:
    member = {"k": "?", "v": -1}
    added = ("?", -1, dt.datetime(1, 1, 1, tzinfo=dt.UTC), None, True)
    at_three = as_of(table, hour(3), unknown_member=member, keys=["k"]).collect()
    assert at_three.rows() == [("a", 2, hour(2), hour(6), False), added]
    assert at_three.schema == pl.read_delta(str(table)).schema
    assert as_of(table, dt.date(1990, 1, 1), unknown_member=member, keys="k").collect().rows() == [added]
    assert current(table, unknown_member={"k": "?"}, keys="k").filter(k="?").collect()["v"].to_list() == [None]
    assert pl.read_delta(str(table)).height == 4, "the table holds versions and nothing else"


@pytest.mark.parametrize(
    ("member", "keys", "error", "message"),
    [
        ({"k": "?", "vv": 1}, "k", ConfigError, "names `vv`, which is no column. Did you mean `v`"),
        ({"k": "?", "valid_to": None}, "k", ConfigError, "`valid_to`, which the history adds by itself"),
        ({"k": "?", "v": "1"}, "k", ConfigError, r"`v` the value `'1'` \(str\), but the column is int64"),
        ({"k": "?", "v": 1.5}, "k", ConfigError, "can't hold it"),
        ({"k": "?", "v": True}, "k", ConfigError, "can't hold it"),
        ({"k": "?", "v": 2**70}, "k", ConfigError, "can't hold it"),
        ({"k": 1}, "k", ConfigError, "the column is string"),
        ({"v": 1}, "k", ConfigError, r"no value for the keys \['k'\]"),
        ({"k": None}, "k", ConfigError, r"no value for the keys \['k'\]"),
        ({"k": "?"}, None, ConfigError, "needs `keys`"),
        ({"k": "a"}, "k", KeyValueError, r"\(k='a'\) is that of a real key"),
    ],
)
def test_an_unknown_member_that_does_not_fit_is_refused(
    table: Path, member: dict[str, Any], keys: str | None, error: type[Exception], message: str
) -> None:
    for read in (lambda **o: as_of(table, hour(3), **o), lambda **o: current(table, **o)):
        with pytest.raises(error, match=message):
            read(unknown_member=member, keys=keys)


VALUES: dict[str, tuple[pl.DataType, Any, list[Any]]] = {
    "bool": (pl.Boolean(), False, [1, "false"]),
    "date": (pl.Date(), dt.date(1, 1, 1), ["2024-01-01", NAIVE]),
    "aware": (pl.Datetime("us", "UTC"), START, [NAIVE, dt.date(2024, 1, 1)]),
    "naive": (pl.Datetime("us"), NAIVE, [START]),
    "decimal": (pl.Decimal(10, 2), Decimal("1.20"), [Decimal("1.234"), 1.5, "1"]),
    "float": (pl.Float32(), 0.1, ["0.1"]),
    "binary": (pl.Binary(), b"?", ["?"]),
    "small": (pl.Int8(), -1, [300]),
    "list": (pl.List(pl.Int64()), [1], [1, ["a"]]),
    "struct": (pl.Struct({"a": pl.Int64()}), {"a": 1}, [1, {"b": 1}]),
}


@pytest.mark.parametrize("kind", VALUES)
def test_the_values_of_the_unknown_member_keep_their_types(kind: str) -> None:
    dtype, value, wrong = VALUES[kind]
    history = pl.DataFrame({"k": ["a"], "valid_from": [START], "valid_to": [None]}).with_columns(
        pl.lit(None, dtype=dtype).alias("x")
    )
    row = current(history, unknown_member={"k": "?", "x": value}, keys="k").collect().row(1, named=True)
    assert row["x"] == pytest.approx(value) if kind == "float" else row["x"] == value
    for one in wrong:
        with pytest.raises(ConfigError, match="`unknown_member` gives `x` the value"):
            current(history, unknown_member={"k": "?", "x": one}, keys="k")
