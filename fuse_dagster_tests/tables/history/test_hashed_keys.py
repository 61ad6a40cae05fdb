"""Durable and surrogate keys: specified to the byte, in every version, and the same whatever wrote it."""

from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_dagster.core.errors import ConfigError, KeyValueError, SchemaError
from fuse_dagster.tables import History, hash_keys, write

UTC = dt.UTC
DAY = dt.datetime(2024, 1, 1, tzinfo=UTC)


def sha(encoded: bytes) -> str:
    """What `printf ... | sha256sum | cut -c 1-32` prints."""
    return hashlib.sha256(encoded).hexdigest()[:32]


VECTORS: list[tuple[Any, pl.DataType, bytes]] = [
    ("EDDB", pl.String(), b"s4:EDDB"),
    ("", pl.String(), b"s0:"),
    ("Köln\0", pl.String(), b"s6:K\xc3\xb6ln\0"),
    (5, pl.Int8(), b"i1:5"),
    (5, pl.Int64(), b"i1:5"),
    (-9223372036854775808, pl.Int64(), b"i20:-9223372036854775808"),
    (Decimal("-1.50"), pl.Decimal(10, 2), b"n4:-1.5"),
    (Decimal("-1.5"), pl.Decimal(38, 6), b"n4:-1.5"),
    (Decimal("0.00"), pl.Decimal(5, 2), b"n1:0"),
    (Decimal("0.25"), pl.Decimal(5, 2), b"n4:0.25"),
    (Decimal(100), pl.Decimal(5, 0), b"n3:100"),
    (Decimal("100.00"), pl.Decimal(5, 2), b"n3:100"),
    (True, pl.Boolean(), b"b4:true"),
    (False, pl.Boolean(), b"b5:false"),
    (dt.date(987, 6, 5), pl.Date(), b"d10:0987-06-05"),
    (dt.datetime(1970, 1, 1, 1, tzinfo=UTC), pl.Datetime("us", "UTC"), b"t10:3600000000"),
    (dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC).replace(tzinfo=None), pl.Datetime("us"), b"w2:-1"),
    (b"\xff\0:", pl.Binary(), b"x3:\xff\0:"),
]


@pytest.mark.parametrize(("value", "dtype", "encoded"), VECTORS, ids=lambda v: repr(v)[:30])
def test_every_kind_of_key_is_hashed_as_specified(value: Any, dtype: pl.DataType, encoded: bytes) -> None:
    frame = pl.DataFrame({"k": pl.Series([value], dtype=dtype)})
    assert hash_keys(frame, ["k"]).to_list() == [sha(encoded)]


def test_the_vector_of_the_documentation() -> None:
    """The output of `printf 's4:EDDB' | sha256sum`, cut to 32 characters."""
    assert sha(b"s4:EDDB") == "45927f01991df93e22b98498d00714cb"


@settings(max_examples=100)
@given(st.lists(st.tuples(st.text(max_size=4), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=3)), max_size=6))
def test_parts_are_put_together_by_their_lengths(rows: list[tuple[str, int, bytes]]) -> None:
    frame = pl.DataFrame(rows, schema={"s": pl.String, "i": pl.Int64, "x": pl.Binary}, orient="row")
    expected = [
        sha(b"s%d:%s" % (len(s.encode()), s.encode()) + b"i%d:%d" % (len(str(i)), i) + b"x%d:%s" % (len(x), x))
        for s, i, x in rows
    ]
    assert hash_keys(frame, ["s", "i", "x"]).to_list() == expected


@settings(max_examples=100)
@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9))
def test_a_decimal_that_is_widened_keeps_its_hash(value: Decimal) -> None:
    narrow = pl.DataFrame({"k": pl.Series([value], dtype=pl.Decimal(15, 3))})
    wide = narrow.cast(pl.Decimal(38, 9))
    text = format(value, "f").rstrip("0").rstrip(".")
    text = "0" if text == "-0" else text
    assert hash_keys(narrow, ["k"]).item() == hash_keys(wide, ["k"]).item() == sha(f"n{len(text)}:{text}".encode())


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (pl.DataFrame({"k": [1.5]}), SchemaError),
        (pl.DataFrame({"other": [1]}), SchemaError),
        (pl.DataFrame({"k": ["a", None]}), KeyValueError),
    ],
)
def test_what_is_no_key_is_refused(frame: pl.DataFrame, error: type[Exception]) -> None:
    with pytest.raises(error):
        hash_keys(frame, ["k"])


HASHED = {"durable_key": "airport_key", "surrogate_key": "airport_version_key"}


def snapshot(table: Path, day: int, names: dict[str, str], **options: Any) -> Any:
    frame = pl.DataFrame({"icao": list(names), "name": list(names.values())}, schema={"icao": pl.String, "name": str})
    mode = History(
        keys=["icao"], effective_at=DAY + dt.timedelta(days=day), max_delete_fraction=None, **(HASHED | options)
    )
    return write(table, frame, mode)


def assert_hashed(table: Path) -> pl.DataFrame:
    """Every version has the two keys that its business key and start give."""
    found = pl.read_delta(str(table))
    for icao, start, durable, surrogate in found.select("icao", "valid_from", *HASHED.values()).iter_rows():
        key = b"s%d:%s" % (len(icao.encode()), icao.encode())
        at = str((start - dt.datetime(1970, 1, 1, tzinfo=UTC)) // dt.timedelta(microseconds=1))
        assert durable == sha(key)
        assert surrogate == sha(key + f"t{len(at)}:{at}".encode())
    assert found["airport_version_key"].is_unique().all()
    return found


def test_versions_have_their_keys_in_any_order_of_arrival(tmp_path: Path) -> None:
    days = {0: {"EDDB": "a", "LOWW": "x"}, 2: {"EDDB": "b", "LOWW": "x"}, 4: {"EDDB": "b"}, 6: {"EDDB": "a", "Ä": "y"}}
    for number, order in enumerate([(0, 2, 4, 6), (6, 4, 2, 0), (4, 0, 6, 2)]):
        table = tmp_path / str(number)
        for day in order:
            snapshot(table, day, days[day])
            assert_hashed(table)
        assert snapshot(table, 4, days[4]).version is None
    first, *others = (pl.read_delta(str(tmp_path / str(n))).sort("icao", "valid_from") for n in range(3))
    assert all(first.equals(other) for other in others)
    assert first.columns[-2:] == ["airport_key", "airport_version_key"]


def test_a_start_that_moves_makes_another_surrogate_key(tmp_path: Path) -> None:
    """The same value, known from an earlier time on, is the same version with an earlier start."""
    snapshot(tmp_path, 5, {"EDDB": "a"})
    late = pl.read_delta(str(tmp_path))["airport_version_key"].item()
    snapshot(tmp_path, 1, {"EDDB": "a"})
    found = assert_hashed(tmp_path)
    assert found.height == 1
    assert found["airport_version_key"].item() != late


def test_changes_have_keys_too(tmp_path: Path) -> None:
    marks = {"delete_when": "gone", "ignore": ["gone"]}
    mode = History(keys=["icao"], source="changes", effective_column="at", **marks, **HASHED)  # type: ignore[arg-type]
    for hour, name, gone in [(1, "a", False), (5, "a", False), (3, "b", False), (7, None, True), (4, "c", False)]:
        row = {"icao": ["EDDB"], "name": [name], "at": [DAY + dt.timedelta(hours=hour)], "gone": [gone]}
        write(tmp_path, pl.DataFrame(row, schema_overrides={"name": pl.String}), mode)
        assert_hashed(tmp_path)
    assert pl.read_delta(str(tmp_path)).height == 4


def test_a_key_that_is_widened_keeps_its_hash(tmp_path: Path) -> None:
    for day, dtype in enumerate([pl.Int32, pl.Int64]):
        frame = pl.DataFrame({"k": pl.Series([5, 6 + day], dtype=dtype)})
        write(tmp_path, frame, History(keys=["k"], effective_at=DAY + dt.timedelta(days=day), durable_key="dk"))
    found = pl.read_delta(str(tmp_path)).sort("k")
    assert found["k"].dtype == pl.Int64
    assert found["dk"].to_list() == [sha(b"i1:5"), sha(b"i1:6"), sha(b"i1:7")]


def test_a_fact_finds_its_dimension_without_reading_it(tmp_path: Path) -> None:
    snapshot(tmp_path, 0, {"EDDB": "a", "LOWW": "x"})
    flights = pl.DataFrame({"origin": ["LOWW", "EDDB", "LOWW"]})
    keyed = flights.with_columns(airport_key=hash_keys(flights, ["origin"]))
    found = keyed.join(pl.read_delta(str(tmp_path)), on="airport_key", maintain_order="left")
    assert found["icao"].to_list() == ["LOWW", "EDDB", "LOWW"]


def test_the_names_are_reserved_and_part_of_the_declaration(tmp_path: Path) -> None:
    snapshot(tmp_path, 0, {"EDDB": "a"})
    version = DeltaTable(str(tmp_path)).version()
    mode = History(keys=["icao"], effective_at=DAY + dt.timedelta(days=1), **HASHED)  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="adds by itself"):
        write(tmp_path, pl.DataFrame({"icao": ["EDDB"], "name": ["a"], "airport_key": ["?"]}), mode)
    swapped = {"durable_key": HASHED["surrogate_key"], "surrogate_key": HASHED["durable_key"]}
    for other in ({"durable_key": None}, {"surrogate_key": "other"}, swapped):
        with pytest.raises(ConfigError, match="another declaration"):
            snapshot(tmp_path, 1, {"EDDB": "a"}, **other)
    assert DeltaTable(str(tmp_path)).version() == version


def test_names_that_meet_are_a_config_error() -> None:
    with pytest.raises(ConfigError, match="a name of its own"):
        History(keys=["k"], durable_key="key", surrogate_key="key")
    with pytest.raises(ConfigError, match="a column that the history adds"):
        History(keys=["k"], durable_key="k")
