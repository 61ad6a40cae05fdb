"""A history read through Spark is the one that is read on one machine, row for row, in a session of another zone."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from fuse_dagster.core.errors import FuseError
from fuse_dagster.engines.spark.frames import from_spark, is_spark, to_spark
from fuse_dagster.tables import History, PointInTime, as_of, changes, current, numbered, point_in_time, write

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = [pytest.mark.spark, pytest.mark.slow]

START = dt.datetime(2024, 3, 30, 22, tzinfo=dt.UTC)
NAIVE = START.replace(tzinfo=None)
STRINGS = ["a", "A", "ä", "", "🛫", "Z"]
UNKNOWN = {"k": "?", "n": -1, "v": -1.0}


@pytest.fixture(autouse=True, scope="module")
def _elsewhere(spark: SparkSession) -> Iterator[None]:
    """The clock of this zone goes forward and back within the times of the tests."""
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Europe/Berlin")
    yield
    spark.conf.set("spark.sql.session.timeZone", before)


def hour(at: float | None) -> dt.datetime | None:
    return None if at is None else START + dt.timedelta(hours=at)


def load(folder: Path, snapshots: dict[int, dict[tuple[str, int], float | None]]) -> Path:
    schema = {"k": pl.String, "n": pl.Int32, "v": pl.Float64, "l": pl.List(pl.Int64)}
    for at, rows in snapshots.items():
        frame = pl.DataFrame([(*key, v, None if v is None else [1]) for key, v in rows.items()], schema, orient="row")
        mode = History(keys=["k", "n"], effective_at=hour(at), max_delete_fraction=None, allow_empty=True)
        write(folder, frame, mode)
    return folder


def drawn(seed: int) -> dict[int, dict[tuple[str, int], float | None]]:
    """Snapshots of up to twelve keys, a third of them absent each time, in any order."""
    said = random.Random(seed)
    keys = [(k, n) for k in STRINGS for n in (1, 2)]
    found = {
        at: {key: said.choice([None, 0.0, 1.5]) for key in keys if said.random() < 0.66}
        for at in said.sample(range(0, 24, 2), 7)
    }
    return found | {max(found): {}} if seed % 2 else found


TOLD: dict[int, dict[tuple[str, int], float | None]] = {
    0: {("a", 1): 1.0, ("a", 2): None, ("ä", 1): 1.0},
    4: {("a", 1): 2.0, ("ä", 1): None},
    6: {("a", 1): 2.0, ("a", 2): None},
    2: {("a", 1): 1.0, ("", 1): 7.0},
}


@pytest.fixture(scope="module", params=["told", "drawn 1"])
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    name = request.param
    return load(tmp_path_factory.mktemp("t") / "t", TOLD if name == "told" else drawn(int(name[-1])))


def same(on_spark: Any, local: pl.LazyFrame | pl.DataFrame, *, in_order: bool = False) -> None:
    assert is_spark(on_spark)
    found, wanted = from_spark(on_spark), local.lazy().collect()
    assert found.schema == wanted.schema
    if not in_order:
        found, wanted = (frame.sort(pl.exclude(pl.List)) for frame in (found, wanted))
    assert found.equals(wanted)


def test_moments(table: Path, spark: SparkSession) -> None:
    member: dict[str, Any] = {"unknown_member": UNKNOWN, "keys": ["k", "n"]}
    for moment in (hour(-1), hour(0), hour(5.5), hour(6), hour(99), dt.date(2024, 3, 31)):
        assert moment is not None
        same(as_of(table, moment, spark=spark), as_of(table, moment))
    summer = dt.date(2024, 3, 31)
    same(
        as_of(table, summer, timezone="Asia/Tokyo", spark=spark, **member),
        as_of(table, summer, timezone="Asia/Tokyo", **member),
    )
    same(current(table, spark=spark), current(table))
    same(current(table, spark=spark, **member), current(table, **member))


def test_what_happened(table: Path, spark: SparkSession) -> None:
    for start, end in ((0, None), (2, 6), (4, 4), (1, 23)):
        span = hour(start), hour(end)
        found = changes(table, *span, keys=["k", "n"], spark=spark)  # type: ignore[arg-type]  # a start is a time
        same(found, changes(table, *span, keys=["k", "n"]), in_order=True)  # type: ignore[arg-type]
    # Of one part of the key alone, versions overlap: what each of them says is said in any case.
    named: dict[str, str] = {"change": "what happened", "changed_at": "a`b.c"}
    same(changes(table, START, keys="k", spark=spark, **named), changes(table, START, keys="k", **named))


def test_numbers(table: Path, spark: SparkSession) -> None:
    same(numbered(table, keys=["k", "n"], spark=spark), numbered(table, keys=["k", "n"]))


def facts_of(seed: int) -> pl.DataFrame:
    """Facts of known and other keys, at, between and beyond all bounds; some come twice, or lack key or time."""
    said = random.Random(seed)
    keys, numbers, hours = [*STRINGS, "other", None], [1, 1, 2, 3, None], [None, *range(-2, 26)]
    rows = [(said.choice(keys), said.choice(numbers), hour(said.choice(hours))) for _ in range(200)]
    schema = {"k": pl.String, "number": pl.Int64, "at": pl.Datetime("us", "UTC")}
    facts = pl.DataFrame(rows + rows[:40], schema, orient="row")
    return facts.with_columns(v=pl.lit("theirs"), **{"a`b.c": pl.int_range(pl.len()) % 7, "c0": pl.lit(None)})


def joined_alike(spark: SparkSession, facts: pl.DataFrame, history: Any, **options: Any) -> PointInTime[pl.DataFrame]:
    """Join on both engines, and see that both give and count the same."""
    local = point_in_time(facts, history, **options)
    theirs = history if isinstance(history, Path) else to_spark(spark, history)
    on_spark = point_in_time(to_spark(spark, facts), theirs, spark=spark, **options)
    same(on_spark.frame, local.frame)
    for name in ("facts", "matched", "before_first", "unmatched"):
        assert getattr(on_spark, name) == getattr(local, name), name
    return local


def test_facts_and_the_versions_of_their_time(table: Path, spark: SparkSession) -> None:
    facts = facts_of(3)
    asked: dict[str, Any] = {"on": {"k": "k", "number": "n"}, "at": "at"}
    local = joined_alike(spark, facts, table, **asked)
    assert min(local.matched, local.before_first, local.unmatched) > 0, "each kind of fact is among them"
    joined_alike(spark, facts, table, **asked, before_first="earliest", columns=["v", "valid_to", "l", "n"])
    joined_alike(spark, facts, table, **asked, unknown_member=UNKNOWN, suffix="`.then")
    joined_alike(spark, facts.clear(), table, **asked, before_first="earliest", unknown_member={"v": 0.0})


def test_facts_of_any_frame_are_taken(tmp_path: Path, spark: SparkSession) -> None:
    table, facts = load(tmp_path / "t", TOLD), facts_of(4).drop("c0")
    wanted = point_in_time(facts, table, on={"k": "k", "number": "n"}, at="at").frame
    for given, history in ((facts.lazy(), str(table)), (facts.to_arrow(), pl.scan_delta(str(table)))):
        same(point_in_time(given, history, on={"k": "k", "number": "n"}, at="at", spark=spark).frame, wanted)


def versions(key: pl.Series, spans: list[tuple[float | None, float | None]] | None = None) -> pl.DataFrame:
    spans = spans or [(0, None)] * len(key)
    return pl.DataFrame(
        {"k": key, "valid_from": [hour(a) for a, _ in spans], "valid_to": [hour(b) for _, b in spans]},
        schema_overrides={"valid_from": pl.Datetime("us", "UTC"), "valid_to": pl.Datetime("us", "UTC")},
    )


GAP = NAIVE.replace(day=31)
WALL = [NAIVE + dt.timedelta(hours=h) for h in (-1, 0, 1, 2, 3, 5, 6, 7)]
TIMES: dict[str, tuple[list[Any], str | None]] = {
    "dates": ([dt.date(2024, 3, 30), dt.date(2024, 3, 31), dt.date(1, 1, 1), dt.date(9999, 12, 31), None], None),
    "dates of a zone": ([dt.date(2024, 3, 30), dt.date(2024, 3, 31), dt.date(2024, 10, 28)], "Asia/Tokyo"),
    "wall times of UTC": ([*WALL, None], "UTC"),
    "wall times beside a gap": ([WALL[0], GAP.replace(hour=1), GAP.replace(hour=3)], "Europe/Berlin"),
    "wall times in the west": (WALL, "America/Los_Angeles"),
    "micros": ([START - dt.timedelta(microseconds=1), START, None], None),
}  # fmt: skip


@pytest.mark.parametrize("case", TIMES)
def test_times_of_any_kind_are_placed_alike(case: str, spark: SparkSession) -> None:
    at, zone = TIMES[case]
    facts = pl.DataFrame({"k": ["a"] * len(at), "at": at})
    history = versions(pl.Series(["a"] * 3), [(0, 2), (2, 4), (5, None)])
    joined_alike(spark, facts, history, on="k", at="at", timezone=zone)


MICROS = pl.Datetime("us")
KEYS: dict[str, tuple[pl.Series, pl.Series, int]] = {
    "integers": (pl.Series([1, 2, None], dtype=pl.Int16), pl.Series([2, 2**40, None]), 1),
    "decimals": (pl.Series([Decimal("1.50"), Decimal("1.51")]), pl.Series([Decimal("1.5"), Decimal(10)]), 1),
    "dates": (pl.Series([START.date()]), pl.Series([START.date()]), 1),
    "timestamps": (pl.Series([START]), pl.Series([START]).dt.convert_time_zone("Asia/Tokyo"), 1),
    "times without a zone": (pl.Series([GAP.replace(hour=h) for h in (2, 3)]), pl.Series([GAP.replace(hour=3)]), 1),
    "booleans": (pl.Series([False, True]), pl.Series([False]), 1),
    "binary": (pl.Series([b"\0", b""]), pl.Series([b"", b"\1"]), 1),
    "text by its bytes": (pl.Series(["a", "A", "ä", "a "]), pl.Series(["a", "a\u0308"]), 1),
    "no type": (pl.Series([None, None]), pl.Series(["a"]), 0),
}  # fmt: skip


@pytest.mark.parametrize("case", KEYS)
def test_keys_meet_alike(case: str, spark: SparkSession) -> None:
    left, right, matched = KEYS[case]
    facts = pl.DataFrame({"x": left}).with_columns(at=pl.lit(START))
    assert joined_alike(spark, facts, versions(right), on={"x": "k"}, at="at").matched == matched


def test_text_is_compared_by_its_bytes_whatever_the_collation(spark: SparkSession) -> None:
    history = to_spark(spark, versions(pl.Series(["a", "A"]), [(0, 2), (2, None)]))
    loose = history.selectExpr("collate(k, 'UTF8_LCASE') AS k", "valid_from", "valid_to", "true AS is_current")
    asked = point_in_time(loose.selectExpr("k", "valid_from AS at"), loose, on="k", at="at", spark=spark)
    assert (asked.facts, asked.matched, asked.before_first) == (2, 2, 0)
    assert from_spark(numbered(loose, keys="k", spark=spark))["version"].to_list() == [1, 1]
    told = from_spark(changes(loose, START, keys="k", spark=spark))
    assert told["change"].to_list() == ["insert", "insert", "close"]
    assert told["k"].to_list() == ["a", "A", "a"]
    with_member = current(loose, unknown_member={"k": "B"}, keys="k", spark=spark)
    assert from_spark(with_member)["k"].sort().to_list() == ["A", "B"]


def test_a_history_without_an_end_needs_no_type_for_it(spark: SparkSession) -> None:
    history = pl.DataFrame({"k": ["a"], "valid_from": [START], "valid_to": [None]})
    same(as_of(to_spark(spark, history), START, spark=spark), as_of(history, START))
    joined_alike(spark, pl.DataFrame({"k": ["a"], "at": [START]}), history, on="k", at="at")


def alike(spark: SparkSession, call: Callable[..., Any], match: str) -> None:
    """Both engines refuse by the same error, in the same words."""
    said = []
    for session in (None, spark):
        with pytest.raises(FuseError, match=match) as caught:
            call(spark=session)
        said.append((type(caught.value), str(caught.value)))
    assert said[0] == said[1]


def facts(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame({"k": ["a"], "at": [START]} | columns)


BROKEN: list[list[tuple[float | None, float | None]]] = [[(0, 2), (0, 2)], [(3, 3)], [(None, 1)]]


def test_versions_that_would_multiply_facts_are_refused_alike(spark: SparkSession) -> None:
    for spans in BROKEN:
        history = versions(pl.Series(["a"] * len(spans)), spans)
        alike(spark, lambda h=history, **o: point_in_time(facts(), h, on="k", at="at", **o), "1 versions have no start")


def test_facts_that_can_not_be_placed_are_refused_alike(spark: SparkSession) -> None:
    history = versions(pl.Series(["a"]))
    autumn = [NAIVE.replace(month=10, day=27, hour=h, minute=m) for h, m in ((1, 59), (2, 0), (2, 59), (3, 0))]
    at = [GAP.replace(hour=2, minute=30), *autumn]
    for times, zone, match in (
        (at, "Europe/Berlin", r"twice or never .* in 3 rows: \(k='a'"),
        ([NAIVE.replace(month=4, day=7, hour=1, minute=45)], "Australia/Lord_Howe", "twice or never"),
        ([dt.date(2018, 11, 4)], "America/Sao_Paulo", "twice or never"),
        ([NAIVE], None, r"`at` `at` has no zone, as \(at=datetime"),
        ([NAIVE], "Berlin", "IANA"),
        (["2024-01-01"], None, "`at` `at` is String"),
    ):
        given = pl.DataFrame({"k": ["a"] * len(times), "at": times})
        ask = lambda g=given, z=zone, **o: point_in_time(g, history, on="k", at="at", timezone=z, **o)  # noqa: E731
        alike(spark, ask, match)
    beside = pl.DataFrame({"k": ["a", "a"], "at": [autumn[0], autumn[-1]]})
    joined_alike(spark, beside, history, on="k", at="at", timezone="Europe/Berlin")


def test_what_can_not_be_asked_is_refused_alike(tmp_path: Path, spark: SparkSession) -> None:
    t = load(tmp_path / "t", TOLD)
    fact = pl.DataFrame({"k": ["a"], "n": [1], "at": [hour(-1)], "name_history": [1], "x": [1.0]})
    asked: dict[str, Any] = {"on": ["k", "n"], "at": "at"}
    cases: list[tuple[Callable[..., Any], str]] = [
        (lambda **o: as_of(t, START, valid_to="x", **o), "so it is no history"),
        (lambda **o: current(t, valid_to="is_current", **o), "no timestamps with a zone"),
        (lambda **o: current(tmp_path / "x", **o), "no Delta table"),
        (lambda **o: current(t, unknown_member={"k": "?"}, **o), "needs `keys`"),
        (lambda **o: current(t, unknown_member={"k": "a", "n": 1}, keys=["k", "n"], **o), "a real key"),
        (lambda **o: current(t, unknown_member={"k": "?", "v": "1"}, keys="k", **o), "can't hold it"),
        (lambda **o: changes(t, START, keys="x", **o), "no key columns"),
        (lambda **o: changes(t, START, keys="k", change="v", **o), "`change=`"),
        (lambda **o: changes(t, START, keys="k", change="x", changed_at="x", **o), "must be different names"),
        (lambda **o: numbered(t, keys="k", name="v", **o), "`name=`"),
        (lambda **o: point_in_time(fact, t, **asked, before_first="error", **o), r"1 of 1 facts .*known valid_from="),
        (lambda **o: point_in_time(fact, t, on={"x": "k"}, at="at", **o), "no exact equality"),
        (lambda **o: point_in_time(fact, t, on="y", at="at", **o), "the facts have no column `y`"),
        (lambda **o: point_in_time(fact, t, on=["k", "n"], at="y", **o), "the facts have no column `y`"),
        (lambda **o: point_in_time(fact, t, **asked, columns=["vv"], **o), "Did you mean `v`"),
        (lambda **o: point_in_time(fact.with_columns(v=1, v_history=1), t, **asked, **o), "another `suffix`"),
        (lambda **o: point_in_time(fact, t, **asked, unknown_member={"k": "a", "n": 1}, **o), "a real key"),
        (lambda **o: point_in_time([1], t, **asked, **o), "A frame is expected"),
        (lambda **o: point_in_time(fact, [1], **asked, **o), "A frame is expected"),
    ]
    for call, match in cases:
        alike(spark, call, match)
