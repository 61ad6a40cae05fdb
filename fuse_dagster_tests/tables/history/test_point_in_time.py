"""Facts beside the versions that held: one row per fact, against an oracle that loops over both."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuse_dagster.core.errors import (
    ConfigError,
    InputError,
    KeyValueError,
    SchemaError,
    TableNotFoundError,
    TableStateError,
    TimeValueError,
)
from fuse_dagster.tables import History, point_in_time, write

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
OPEN = None

Key = tuple[str | None, int | None]
Version = tuple[Key, int | None, int, int | None]
Fact = tuple[Key, int | None]


def hour(at: int | None) -> dt.datetime | None:
    return None if at is None else START + dt.timedelta(hours=at)


def oracle(facts: list[Fact], versions: list[Version], *, before_first: str) -> list[tuple[int | None, str]]:
    """What each fact gets and why, by looking at every version."""
    told: list[tuple[int | None, str]] = []
    for key, at in facts:
        mine = [] if None in key or at is None else sorted((v for v in versions if v[0] == key), key=lambda v: v[2])
        held = [value for _, value, start, end in mine if start <= at and (end is None or at < end)]  # type: ignore[operator]
        if held:
            told.append((held[0], "matched"))
        elif mine and at < mine[0][2]:  # type: ignore[operator]
            told.append((mine[0][1] if before_first == "earliest" else None, "before_first"))
        else:
            told.append((None, "unmatched"))
    return told


keys = st.tuples(st.sampled_from(["a", "ä", "", "🛫", None]), st.sampled_from([1, 2, None]))
# Bounds of a key's versions, in order; every second piece may be left out, which makes gaps and ends.
timelines = st.dictionaries(
    keys,
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3), st.sampled_from([None, 1, 2])), min_size=1, max_size=4),
    max_size=5,
)


def versions_of(timelines: dict[Key, list[tuple[int, int, int | None]]], *, last_open: bool) -> list[Version]:
    """Gap, length and value of each piece -> disjoint versions."""
    found: list[Version] = []
    for key, pieces in timelines.items():
        clock = 0
        for number, (gap, length, value) in enumerate(pieces):
            start = clock + gap
            clock = start + length
            found.append((key, value, start, None if last_open and number == len(pieces) - 1 else clock))
    return found


def history_frame(versions: list[Version]) -> pl.DataFrame:
    return pl.DataFrame(
        [(*key, value, hour(start), hour(end)) for key, value, start, end in versions],
        schema={
            "k": pl.String,
            "n": pl.Int64,
            "value": pl.Int64,
            "valid_from": pl.Datetime("us", "UTC"),
            "valid_to": pl.Datetime("us", "UTC"),
        },
        orient="row",
    )


def fact_frame(facts: list[Fact]) -> pl.DataFrame:
    return pl.DataFrame(
        [(*key, hour(at)) for key, at in facts],
        schema={"k": pl.String, "n": pl.Int32, "at": pl.Datetime("us", "UTC")},
        orient="row",
    )


@settings(max_examples=150)
@given(
    timelines,
    st.booleans(),
    st.lists(st.tuples(keys, st.one_of(st.none(), st.integers(0, 12))), max_size=12),
    st.sampled_from(["null", "earliest"]),
    st.randoms(),
)
def test_each_fact_gets_what_a_loop_over_all_versions_finds(
    timelines: Any, last_open: bool, facts: list[Fact], before_first: Any, order: Any
) -> None:
    versions = versions_of(timelines, last_open=last_open)
    order.shuffle(versions)
    facts += facts[:3]
    joined = point_in_time(
        fact_frame(facts), history_frame(versions), on=["k", "n"], at="at", before_first=before_first
    )
    expected = oracle(facts, versions, before_first=before_first)
    assert joined.frame.select("k", "n", "at").equals(fact_frame(facts)), "the facts, in their order"
    assert joined.frame["value"].to_list() == [value for value, _ in expected]
    why = [reason for _, reason in expected]
    assert (joined.facts, joined.matched, joined.before_first, joined.unmatched) == (
        len(facts),
        why.count("matched"),
        why.count("before_first"),
        why.count("unmatched"),
    )
    filled = point_in_time(
        fact_frame(facts),
        history_frame(versions),
        on=["k", "n"],
        at="at",
        before_first=before_first,
        unknown_member={"value": -1},
    )
    assert filled.frame["valid_from"].null_count() == 0
    given_none = joined.frame["valid_from"].is_null()
    assert filled.frame["value"].to_list() == joined.frame.select(
        pl.when(given_none).then(-1).otherwise("value").alias("value")
    )["value"].to_list()  # fmt: skip


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """EDDB is renamed at 2, EDDT ends at 4 and is back at 6."""
    for at, names in {
        0: {"EDDB": "Schönefeld", "EDDT": "Tegel"},
        2: {"EDDB": "Brandenburg", "EDDT": "Tegel"},
        4: {"EDDB": "Brandenburg"},
        6: {"EDDB": "Brandenburg", "EDDT": "Tegel"},
    }.items():
        frame = pl.DataFrame({"icao": list(names), "name": list(names.values())})
        write(tmp_path / "airports", frame, History(keys=["icao"], effective_at=hour(at)))
    return tmp_path / "airports"


FLIGHTS = pl.DataFrame(
    {"origin": ["EDDT", "EDDB", "EDDT", "EDDB", "LOWW"], "dep": [hour(at) for at in (5, 2, 3, -1, 1)]}
)


def names(facts: Any, table: Any, **options: Any) -> list[str | None]:
    return point_in_time(facts, table, on={"origin": "icao"}, at="dep", **options).frame["name"].to_list()


def test_a_table_and_facts_of_other_names_and_kinds_of_frame(table: Path) -> None:
    expected = [None, "Brandenburg", "Tegel", None, None]
    for facts in (FLIGHTS, FLIGHTS.lazy(), FLIGHTS.to_arrow(), FLIGHTS.to_pandas()):
        assert names(facts, table) == expected
    for history in (str(table), pl.read_delta(str(table)), pl.scan_delta(str(table))):
        assert names(FLIGHTS, history) == expected
    joined = point_in_time(FLIGHTS, table, on={"origin": "icao"}, at="dep")
    assert joined.frame.columns == ["origin", "dep", "name", "valid_from", "valid_to", "is_current"]
    assert (joined.facts, joined.matched, joined.before_first, joined.unmatched) == (5, 2, 1, 2)


def test_a_fact_before_the_first_version_gets_what_is_asked_for(table: Path) -> None:
    assert names(FLIGHTS, table, before_first="earliest")[3] == "Schönefeld"
    with pytest.raises(InputError, match=r"1 of 5 facts .*origin='EDDB'.*known valid_from=.*`before_first=\"null\"`"):
        names(FLIGHTS, table, before_first="error")
    assert names(FLIGHTS.filter(pl.col("dep") >= START), table, before_first="error")[1] == "Brandenburg"
    with pytest.raises(ConfigError, match="valid: `null`, `earliest`, `error`"):
        names(FLIGHTS, table, before_first="first")


def test_the_unknown_member_fills_what_found_nothing(table: Path) -> None:
    member = {"icao": "?", "name": "unknown"}
    joined = point_in_time(FLIGHTS, table, on={"origin": "icao"}, at="dep", unknown_member=member)
    assert joined.frame["name"].to_list() == ["unknown", "Brandenburg", "Tegel", "unknown", "unknown"]
    assert joined.frame.row(0)[3:] == (dt.datetime(1, 1, 1, tzinfo=dt.UTC), None, True)
    assert (joined.matched, joined.before_first, joined.unmatched) == (2, 1, 2), "they are counted as before"
    assert names(FLIGHTS, table, unknown_member=member, before_first="earliest")[3] == "Schönefeld"
    with pytest.raises(KeyValueError, match="is that of a real key"):
        names(FLIGHTS, table, unknown_member={"icao": "EDDB"})
    with pytest.raises(ConfigError, match="Did you mean `name`"):
        names(FLIGHTS, table, unknown_member={"nam": "unknown"})


def test_columns_and_names_that_both_have(table: Path) -> None:
    facts = FLIGHTS.with_columns(name=pl.lit("delayed"), valid_from=pl.lit(1))
    joined = point_in_time(facts, table, on={"origin": "icao"}, at="dep", columns=["name", "icao"])
    assert joined.frame.columns == ["origin", "dep", "name", "valid_from", "name_history", "icao"]
    assert joined.frame["icao"].to_list() == [None, "EDDB", "EDDT", None, None]
    joined = point_in_time(facts, table, on={"origin": "icao"}, at="dep", suffix="_then")
    assert joined.frame.columns[4:] == ["name_then", "valid_from_then", "valid_to", "is_current"]
    assert joined.frame["name"].to_list() == ["delayed"] * 5
    with pytest.raises(ConfigError, match=r"under names that the facts have \(\['name_history'\]\)"):
        names(facts.with_columns(name_history=pl.lit(1)), table)
    with pytest.raises(ConfigError, match="another `suffix`"):
        names(facts, table, suffix="")


def test_times_are_read_as_everywhere(table: Path) -> None:
    def first(at: Any, **options: Any) -> str | None:
        facts = pl.DataFrame({"origin": ["EDDB"], "dep": at})
        return names(facts, table, **options)[0]

    naive = START.replace(tzinfo=None)
    assert first([START.date()]) == "Schönefeld"
    assert first([START.date()], timezone="Europe/Berlin") is None, "midnight there is an hour before"
    assert first([naive + dt.timedelta(hours=1)], timezone="UTC") == "Schönefeld"
    assert first(pl.Series([hour(2)]).dt.convert_time_zone("Asia/Tokyo")) == "Brandenburg"
    just_before = pl.Series([hour(2)]).cast(pl.Datetime("ns", "UTC")) - pl.duration(nanoseconds=1)
    assert first(pl.select(just_before).to_series()) == "Schönefeld", "an interval does not hold its end"
    assert first([None]) is None
    with pytest.raises(TimeValueError, match="`at` `dep` has no zone"):
        first([naive])
    with pytest.raises(TimeValueError, match="happens twice or never in `Europe/Berlin`"):
        first([dt.datetime(2024, 3, 31, 2, 30, tzinfo=dt.UTC).replace(tzinfo=None)], timezone="Europe/Berlin")
    with pytest.raises(TimeValueError, match="`at` `dep` is String"):
        first(["2024-01-01"])
    with pytest.raises(ConfigError, match="IANA"):
        first([naive], timezone="Berlin")


MICROS, NANOS = pl.Datetime("us"), pl.Datetime("ns")
NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
SAME_KIND: dict[str, tuple[pl.Series, pl.Series]] = {
    "int32 and int64": (pl.Series([1], dtype=pl.Int32), pl.Series([1], dtype=pl.Int64)),
    "uint64 and int8": (pl.Series([1], dtype=pl.UInt64), pl.Series([1], dtype=pl.Int8)),
    "a category and a string": (pl.Series(["x"], dtype=pl.Categorical), pl.Series(["x"])),
    "decimals": (pl.Series([Decimal("1.5")]), pl.Series([Decimal("1.50")])),
    "timestamps of two units": (pl.Series([NOON]).cast(pl.Datetime("ns", "Asia/Tokyo")), pl.Series([NOON])),
    "dates": (pl.Series([NOON.date()]), pl.Series([NOON.date()])),
    "booleans": (pl.Series([False]), pl.Series([False])),
    "binary": (pl.Series([b"\0"]), pl.Series([b"\0"])),
}
NO_MATCH: dict[str, tuple[pl.Series, pl.Series]] = {
    "past the other's range": (pl.Series([2**64 - 1], dtype=pl.UInt64), pl.Series([-1], dtype=pl.Int64)),
    "finer than a microsecond": (pl.Series([1]).cast(NANOS), pl.Series([0]).cast(MICROS)),
    "a digit more": (pl.Series([Decimal("1.51")]), pl.Series([Decimal("1.5")])),
    "a null without a type": (pl.Series([None]), pl.Series(["x"])),
}
OTHER_KIND: dict[str, tuple[pl.Series, pl.Series]] = {
    "a digit as text": (pl.Series(["1"]), pl.Series([1])),
    "floats": (pl.Series([1.0]), pl.Series([1.0])),
    "a float of pandas": (pl.Series([1.0]), pl.Series([1])),
    "with and without a zone": (pl.Series([NOON]), pl.Series([NOON.replace(tzinfo=None)])),
    "a date and a timestamp": (pl.Series([NOON.date()]), pl.Series([NOON])),
    "lists": (pl.Series([[1]]), pl.Series([[1]])),
    "a boolean and an integer": (pl.Series([True]), pl.Series([1])),
}


def keyed(pair: tuple[pl.Series, pl.Series]) -> int:
    facts = pl.DataFrame({"x": pair[0], "at": [START]})
    history = pl.DataFrame({"k": pair[1], "valid_from": [START], "valid_to": [None]})
    joined = point_in_time(facts, history, on={"x": "k"}, at="at")
    assert joined.frame["x"].dtype == pair[0].dtype
    return joined.matched


@pytest.mark.parametrize("case", SAME_KIND)
def test_keys_of_one_kind_meet(case: str) -> None:
    assert keyed(SAME_KIND[case]) == 1


@pytest.mark.parametrize("case", NO_MATCH)
def test_keys_without_an_equal_match_nothing(case: str) -> None:
    assert keyed(NO_MATCH[case]) == 0


@pytest.mark.parametrize("case", OTHER_KIND)
def test_keys_of_other_kinds_are_refused(case: str) -> None:
    with pytest.raises(SchemaError, match=r"the facts' `x` is .* and the history's key `k` is .* cast one of them"):
        keyed(OTHER_KIND[case])


BROKEN: dict[str, list[tuple[int | None, int | None]]] = {
    "two open versions": [(0, OPEN), (2, OPEN)],
    "an overlap": [(0, 3), (2, 4)],
    "one inside of another": [(0, 9), (2, 4)],
    "the same twice": [(0, 2), (0, 2)],
    "an end before the start": [(3, 1)],
    "nothing between start and end": [(3, 3)],
    "no start": [(None, 1)],
}


@pytest.mark.parametrize("case", BROKEN)
def test_versions_that_would_multiply_facts_are_refused(case: str) -> None:
    spans = BROKEN[case]
    history = pl.DataFrame(
        {"k": [1] * len(spans), "valid_from": [hour(a) for a, _ in spans], "valid_to": [hour(b) for _, b in spans]},
        schema_overrides={"valid_from": pl.Datetime("us", "UTC"), "valid_to": pl.Datetime("us", "UTC")},
    )
    facts = pl.DataFrame({"k": [1], "at": [START]})
    with pytest.raises(TableStateError, match=r"the history is no history to join with: .*\(k=1, valid_from="):
        point_in_time(facts, history, on="k", at="at")


def test_no_facts_and_no_versions(table: Path) -> None:
    joined = point_in_time(FLIGHTS.clear(), table, on={"origin": "icao"}, at="dep")
    assert (joined.frame.height, joined.frame.width, joined.facts) == (0, 6, 0)
    empty = pl.read_delta(str(table)).clear()
    joined = point_in_time(FLIGHTS, empty, on={"origin": "icao"}, at="dep")
    assert (joined.unmatched, joined.frame["name"].null_count()) == (5, 5)
    assert names(FLIGHTS, empty, unknown_member={"name": "?"}) == ["?"] * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": []}, "`on` is empty"),
        ({"on": "icao"}, "the facts have no column `icao`"),
        ({"on": {"origin": "iata"}}, r"no key columns \['iata'\]"),
        ({"on": {"origin": "icao", "dest": "icao"}}, "give each key once"),
        ({"at": "departure"}, "the facts have no column `departure`"),
        ({"columns": ["nam"]}, "has no column `nam`. Did you mean `name`"),
        ({"columns": []}, "`columns` is empty"),
        ({"columns": ["name", "name"]}, "would come twice"),
        ({"valid_to": "until"}, "so it is no history"),
    ],
)
def test_columns_that_are_not_there_are_said(table: Path, options: dict[str, Any], message: str) -> None:
    facts = FLIGHTS.with_columns(dest=pl.lit("EDDB"))
    with pytest.raises(ConfigError, match=message):
        point_in_time(facts, table, **{"on": {"origin": "icao"}, "at": "dep", **options})


def test_what_is_no_table_and_no_frame_is_said(tmp_path: Path) -> None:
    with pytest.raises(TableNotFoundError):
        names(FLIGHTS, tmp_path / "nothing")
    with pytest.raises(InputError, match="A frame is expected"):
        names([1], FLIGHTS)
    with pytest.raises(InputError, match="A frame is expected"):
        names(FLIGHTS, [1])


def test_two_million_facts_stay_two_million(tmp_path: Path) -> None:
    n = 2_000_000
    history = pl.DataFrame({"k": range(1000)}).join(pl.DataFrame({"v": range(10)}), how="cross")
    at = pl.lit(START) + pl.duration(hours=pl.col("v"))
    history = history.with_columns(valid_from=at, valid_to=at + pl.duration(hours=1)).sample(fraction=1, shuffle=True)
    facts = pl.DataFrame({"k": pl.int_range(n, eager=True) % 1000, "h": pl.int_range(n, eager=True) % 11})
    facts = facts.with_columns(at=pl.lit(START) + pl.duration(hours=pl.col("h")))
    joined = point_in_time(facts, history, on="k", at="at", columns=["v"])
    assert joined.frame.select("k", "h", "at").equals(facts)
    assert joined.frame.filter(pl.col("h") < 10).select((pl.col("h") == pl.col("v")).all()).item()
    assert joined.unmatched == joined.frame["v"].null_count() == facts.filter(h=10).height
