"""A partition as a slice, without a run: what is refused, and how few conditions it takes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import polars as pl
import pytest

from fuse_dagster.core.errors import ConfigError, PartitionError
from fuse_dagster.orchestration.partition_values import key_value
from fuse_dagster.orchestration.partitions import present_keys, slice_of
from fuse_dagster.tables.actions import HIVE_NULL
from fuse_dagster.tables.slices import Equals, Window

AWARE, NAIVE = pl.Datetime("us", "UTC"), pl.Datetime("us")


def static(*keys: str) -> dg.StaticPartitionsDefinition:
    return dg.StaticPartitionsDefinition(list(keys))


def hourly() -> dg.HourlyPartitionsDefinition:
    return dg.HourlyPartitionsDefinition("2024-10-27-00:00", timezone="Europe/Vienna", end_date="2024-10-27-06:00")


class TestKeys:
    @pytest.mark.parametrize(
        ("key", "dtype", "value"),
        [
            ("7", pl.Int8(), 7),
            ("-7", pl.Int64(), -7),
            ("0", pl.UInt8(), 0),
            ("true", pl.Boolean(), True),
            ("2024-01-31", pl.Date(), date(2024, 1, 31)),
            ("2024-01-31T12:00:00", NAIVE, datetime(2024, 1, 31, 12)),  # noqa: DTZ001 - the point
            ("2024-01-31T12:00:00+00:00", AWARE, datetime(2024, 1, 31, 12, tzinfo=UTC)),
            ("07", pl.String(), "07"),
        ],
    )
    def test_a_key_is_read_as_its_column_has_it(self, key: str, dtype: pl.DataType, value: object) -> None:
        found = key_value(key, dtype, "p")
        assert (found, type(found)) == (value, type(value))

    @pytest.mark.parametrize(
        ("key", "dtype"),
        [
            ("07", pl.Int64()),
            ("+7", pl.Int64()),
            ("-0", pl.Int64()),
            (" 7", pl.Int64()),
            ("7.0", pl.Int64()),
            ("\u0667", pl.Int64()),  # a seven in Arabic digits
            ("1_000", pl.Int64()),
            ("True", pl.Boolean()),
            ("1", pl.Boolean()),
            ("20240131", pl.Date()),
            ("2024-02-30", pl.Date()),
            ("2024-01-31", NAIVE),
            ("2024-01-31T12:00:00Z", AWARE),
            ("2024-01-31T13:00:00+01:00", AWARE),
            ("2024-01-31T12:00:00", AWARE),
            ("2024-01-31T12:00:00+00:00", NAIVE),
            ("1.5", pl.Float64()),
            ("1.5", pl.Decimal(5, 2)),
            ("a", pl.Binary()),
        ],
    )
    def test_another_spelling_is_refused(self, key: str, dtype: pl.DataType) -> None:
        with pytest.raises(PartitionError, match="is no value of `p`"):
            key_value(key, dtype, "p")

    @pytest.mark.parametrize("dtype", [pl.String(), pl.Int64()])
    def test_the_name_of_null_on_disk_is_refused(self, dtype: pl.DataType) -> None:
        with pytest.raises(PartitionError, match="Delta reads it back as null"):
            key_value(HIVE_NULL, dtype, "p")


class TestSlices:
    def test_adjoining_windows_are_one_and_others_stay_apart(self) -> None:
        definition = dg.DailyPartitionsDefinition("2024-01-01")
        keys = ["2024-01-03", "2024-01-01", "2024-01-02", "2024-01-09"]
        found = slice_of(keys, definition, "p", {"p": pl.Date()})
        assert found.any_of == (
            (Window("p", date(2024, 1, 1), date(2024, 1, 4)),),
            (Window("p", date(2024, 1, 9), date(2024, 1, 10)),),
        )

    def test_values_are_one_list(self) -> None:
        found = slice_of(["3", "1"], static("1", "2", "3"), "p", {"p": pl.Int64()})
        assert found.any_of == ((Equals("p", (3, 1)),),)

    def test_a_rectangle_of_two_dimensions_is_one_alternative(self) -> None:
        definition = dg.MultiPartitionsDefinition(
            {"c": static("at", "de", "ch"), "m": dg.MonthlyPartitionsDefinition("2024-01-01")}
        )
        months = [f"2024-{month:02}-01" for month in range(1, 13)]
        keys = [f"{country}|{month}" for month in months for country in ("at", "de")]
        found = slice_of(keys, definition, {"c": "c", "m": "d"}, {"c": pl.String(), "d": pl.Date()})
        assert found.any_of == ((Equals("c", ("at", "de")), Window("d", date(2024, 1, 1), date(2025, 1, 1))),)
        odd = slice_of([*keys, "ch|2024-01-01"], definition, {"c": "c", "m": "d"}, {"c": pl.String(), "d": pl.Date()})
        assert len(odd.any_of) == 2

    def test_a_date_column_cannot_decide_hours(self) -> None:
        with pytest.raises(PartitionError, match="do not start at midnight"):
            slice_of(["2024-10-27-04:00"], hourly(), "p", {"p": pl.Date()})

    def test_a_date_column_cannot_decide_days_that_start_at_six(self) -> None:
        definition = dg.DailyPartitionsDefinition("2024-01-01", hour_offset=6)
        with pytest.raises(PartitionError, match="do not start at midnight"):
            slice_of(["2024-01-01"], definition, "p", {"p": pl.Date()})

    def test_a_column_that_is_not_there_is_named(self) -> None:
        with pytest.raises(PartitionError, match=r"column `p`, which decides the partition, is not there.*`q`"):
            slice_of(["a"], static("a"), "p", {"q": pl.String()})

    @pytest.mark.parametrize("by", [None, {"x": "p"}])
    def test_one_dimension_needs_one_column(self, by: Any) -> None:
        with pytest.raises(ConfigError, match="Name the column"):
            slice_of(["a"], static("a"), by, {"p": pl.String()})

    @pytest.mark.parametrize("by", ["p", {"a": "p"}, {"a": "p", "c": "q"}])
    def test_two_dimensions_need_a_column_each(self, by: Any) -> None:
        definition = dg.MultiPartitionsDefinition({"a": static("1"), "b": static("1")})
        with pytest.raises(ConfigError, match="the partition dimensions `a`, `b`"):
            slice_of(["1|1"], definition, by, {"p": pl.String(), "q": pl.String()})


class TestRepeatedHour:
    """Vienna, 27 October 2024: the clock shows 02:00 to 03:00 twice."""

    @pytest.mark.parametrize(
        "keys", [["2024-10-27-02:00"], ["2024-10-27-02:00+0100"], ["2024-10-27-02:00+0100", "2024-10-27-03:00"]]
    )
    def test_naive_times_cannot_tell_its_two_passes_apart(self, keys: list[str]) -> None:
        with pytest.raises(PartitionError, match="which the clock shows twice"):
            slice_of(keys, hourly(), "p", {"p": NAIVE})

    @pytest.mark.parametrize(
        ("keys", "start", "end"),
        [
            (["2024-10-27-01:00"], 1, 2),
            (["2024-10-27-03:00"], 3, 4),
            (["2024-10-27-02:00", "2024-10-27-02:00+0100"], 2, 3),
            (["2024-10-27-01:00", "2024-10-27-02:00", "2024-10-27-02:00+0100", "2024-10-27-03:00"], 1, 4),
        ],
    )
    def test_around_it_and_over_both_passes_they_can(self, keys: list[str], start: int, end: int) -> None:
        found = slice_of(keys, hourly(), "p", {"p": NAIVE})
        assert found.any_of == (
            (Window("p", datetime(2024, 10, 27, start), datetime(2024, 10, 27, end)),),  # noqa: DTZ001 - wall time
        )

    def test_aware_times_can_always(self) -> None:
        found = slice_of(["2024-10-27-02:00"], hourly(), "p", {"p": AWARE})
        assert found.any_of == (
            (Window("p", datetime(2024, 10, 27, 0, tzinfo=UTC), datetime(2024, 10, 27, 1, tzinfo=UTC)),),
        )

    def test_the_missing_hour_of_spring_is_no_matter(self) -> None:
        definition = dg.DailyPartitionsDefinition("2024-03-30", timezone="Europe/Vienna")
        found = slice_of(["2024-03-31"], definition, "p", {"p": NAIVE})
        assert found.any_of == (
            (Window("p", datetime(2024, 3, 31), datetime(2024, 4, 1)),),  # noqa: DTZ001 - wall time
        )


class TestPresence:
    def test_windows_with_rows_are_counted_by_their_windows(self) -> None:
        definition = dg.WeeklyPartitionsDefinition("2024-01-07")
        keys = ["2024-01-21", "2024-01-07", "2024-01-14"]
        frame = pl.LazyFrame({"p": [date(2024, 1, 13), date(2024, 1, 21), date(2024, 1, 27)]})
        assert present_keys(keys, definition, "p", frame) == {"2024-01-07", "2024-01-21"}

    @pytest.mark.parametrize("unit", ["us", "ms", "ns"])
    def test_whatever_the_unit_of_the_times(self, unit: Any) -> None:
        times = pl.Series([datetime(2024, 10, 27, 1, 30, tzinfo=UTC)]).cast(pl.Datetime(unit, "UTC"))
        keys = hourly().get_partition_keys()
        assert present_keys(keys, hourly(), "p", pl.LazyFrame({"p": times})) == {"2024-10-27-02:00+0100"}

    def test_values_are_counted_per_dimension(self) -> None:
        definition = dg.MultiPartitionsDefinition({"a": static("1", "2"), "b": static("x", "y")})
        frame = pl.LazyFrame({"a": [1, 1], "b": ["x", "x"]})
        keys = ["1|x", "1|y", "2|x"]
        assert present_keys(keys, definition, {"a": "a", "b": "b"}, frame) == {"1|x"}
