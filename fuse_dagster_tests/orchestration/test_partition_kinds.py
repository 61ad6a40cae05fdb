"""Every kind of partition, through real runs: write several, run one again and see no other change, read one and all.

What a partition holds is (value of the deciding column, payload); the payload is the number of the run.
"""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import polars as pl
import pytest

from fuse_dagster import delta_table
from fuse_dagster_tests.orchestration.helpers import Lake, StepFailedError

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

VIENNA = ZoneInfo("Europe/Vienna")


@dataclass(frozen=True)
class Kind:
    """One kind of partitioning.

    Attributes:
        definition: How the asset is partitioned.
        by: The deciding column, or a map from dimension to column.
        rows: Partition key -> values of the deciding column (or columns) that belong to it.
        stray: A value that belongs to none of `rows`' first partition.
        dtype: Types of the deciding columns.
        layout: The physical partition columns that are expected.
        dynamic: Keys to add to the instance first.
    """

    definition: dg.PartitionsDefinition
    rows: dict[str, list[tuple[Any, ...]]]
    stray: tuple[Any, ...]
    dtype: dict[str, Any]
    by: Any = "p"
    layout: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = field(default=())


def static(*keys: str) -> dg.StaticPartitionsDefinition:
    return dg.StaticPartitionsDefinition(list(keys))


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def wall(*parts: int) -> datetime:
    return datetime(*parts)  # type: ignore[arg-type, misc]  # noqa: DTZ001 - a clock's reading


ODD = ["it's", "a/b", "k=v", "ü ✓ 日本", 'say "x"', "100%", "a b", "%2F", "1", "01", "null", "..", "back\\slash"]

KINDS = {
    "int": Kind(
        static("1", "2", "10", "-3"),
        {key: [(int(key),)] for key in ("1", "2", "10", "-3")},
        (7,),
        {"p": pl.Int32},
        layout=("p",),
    ),
    "string with odd keys": Kind(
        static(*ODD), {key: [(key,)] for key in ODD}, ("other",), {"p": pl.String}, layout=("p",)
    ),
    "bool": Kind(
        static("true", "false"), {"true": [(True,)], "false": [(False,)]}, (False,), {"p": pl.Boolean}, layout=("p",)
    ),
    "static dates": Kind(
        static("2024-01-31", "2024-02-29"),
        {"2024-01-31": [(date(2024, 1, 31),)], "2024-02-29": [(date(2024, 2, 29),)]},
        (date(2024, 2, 1),),
        {"p": pl.Date},
        layout=("p",),
    ),
    "static timestamps": Kind(
        static("2024-01-01T00:00:00+00:00", "2024-01-01T06:00:00+00:00"),
        {
            "2024-01-01T00:00:00+00:00": [(utc(2024, 1, 1),)],
            "2024-01-01T06:00:00+00:00": [(utc(2024, 1, 1, 6),)],
        },
        (utc(2024, 1, 1, 0, 0, 1),),
        {"p": pl.Datetime("us", "UTC")},
    ),
    "dynamic": Kind(
        dg.DynamicPartitionsDefinition(name="letters"),
        {"a": [("a",)], "b'c": [("b'c",)], "d/e": [("d/e",)]},
        ("z",),
        {"p": pl.String},
        layout=("p",),
        dynamic=("a", "b'c", "d/e"),
    ),
    "daily on dates": Kind(
        dg.DailyPartitionsDefinition("2024-02-28", end_date="2024-03-03"),
        {f"2024-{m:02}-{d:02}": [(date(2024, m, d),)] for m, d in ((2, 28), (2, 29), (3, 1), (3, 2))},
        (date(2024, 3, 2),),
        {"p": pl.Date},
        layout=("p",),
    ),
    "daily in Vienna on UTC times": Kind(
        dg.DailyPartitionsDefinition("2024-10-26", end_date="2024-10-29", timezone="Europe/Vienna"),
        {
            "2024-10-26": [(utc(2024, 10, 25, 22),), (utc(2024, 10, 26, 21, 59, 59, 999999),)],
            "2024-10-27": [(utc(2024, 10, 26, 22),), (utc(2024, 10, 27, 22, 59),)],
            "2024-10-28": [(utc(2024, 10, 27, 23),)],
        },
        (utc(2024, 10, 26, 22),),
        {"p": pl.Datetime("us", "UTC")},
    ),
    "daily in Vienna on wall times": Kind(
        dg.DailyPartitionsDefinition("2024-10-26", end_date="2024-10-29", timezone="Europe/Vienna"),
        {
            "2024-10-26": [(wall(2024, 10, 26),), (wall(2024, 10, 26, 23, 59, 59, 999999),)],
            "2024-10-27": [(wall(2024, 10, 27),), (wall(2024, 10, 27, 2, 30),)],
            "2024-10-28": [(wall(2024, 10, 28, 12),)],
        },
        (wall(2024, 10, 27),),
        {"p": pl.Datetime("us")},
    ),
    "hourly over the repeated hour": Kind(
        dg.HourlyPartitionsDefinition("2024-10-27-01:00", end_date="2024-10-27-04:00", timezone="Europe/Vienna"),
        {
            "2024-10-27-01:00": [(utc(2024, 10, 26, 23),)],
            "2024-10-27-02:00": [(utc(2024, 10, 27, 0),), (utc(2024, 10, 27, 0, 59),)],
            "2024-10-27-02:00+0100": [(utc(2024, 10, 27, 1),)],
            "2024-10-27-03:00": [(utc(2024, 10, 27, 2),)],
        },
        (utc(2024, 10, 27, 0),),
        {"p": pl.Datetime("us", "UTC")},
    ),
    "hourly on naive times": Kind(
        dg.HourlyPartitionsDefinition("2024-01-01-00:00", end_date="2024-01-01-04:00"),
        {f"2024-01-01-0{hour}:00": [(wall(2024, 1, 1, hour, 30),)] for hour in range(4)},
        (wall(2024, 1, 1, 1),),
        {"p": pl.Datetime("us")},
    ),
    "weekly on dates": Kind(
        dg.WeeklyPartitionsDefinition("2024-01-07", end_date="2024-01-28"),
        {
            "2024-01-07": [(date(2024, 1, 7),), (date(2024, 1, 13),)],
            "2024-01-14": [(date(2024, 1, 14),)],
            "2024-01-21": [(date(2024, 1, 21),), (date(2024, 1, 27),)],
        },
        (date(2024, 1, 14),),
        {"p": pl.Date},
    ),
    "monthly on first days": Kind(
        dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2024-04-01"),
        {f"2024-0{month}-01": [(date(2024, month, 1),)] for month in (1, 2, 3)},
        (date(2024, 2, 1),),
        {"p": pl.Date},
        layout=("p",),
    ),
    "monthly on any day": Kind(
        dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2024-04-01"),
        {
            "2024-01-01": [(date(2024, 1, 1),), (date(2024, 1, 31),)],
            "2024-02-01": [(date(2024, 2, 29),)],
            "2024-03-01": [(date(2024, 3, 15),)],
        },
        (date(2024, 2, 1),),
        {"p": pl.Date},
    ),
    "cron": Kind(
        dg.TimeWindowPartitionsDefinition(
            start=datetime(2024, 1, 1, tzinfo=UTC), fmt="%Y-%m-%d", cron_schedule="0 0 1,16 * *", end_offset=0
        ),
        {
            "2024-01-01": [(utc(2024, 1, 15, 23),)],
            "2024-01-16": [(utc(2024, 1, 16),), (utc(2024, 1, 31, 23),)],
            "2024-02-01": [(utc(2024, 2, 1),)],
        },
        (utc(2024, 1, 16),),
        {"p": pl.Datetime("us", "UTC")},
    ),
    "months as text": Kind(
        dg.MonthlyPartitionsDefinition("2024-01", end_date="2024-04", fmt="%Y-%m"),
        {f"2024-0{month}": [(f"2024-0{month}",)] for month in (1, 2, 3)},
        ("2024-1",),
        {"p": pl.String},
        layout=("p",),
    ),
    "months as integers": Kind(
        dg.MonthlyPartitionsDefinition("202401", end_date="202404", fmt="%Y%m"),
        {f"20240{month}": [(202400 + month,)] for month in (1, 2, 3)},
        (202404,),
        {"p": pl.Int64},
        layout=("p",),
    ),
    "multi: day and country": Kind(
        dg.MultiPartitionsDefinition(
            {
                "day": dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-04"),
                "country": static("at", "o'x"),
            }
        ),
        {
            f"{country}|2024-01-0{day}": [(country, utc(2024, 1, day, 5)), (country, utc(2024, 1, day, 6))]
            for day in (1, 2, 3)
            for country in ("at", "o'x")
        },
        ("at", utc(2024, 1, 2)),
        {"c": pl.String, "t": pl.Datetime("us", "UTC")},
        by={"day": "t", "country": "c"},
        layout=("c",),
    ),
    "multi: static and dynamic": Kind(
        dg.MultiPartitionsDefinition({"a": static("1", "2"), "b": dg.DynamicPartitionsDefinition(name="letters")}),
        {f"{a}|{b}": [(int(a), b)] for a in "12" for b in "xy"},
        (2, "x"),
        {"a": pl.Int8, "b": pl.String},
        by={"a": "a", "b": "b"},
        layout=("a", "b"),
        dynamic=("x", "y"),
    ),
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest, lake: Lake) -> Kind:
    found = KINDS[request.param]
    if found.dynamic:
        lake.instance.add_dynamic_partitions("letters", list(found.dynamic))
    return found


class Runs:
    """An asset whose rows say which run wrote them, and assets that read it."""

    def __init__(self, kind: Kind, lake: Lake) -> None:
        self.kind, self.lake, self.number, self.strays = kind, lake, 0, False
        self.loaded: dict[str, pl.DataFrame] = {}
        runs = self

        @delta_table(
            partitions_def=kind.definition,
            partition_by=kind.by,
            backfill_policy=dg.BackfillPolicy.single_run(),
        )
        def table(context) -> pl.DataFrame:  # type: ignore[no-untyped-def]
            return runs.frame(context.partition_keys)

        @dg.asset(partitions_def=kind.definition)
        def same(table: pl.DataFrame) -> None:
            runs.loaded["same"] = table

        @dg.asset
        def everything(table: pl.LazyFrame) -> None:
            runs.loaded["everything"] = table.collect()

        self.table, self.same, self.everything = table, same, everything

    def frame(self, keys: list[str]) -> pl.DataFrame:
        rows = [(*values, self.number) for key in keys for values in self.kind.rows[key]]
        if self.strays:
            rows.append((*self.kind.stray, self.number))
        return pl.DataFrame(rows, schema={**self.kind.dtype, "run": pl.Int64}, orient="row")

    def write(self, key: str) -> None:
        self.number += 1
        self.lake.run([self.table], partition=key)

    def write_all(self) -> pl.DataFrame:
        for key in self.kind.rows:
            self.write(key)
        return self.lake.rows("table")

    def of(self, rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
        """The rows that belong to some partitions, by the test's own table of values."""
        names = list(self.kind.dtype)
        wanted = {values for key in keys for values in self.kind.rows[key]}
        return rows.filter([row in wanted for row in rows.select(names).rows()])


def equal(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    return one.sort(one.columns).equals(other.sort(one.columns))


def test_every_partition_is_there_after_all_were_written(kind: Kind, lake: Lake) -> None:
    runs = Runs(kind, lake)
    written = runs.write_all()
    assert written.height == sum(len(values) for values in kind.rows.values())
    for number, key in enumerate(kind.rows, start=1):
        assert set(runs.of(written, [key])["run"]) == {number}
    assert lake.layout("table") == list(kind.layout)


def test_running_one_again_changes_no_other(kind: Kind, lake: Lake) -> None:
    runs = Runs(kind, lake)
    before = runs.write_all()
    for key in list(kind.rows)[:3]:
        runs.write(key)
        after = lake.rows("table")
        others = [other for other in kind.rows if other != key]
        assert equal(runs.of(after, others), runs.of(before, others))
        assert set(runs.of(after, [key])["run"]) == {runs.number}
        assert after.height == before.height
        before = after


def test_a_rerun_without_a_change_commits_nothing(kind: Kind, lake: Lake) -> None:
    runs = Runs(kind, lake)
    runs.write_all()
    version = lake.version("table")
    lake.run([runs.table], partition=list(kind.rows)[-1])
    assert lake.version("table") == version


def test_one_is_read_as_exactly_its_rows_and_all_as_all(kind: Kind, lake: Lake) -> None:
    runs = Runs(kind, lake)
    written = runs.write_all()
    for key in kind.rows:
        lake.run([runs.table, runs.same], select=[runs.same], partition=key)
        assert equal(runs.loaded["same"], runs.of(written, [key]))
    lake.run([runs.table, runs.everything], select=[runs.everything])
    assert equal(runs.loaded["everything"], written)


def test_a_range_is_written_and_read_in_one_go(kind: Kind, lake: Lake) -> None:
    runs = Runs(kind, lake)
    before = runs.write_all()
    # A range of multi partitions is a rectangle; two keys that differ in one dimension are one.
    multi = isinstance(kind.definition, dg.MultiPartitionsDefinition)
    chosen = ordered_keys(kind, lake)[: 2 if multi else -1]
    runs.number += 1
    lake.run([runs.table], range_=(chosen[0], chosen[-1]))
    after = lake.rows("table")
    others = [key for key in kind.rows if key not in chosen]
    assert equal(runs.of(after, others), runs.of(before, others))
    assert set(runs.of(after, chosen)["run"]) == {runs.number}
    assert lake.version("table") == len(kind.rows)


def ordered_keys(kind: Kind, lake: Lake) -> list[str]:
    """The keys with rows, in the order of the definition, which is that of a range."""
    keys = kind.definition.get_partition_keys(dynamic_partitions_store=lake.instance)
    return [key for key in keys if key in kind.rows]


def test_a_stray_row_is_an_error_and_every_file_stays(kind: Kind, lake: Lake) -> None:
    runs = Runs(kind, lake)
    runs.write_all()
    before = lake.files("table")
    runs.strays = True
    with pytest.raises(StepFailedError, match=r"1 of \d+ rows do not belong to the partition"):
        runs.write(next(iter(kind.rows)))
    assert lake.files("table") == before


def test_a_null_in_the_deciding_column_is_an_error_and_every_file_stays(kind: Kind, lake: Lake) -> None:
    runs = Runs(kind, lake)
    first = next(iter(kind.rows))
    runs.write(first)
    before = lake.files("table")
    nulls = Kind(kind.definition, kind.rows, (None,) * len(kind.dtype), kind.dtype, by=kind.by, layout=kind.layout)
    runs.kind, runs.strays = nulls, True
    with pytest.raises(StepFailedError, match="do not belong to the partition"):
        runs.write(first)
    assert lake.files("table") == before
