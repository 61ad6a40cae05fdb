"""Adopting tables that others wrote: whatever their columns are called and their ends mean, the history goes on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from fuse_dagster.core.errors import ConfigError, TableNotFoundError, TableStateError
from fuse_dagster.tables import AdoptReport, History, Overwrite, adopt, hash_keys, known_snapshots, write
from fuse_dagster_tests.tables.history.test_properties import PATIENT, keys, plain, values
from fuse_dagster_tests.tables.oracle import ABSENT, Statement, Version, of_changes, of_snapshots

START = dt.date(2024, 1, 1)
NEVER = dt.date(9999, 12, 31)
NAMES = {"start": "valid_from", "end": "valid_to", "active": "is_current"}


def day(at: int) -> dt.date:
    return START + dt.timedelta(days=at)


def midnight(at: int) -> dt.datetime:
    return dt.datetime.combine(day(at), dt.time())


def utc(at: int) -> dt.datetime:
    return midnight(at).replace(tzinfo=dt.UTC)


class Encoding:
    """One way in which others write versions."""

    def __init__(self, *, zone: str | None = None, **options: Any) -> None:
        self.zone, self.options = zone, options

    def start(self, at: int) -> Any:
        raise AssertionError

    def end(self, until: int | None) -> Any:
        raise AssertionError

    def flag(self, until: int | None) -> dict[str, Any]:
        return {}


class ClosedDates(Encoding):
    """Dates, the last day belongs, 9999-12-31 is open, Y and N."""

    def __init__(self) -> None:
        super().__init__(ends=NEVER, closed_intervals="both", step=dt.timedelta(days=1))

    def start(self, at: int) -> dt.date:
        return day(at)

    def end(self, until: int | None) -> dt.date:
        return NEVER if until is None else day(until - 1)

    def flag(self, until: int | None) -> dict[str, str]:
        return {"active": "Y" if until is None else "N"}


class NaiveLocal(Encoding):
    """Wall times of Vienna without a zone, null is open, no flag."""

    def __init__(self) -> None:
        super().__init__(zone="Europe/Vienna")

    def start(self, at: int) -> dt.datetime:
        return midnight(at)

    def end(self, until: int | None) -> dt.datetime | None:
        return None if until is None else midnight(until)


class ClosedMicros(Encoding):
    """Aware times, the last microsecond belongs, the end of the year 9999 is open, 1 and 0."""

    def __init__(self) -> None:
        never = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)
        super().__init__(ends=never, closed_intervals="both", step=dt.timedelta(microseconds=1))

    def start(self, at: int) -> dt.datetime:
        return utc(at)

    def end(self, until: int | None) -> Any:
        return self.options["ends"] if until is None else utc(until) - dt.timedelta(microseconds=1)

    def flag(self, until: int | None) -> dict[str, int]:
        return {"active": int(until is None)}


ENCODINGS = [ClosedDates(), NaiveLocal(), ClosedMicros()]
SCHEMA = {"k": pl.String, "n": pl.Int64, "f": pl.Float64, "t": pl.String}


def theirs(versions: list[tuple[Any, Any, int, int | None]], how: Encoding) -> pl.DataFrame:
    """Versions as another tool would have written them."""
    made = [
        {
            **dict(zip(SCHEMA, (*key, *value), strict=True)),
            "start": how.start(at),
            "end": how.end(until),
            **how.flag(until),
        }
        for key, value, at, until in versions
    ]
    found = pl.DataFrame(made, schema_overrides=SCHEMA)
    return found.with_columns(pl.col("end").cast(found.schema["start"]))


def read(table: str, zone: str | None) -> set[Version]:
    found = pl.read_delta(table)
    assert found.select((pl.col("is_current") == pl.col("valid_to").is_null()).all()).item()
    times = [
        pl.col(name).dt.convert_time_zone(zone or "UTC").dt.replace_time_zone(None)
        for name in ("valid_from", "valid_to")
    ]
    rows = found.select("k", "n", "f", "t", *times).rows()
    assert len(rows) == len(set(rows))

    def number(moment: dt.datetime | None) -> int | None:
        return None if moment is None else (moment - midnight(0)) // dt.timedelta(days=1)

    return {((k, n), plain((f, t)), number(a), number(b)) for k, n, f, t, a, b in rows}  # type: ignore[misc]


def split(versions: list[tuple[Any, Any, int, int | None]], at: int) -> list[tuple[Any, Any, int, int | None]]:
    """The same history with equal neighbours that touch at a time."""
    return [
        part
        for key, value, start, end in versions
        for part in (
            [(key, value, start, at), (key, value, at, end)]
            if start < at and (end is None or at < end)
            else [(key, value, start, end)]
        )
    ]


def raw_versions(snapshots: Mapping[int, Any]) -> list[tuple[Any, Any, int, int | None]]:
    """What the oracle says of snapshots, with values that can be written."""
    written = {plain(value): value for batch in snapshots.values() for value in batch.values()}
    truth = of_snapshots({at: {k: plain(v) for k, v in batch.items()} for at, batch in snapshots.items()})
    return [(key, written[value], at, until) for key, value, at, until in truth]  # type: ignore[index]


def frame(batch: Mapping[Any, Any]) -> pl.DataFrame:
    return pl.DataFrame([(*key, *value) for key, value in batch.items()], schema=SCHEMA, orient="row")


snapshots_of = st.dictionaries(
    st.integers(0, 6), st.dictionaries(keys, values, min_size=1, max_size=3), min_size=1, max_size=4
)


@PATIENT
@given(snapshots_of, snapshots_of, st.sampled_from(ENCODINGS), st.integers(1, 6), st.data())
def test_an_adopted_table_goes_on_in_any_order(
    old: dict[int, Any], new: dict[int, Any], how: Encoding, cut: int, data: st.DataObject
) -> None:
    versions = split(raw_versions(old), cut)
    mode = History(keys=["k", "n"], timezone=how.zone)
    with TemporaryDirectory() as folder:
        table = folder + "/t"
        write(table, theirs(versions, how), Overwrite())
        names = {old: new for old, new in NAMES.items() if old != "active" or how.flag(None)}
        report = adopt(table, mode, rename=names, **how.options)
        assert (report.version, report.rows_before) == (1, len(versions))
        assert read(table, how.zone) == {(k, plain(v), a, b) for k, v, a, b in raw_versions(old)}
        assert report.rows_after + report.coalesced == report.rows_before
        # The table shows what held at each of its starts and ends, and that these times were looked at.
        times = {t for _, _, a, b in versions for t in (a, b) if t is not None}
        assert report.snapshot_times == len(times)
        truth = {at: {k: plain(v) for k, v, a, b in versions if a <= at and (b is None or at < b)} for at in times} | {
            at: {k: plain(v) for k, v in batch.items()} for at, batch in new.items()
        }
        for at in data.draw(st.permutations(sorted(new))):
            later = History(keys=["k", "n"], timezone=how.zone, effective_at=day(at), max_delete_fraction=None)
            write(table, frame(new[at]), later)
        assert read(table, how.zone) == of_snapshots(truth)


@PATIENT
@given(
    snapshots_of,
    st.lists(
        st.builds(Statement, key=keys, at=st.integers(0, 7), value=values | st.just(ABSENT)),
        max_size=6,
        unique_by=lambda s: (s.key, s.at),
    ),
    st.integers(1, 6),
)
def test_an_adopted_feed_goes_on_by_statements(old: dict[int, Any], new: list[Statement], cut: int) -> None:
    doubled = {2 * at: batch for at, batch in old.items()}  # statements between them never meet their times
    versions = split(raw_versions(doubled), 2 * cut)
    mode = History(keys=["k", "n"], source="changes", effective_column="at", delete_when="gone", ignore=["gone"])
    how = ClosedMicros()
    with TemporaryDirectory() as folder:
        table = folder + "/t"
        found = theirs(versions, how).with_columns(at=pl.col("start"), gone=pl.lit(False))
        write(table, found, Overwrite())
        report = adopt(table, mode, rename=NAMES, **how.options)
        assert report.snapshot_times == 0
        said = [Statement(k, a, plain(v)) for k, v, a, _ in versions]
        starts = {(k, a) for k, _, a, _ in versions}
        said += [Statement(k, b, ABSENT) for k, _, _, b in versions if b is not None and (k, b) not in starts]
        for one in new:
            value = (None, None) if one.value == ABSENT else one.value
            row = pl.DataFrame([(*one.key, *value)], schema=SCHEMA, orient="row")  # type: ignore[misc]
            write(table, row.with_columns(at=pl.lit(utc(2 * one.at + 1)), gone=pl.lit(one.value == ABSENT)), mode)
            said.append(Statement(one.key, 2 * one.at + 1, ABSENT if one.value == ABSENT else plain(one.value)))
        assert read(table, None) == of_changes(said)


def tall(**columns: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(columns)


GOOD = tall(k=["a", "a", "b"], v=[1, 2, 1], valid_from=[day(0), day(3), day(1)], valid_to=[day(3), None, day(2)])
MODE = History(keys=["k"])


@pytest.fixture
def table(tmp_path: Path) -> str:
    return str(tmp_path / "t")


def refusal(table: str, found: pl.DataFrame, mode: History = MODE, **options: Any) -> str:
    """The message of an adoption that is refused and leaves the table as it was."""
    write_deltalake(table, found)
    with pytest.raises(TableStateError) as refused:
        adopt(table, mode, **options)
    assert DeltaTable(table).version() == 0
    assert pl.read_delta(table).equals(found)
    assert not Path(table, "_fuse").exists()
    return str(refused.value)


def test_all_problems_are_told_at_once(table: str) -> None:
    rows: list[tuple[str | None, int, dt.date | None, dt.date | None, str | None]] = [
        (None, 1, day(0), None, "Y"),
        ("no start", 1, None, None, "Y"),
        ("reversed", 1, day(5), day(2), "N"),
        ("empty", 1, day(5), day(5), "N"),
        ("doubled", 1, day(1), day(2), "N"),
        ("doubled", 2, day(1), day(2), "N"),
        ("open twice", 1, day(1), None, "Y"),
        ("open twice", 2, day(4), None, "Y"),
        ("overlap", 1, day(1), day(5), "N"),
        ("overlap", 2, day(4), None, "Y"),
        ("flag", 1, day(1), None, "N"),
        ("unclear", 1, day(1), None, "maybe"),
    ]
    found = pl.DataFrame(rows, schema=["k", "v", "valid_from", "valid_to", "is_current"], orient="row")
    message = refusal(table, found.filter(pl.col("k").is_not_null()))
    for told in (
        "1 rows have no start",
        "1 versions end before they start: (k='reversed'",
        "1 versions are empty",
        "2 versions stand more than once with one key and start: (k='doubled'",
        "2 versions are open beside another open one of their key: (k='open twice'",
        "1 versions begin before the one before them ended: (k='overlap'",
        "`is_current` contradicts the end in 1 rows: (k='flag'",
        "`is_current` says neither yes nor no in 1 rows: (k='unclear'",
        "(8)",
    ):
        assert told in message, message
    assert "(9)" not in message
    null_key = refusal(table + "2", found.filter(pl.col("k").is_null() | (pl.col("k") == "flag")))
    assert "1 rows have a null key" in null_key
    assert "contradicts the end" in null_key


def test_times_are_never_parsed_or_guessed(table: str) -> None:
    text = refusal(table, GOOD.with_columns(pl.col("valid_from", "valid_to").cast(pl.String)))
    assert "`valid_from` `valid_from` is String" in text
    assert "`valid_to` `valid_to` is String" in text
    naive = GOOD.with_columns(pl.col("valid_from", "valid_to").cast(pl.Datetime("us")))
    assert "has no zone" in refusal(table + "2", naive)
    skipped = (
        naive.filter(k="a").tail(1).with_columns(valid_from=pl.lit("2024-03-31 02:30").str.to_datetime(time_unit="us"))
    )
    assert "twice or never" in refusal(table + "3", skipped, History(keys=["k"], timezone="Europe/Vienna"))


def test_an_end_in_the_year_9999_is_not_guessed_to_be_open(table: str) -> None:
    far = GOOD.with_columns(pl.col("valid_to").fill_null(NEVER))
    assert "`ends=dt.date(9999, 12, 31)`" in refusal(table, far)
    assert adopt(table, MODE, ends=NEVER).open_versions == 1
    assert pl.read_delta(table)["valid_to"].null_count() == 1


def test_a_date_stands_for_any_moment_of_its_day(table: str) -> None:
    far = dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)
    found = GOOD.with_columns(
        pl.col("valid_from", "valid_to").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    ).with_columns(pl.col("valid_to").fill_null(far))
    write_deltalake(table, found)
    assert adopt(table, MODE, ends=NEVER).open_versions == 1


def test_a_sentinel_that_does_not_fit_the_column_is_refused(table: str) -> None:
    naive = GOOD.with_columns(pl.col("valid_from", "valid_to").cast(pl.Datetime("us")))
    aware = dt.datetime(9999, 12, 31, tzinfo=dt.UTC)
    assert "does not fit `valid_to`" in refusal(table, naive, History(keys=["k"], timezone="UTC"), ends=aware)


def test_a_step_finer_than_the_column_is_refused(table: str) -> None:
    options = {"closed_intervals": "both", "step": dt.timedelta(hours=1)}
    assert "give whole days" in refusal(table, GOOD, **options)


def test_closed_dates_are_days_of_their_zone_when_the_clock_changes(table: str) -> None:
    spring = tall(
        k=["a", "a"],
        v=[1, 2],
        valid_from=[dt.date(2024, 3, 1), dt.date(2024, 4, 1)],
        valid_to=[dt.date(2024, 3, 31), None],
    )
    write_deltalake(table, spring)
    mode = History(keys=["k"], timezone="Europe/Vienna")
    report = adopt(table, mode, closed_intervals="both", step=dt.timedelta(days=1))
    assert (report.gaps, report.coalesced) == (0, 0)


def test_closed_intervals_that_are_read_as_half_open_show_as_gaps(table: str) -> None:
    closed = GOOD.with_columns(pl.col("valid_to").dt.offset_by("-1d"))
    write_deltalake(table, closed.filter(k="a"))
    report = adopt(table, MODE, dry_run=True)
    assert report == AdoptReport(
        version=None, rows_before=2, rows_after=2, keys=1, open_versions=1, gaps=1, coalesced=0, snapshot_times=3
    )


def test_a_dry_run_writes_nothing(table: str) -> None:
    write_deltalake(table, GOOD)
    assert adopt(table, MODE, dry_run=True).version is None
    assert (DeltaTable(table).version(), Path(table, "_fuse").exists()) == (0, False)


def test_the_known_times_are_all_starts_and_ends(table: str) -> None:
    write_deltalake(table, GOOD)
    adopt(table, MODE)
    assert known_snapshots(table)["effective_at"].to_list() == [utc(0), utc(1), utc(2), utc(3)]
    assert known_snapshots(table)["columns"].to_list()[0] == ["k", "v"]


def test_columns_that_others_need_can_be_left_behind(table: str) -> None:
    write_deltalake(table, GOOD.with_columns(row_hash=pl.lit("x"), number=pl.lit(1)))
    adopt(table, MODE, drop=["row_hash", "number"], rename={"v": "value"})
    assert pl.read_delta(table).columns == ["k", "value", "valid_from", "valid_to", "is_current"]
    batch = pl.DataFrame({"k": ["a"], "value": [2]})
    assert write(table, batch, History(keys=["k"], effective_at=day(9))).unchanged == 1


def test_what_columns_promise_and_say_stays(table: str) -> None:
    schema = pa.schema([
        pa.field("k", pa.string(), nullable=False, metadata={"comment": "the key"}),
        pa.field("start", pa.date32(), nullable=False),
        pa.field("end", pa.date32(), nullable=False, metadata={"comment": "exclusive"}),
    ])  # fmt: skip
    data = pa.table({"k": ["a"], "start": [day(0)], "end": [NEVER]}, schema=schema)
    write_deltalake(table, data, configuration={"delta.logRetentionDuration": "interval 60 days"}, name="airports")
    adopt(table, MODE, rename={"start": "valid_from", "end": "valid_to"}, ends=NEVER)
    found = DeltaTable(table)
    told = {field.name: (field.nullable, field.metadata) for field in found.schema().fields}
    assert told["k"] == (False, {"comment": "the key"})
    assert told["valid_from"] == (False, {})
    assert told["valid_to"] == (True, {"comment": "exclusive"})
    assert found.metadata().name == "airports"
    assert found.metadata().configuration == {"delta.logRetentionDuration": "interval 60 days"}


def test_a_table_in_our_shape_is_not_written_again(table: str) -> None:
    ours = GOOD.with_columns(
        pl.col("valid_from", "valid_to").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        is_current=pl.col("valid_to").is_null(),
    )
    write_deltalake(table, ours)
    files = DeltaTable(table).file_uris()
    assert adopt(table, MODE).version == 1
    assert DeltaTable(table).file_uris() == files
    assert write(table, pl.DataFrame({"k": ["a"], "v": [5]}), History(keys=["k"], effective_at=day(9))).updated == 1


def test_a_history_of_ours_is_taken_again_only_when_asked(table: str) -> None:
    for at in (0, 2):
        write(table, pl.DataFrame({"k": ["a", "b"], "v": [at, 1]}), History(keys=["k"], effective_at=day(at)))
    with pytest.raises(TableStateError, match="a history of ours already"):
        adopt(table, MODE)
    DeltaTable(table).delete("k = 'b'")
    report = adopt(table, MODE, again=True)
    assert (report.rows_after, report.snapshot_times, report.version) == (2, 2, 3)
    assert write(table, pl.DataFrame({"k": ["a"], "v": [2]}), History(keys=["k"], effective_at=day(5))).unchanged == 1


def test_hashed_keys_are_made_and_never_take_the_place_of_others(table: str) -> None:
    write_deltalake(table, GOOD.with_columns(dk=pl.lit("theirs")))
    mode = History(keys=["k"], durable_key="dk", surrogate_key="sk")
    with pytest.raises(TableStateError, match="a column `dk` of its own"):
        adopt(table, mode)
    adopt(table, mode, drop=["dk"])
    found = pl.read_delta(table)
    assert found["dk"].equals(hash_keys(found, ["k"]), check_names=False)
    assert found["sk"].equals(hash_keys(found, ["k", "valid_from"]), check_names=False)
    adopt(table, mode, again=True)


def test_arguments_that_cannot_work_are_refused_together(table: str) -> None:
    write_deltalake(table, GOOD)
    with pytest.raises(ConfigError, match=r"`ends` is `never`.*needs `step`"):
        adopt(table, MODE, ends="never", closed_intervals="both")
    with pytest.raises(ConfigError, match=r"`rename` names `vv`.*`drop` names `w`.*has no \['valid_to'\]"):
        adopt(table, MODE, rename={"vv": "x", "valid_to": "until"}, drop=["w"])
    with pytest.raises(ConfigError, match=r"two columns would be called \['v'\]"):
        adopt(table, MODE, rename={"k": "V"})
    with pytest.raises(ConfigError, match="`step` goes with"):
        adopt(table, MODE, step=dt.timedelta(days=1))
    with pytest.raises(ConfigError, match="both name"):
        adopt(table, MODE, rename={"v": "w"}, drop=["v"])
    with pytest.raises(TableNotFoundError):
        adopt(table + "x", MODE)


def test_a_feed_whose_time_is_another_than_the_start_is_refused(table: str) -> None:
    mode = History(keys=["k"], source="changes", effective_column="at")
    found = GOOD.with_columns(at=pl.col("valid_from").dt.offset_by("1d"))
    assert "`effective_column` `at` is another time than the start in 3 rows" in refusal(table, found, mode)


def test_a_partitioned_table_is_refused_with_the_reason(table: str) -> None:
    write_deltalake(table, GOOD, partition_by=["k"])
    with pytest.raises(TableStateError, match="physical partitions"):
        adopt(table, MODE)


def test_masked_values_stay_out_of_the_message(table: str) -> None:
    found = GOOD.with_columns(valid_to=pl.col("valid_from"), v=pl.lit(4711))
    write_deltalake(table, found.with_columns(is_current=pl.lit("?")))
    with pytest.raises(TableStateError, match=r"v=\*\*\*") as refused:
        adopt(table, MODE, masked=["v", "k"])
    assert "4711" not in str(refused.value)


def test_overwritten_columns_hold_the_latest_value(table: str) -> None:
    write_deltalake(table, GOOD.with_columns(owner=pl.Series(["old", "new", "b"])))
    mode = History(keys=["k"], overwrite_columns=["owner"])
    adopt(table, mode)
    assert pl.read_delta(table).sort("k", "valid_from")["owner"].to_list() == ["new", "new", "b"]


def test_an_adopted_feed_may_overwrite_columns(table: str) -> None:
    versions = split([("a", 1, 0, None)], 4)
    found = pl.DataFrame(
        [(k, v, "new" if a else "old", utc(a), utc(a), b and utc(b)) for k, v, a, b in versions],
        schema=["k", "v", "owner", "at", "valid_from", "valid_to"],
        orient="row",
    ).with_columns(pl.col("at", "valid_from", "valid_to").cast(pl.Datetime("us", "UTC")))
    write_deltalake(table, found)
    mode = History(keys=["k"], source="changes", effective_column="at", overwrite_columns=["owner"])
    assert adopt(table, mode).coalesced == 1
    late = pl.DataFrame({"k": ["a"], "v": [2], "owner": ["late"], "at": [utc(2)]})
    write(table, late, mode)
    rows = pl.read_delta(table).sort("valid_from").select("v", "owner", pl.col("valid_from").dt.day()).rows()
    assert rows == [(1, "new", 1), (2, "new", 3), (1, "new", 5)]


def test_of_two_who_adopt_one_table_one_does(table: str) -> None:
    write_deltalake(table, GOOD)
    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(adopt, table, MODE) for _ in range(2)]
        errors = [task.exception() for task in tasks]
    (refused,) = [error for error in errors if error is not None]
    assert "a history of ours already" in str(refused)
    assert DeltaTable(table).version() == 1
