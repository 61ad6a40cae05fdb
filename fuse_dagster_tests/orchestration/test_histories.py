"""Histories through real runs: a partition is a batch with a time, and the order of the runs does not matter."""

import itertools
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import polars as pl
import pytest

from fuse_dagster import DeltaTables, history_table
from fuse_dagster.orchestration.target import root_created
from fuse_dagster_tests.orchestration.helpers import Lake, StepFailedError, metadata

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

SNAPSHOTS = {
    "20240101": {"k": ["a", "b"], "v": ["1", "1"]},
    "20240201": {"k": ["a", "c"], "v": ["2", "1"]},
    "20240301": {"k": ["a", "b"], "v": ["2", "9"]},
}
HISTORY = [
    ("a", "1", date(2024, 1, 1), date(2024, 2, 1)),
    ("a", "2", date(2024, 2, 1), None),
    ("b", "1", date(2024, 1, 1), date(2024, 2, 1)),
    ("b", "9", date(2024, 3, 1), None),
    ("c", "1", date(2024, 2, 1), date(2024, 3, 1)),
]
STATIC = dg.StaticPartitionsDefinition(list(SNAPSHOTS))


def versions(lake: Lake, *key: str) -> list[tuple[Any, ...]]:
    frame = lake.rows(*(key or ("history",))).select("k", "v", pl.col("valid_from", "valid_to").dt.date())
    return sorted(frame.rows(), key=lambda row: row[:3])


def snapshot(key: str) -> pl.DataFrame:
    return pl.DataFrame(SNAPSHOTS[key])


def release_date(key: str) -> date:
    """At the top level, so that it can be named."""
    return date(int(key[:4]), int(key[4:6]), int(key[6:]))


def by_key(**options: Any) -> dg.AssetsDefinition:
    @history_table(keys=["k"], max_delete_fraction=None, **options)
    def history(context) -> pl.DataFrame:  # type: ignore[no-untyped-def]
        return snapshot(context.partition_key.replace("-", ""))

    return history


EFFECTIVE: dict[str, Callable[[], dg.AssetsDefinition]] = {
    "a format": lambda: by_key(partitions_def=STATIC, effective_format="%Y%m%d"),
    "a function": lambda: by_key(partitions_def=STATIC, effective_format=release_date),
    "dynamic keys": lambda: by_key(
        partitions_def=dg.DynamicPartitionsDefinition(name="releases"), effective_format="%Y%m%d"
    ),
    "the start of a time partition": lambda: by_key(
        partitions_def=dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2024-05-01")
    ),
}


@pytest.mark.parametrize("order", list(itertools.permutations(SNAPSHOTS)), ids="-".join)
@pytest.mark.parametrize("how", list(EFFECTIVE))
def test_any_order_of_the_partitions_gives_the_same_history(how: str, order: tuple[str, ...], lake: Lake) -> None:
    history = EFFECTIVE[how]()
    lake.instance.add_dynamic_partitions("releases", list(SNAPSHOTS))
    monthly = isinstance(history.partitions_def, dg.TimeWindowPartitionsDefinition)
    for key in order:
        lake.run([history], partition=release_date(key).isoformat() if monthly else key)
    assert versions(lake) == HISTORY
    before = lake.version("history")
    lake.run([history], partition=release_date(order[0]).isoformat() if monthly else order[0])
    assert lake.version("history") == before, "the same batch again commits nothing"


def test_the_start_of_a_partition_is_that_of_its_zone(lake: Lake) -> None:
    definition = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-03", timezone="Europe/Vienna")

    @history_table(keys=["k"], partitions_def=definition)
    def history() -> pl.DataFrame:
        return snapshot("20240101")

    lake.run([history], partition="2024-01-01")
    assert set(lake.rows("history")["valid_from"]) == {datetime(2023, 12, 31, 23, tzinfo=UTC)}


def ranged(value: Callable[[list[str]], Any], **options: Any) -> dg.AssetsDefinition:
    @history_table(
        keys=["k"],
        partitions_def=STATIC,
        effective_format="%Y%m%d",
        max_delete_fraction=None,
        backfill_policy=dg.BackfillPolicy.single_run(),
        **options,
    )
    def history(context):  # type: ignore[no-untyped-def]
        return value(context.partition_keys)

    return history


def test_a_range_as_a_map_applies_each_batch_in_effective_order(lake: Lake) -> None:
    history = ranged(lambda keys: {key: snapshot(key) for key in reversed(keys)})
    said = metadata(lake.run([history], range_=("20240101", "20240301")), "history")
    assert versions(lake) == HISTORY
    assert lake.version("history") == 2, "each batch is a commit"
    assert said["rows_in"] == 6
    assert said["delta_version"] == 2
    assert said["dagster/row_count"] == 5
    assert "dagster/partition_row_count" not in said


def test_a_range_as_one_frame_is_told_apart_by_its_column(lake: Lake) -> None:
    history = ranged(
        lambda keys: pl.concat(snapshot(key).with_columns(release=pl.lit(key)) for key in keys),
        partition_by="release",
        ignore=["release"],
    )
    lake.run([history], range_=("20240101", "20240301"))
    assert versions(lake) == HISTORY


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (lambda _: snapshot("20240101"), "returned one frame for 3 partitions"),
        (lambda keys: {keys[0]: snapshot(keys[0])}, "Return one frame for each of them"),
    ],
)
def test_a_range_whose_batches_cannot_be_told_apart_is_refused(value: Any, why: str, lake: Lake) -> None:
    with pytest.raises(StepFailedError, match=why):
        lake.run([ranged(value)], range_=("20240101", "20240301"))
    assert not (lake.root / "history").exists()


@pytest.mark.parametrize("one_frame", [True, False], ids=["one frame", "a map"])
def test_a_refused_batch_says_which_ones_before_it_were_committed(one_frame: bool, lake: Lake) -> None:
    good = {key: snapshot(key).with_columns(release=pl.lit(key)) for key in SNAPSHOTS}
    bad = good | {"20240301": good["20240301"].with_columns(k=pl.lit("a"))}
    frames = iter([bad, good])

    def value(_: list[str]) -> object:
        found = next(frames)
        return pl.concat(found.values()) if one_frame else found

    history = ranged(value, partition_by="release", ignore=["release"])
    with pytest.raises(StepFailedError) as caught:
        lake.run([history], range_=("20240101", "20240301"))
    message = str(caught.value)
    assert "KeyValueError: The batch of `20240301` failed: " in message
    assert (
        "The batches of `20240101`, `20240201` before it were committed; a re-run changes nothing in them." in message
    )
    assert lake.version("history") == 1
    lake.run([history], range_=("20240101", "20240301"))
    assert lake.version("history") == 2
    assert versions(lake) == HISTORY


def test_a_refused_batch_that_is_the_first_says_no_more_than_why(lake: Lake) -> None:
    history = ranged(lambda keys: {key: pl.DataFrame({"k": ["a", "a"], "v": ["1", "2"]}) for key in keys})
    with pytest.raises(StepFailedError) as caught:
        lake.run([history], range_=("20240101", "20240301"))
    assert "committed" not in str(caught.value)


@pytest.mark.parametrize("kind", [pl.Categorical(), pl.Enum(list(SNAPSHOTS))])
def test_batches_are_told_apart_by_a_category(kind: pl.DataType, lake: Lake) -> None:
    history = ranged(
        lambda keys: pl.concat(snapshot(key).with_columns(release=pl.lit(key)) for key in keys).cast({"release": kind}),
        partition_by="release",
        ignore=["release"],
    )
    lake.run([history], range_=("20240101", "20240301"))
    assert versions(lake) == HISTORY


def test_a_zone_in_a_format_without_a_clock_counts(lake: Lake) -> None:
    @history_table(
        keys=["k"],
        partitions_def=dg.StaticPartitionsDefinition(["2024-01-01+0200"]),
        effective_format="%Y-%m-%d%z",
    )
    def history() -> pl.DataFrame:
        return snapshot("20240101")

    lake.run([history], partition="2024-01-01+0200")
    assert set(lake.rows("history")["valid_from"]) == {datetime(2023, 12, 31, 22, tzinfo=UTC)}


def test_two_keys_of_one_time_are_refused(lake: Lake) -> None:
    @history_table(
        keys=["k"],
        partitions_def=dg.StaticPartitionsDefinition(["2024-1-1", "2024-01-01"]),
        effective_format="%Y-%m-%d",
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def history(context):  # type: ignore[no-untyped-def]
        return {key: snapshot("20240101") for key in context.partition_keys}

    with pytest.raises(StepFailedError, match="have one effective time"):
        lake.run([history], range_=("2024-1-1", "2024-01-01"))


def test_a_key_that_is_no_time_names_the_format(lake: Lake) -> None:
    @history_table(keys=["k"], partitions_def=dg.StaticPartitionsDefinition(["first"]), effective_format="%Y%m%d")
    def history() -> pl.DataFrame:
        return snapshot("20240101")

    with pytest.raises(StepFailedError, match="`first` is no time of the format `%Y%m%d`"):
        lake.run([history], partition="first")


def test_without_partitions_the_time_is_that_of_the_run(lake: Lake) -> None:
    frames = iter([snapshot("20240101"), snapshot("20240101"), snapshot("20240201")])

    @history_table(keys=["k"])
    def history() -> pl.DataFrame:
        return next(frames)

    first = lake.run([history])
    lake.run([history])
    assert lake.version("history") == 0, "an unchanged snapshot commits nothing"
    last = lake.run([history])
    created = [
        lake.instance.get_run_record_by_id(result.run_id).create_timestamp  # type: ignore[union-attr]
        for result in (first, last)
    ]
    assert sorted(set(lake.rows("history")["valid_from"])) == created


def test_a_retry_has_the_time_of_the_first_try(lake: Lake) -> None:
    @history_table(keys=["k"])
    def history() -> pl.DataFrame:
        msg = "the source is away"
        raise ConnectionError(msg)

    job = dg.Definitions(assets=[history], jobs=[dg.define_asset_job("load")]).resolve_job_def("load")
    first = job.execute_in_process(instance=lake.instance, raise_on_error=False).dagster_run
    record = lake.instance.get_run_record_by_id(first.run_id)
    assert record is not None
    retry = lake.instance.create_run_for_job(job, parent_run_id=first.run_id, root_run_id=first.run_id)
    assert root_created(lake.instance, first) == record.create_timestamp
    assert root_created(lake.instance, retry) == record.create_timestamp


class TestReading:
    """What downstream assets read of a history."""

    @pytest.fixture
    def history(self, lake: Lake) -> dg.AssetsDefinition:
        history = EFFECTIVE["a format"]()
        for key in SNAPSHOTS:
            lake.run([history], partition=key)
        return history

    def load(self, lake: Lake, history: dg.AssetsDefinition, asked: dict[str, Any], **run: Any) -> pl.DataFrame:
        loaded: list[pl.DataFrame] = []

        @dg.asset(ins={"history": dg.AssetIn(metadata=asked)}, partitions_def=run.get("definition"))
        def reader(history: pl.DataFrame) -> None:
            loaded.append(history.sort("k", "v"))

        lake.run([history, reader], select=[reader], partition=run.get("partition"))
        return loaded[0]

    def test_the_whole_history_is_read_by_default(self, lake: Lake, history: dg.AssetsDefinition) -> None:
        assert self.load(lake, history, {}).height == 5

    def test_a_partition_of_it_is_the_whole_history_too(self, lake: Lake, history: dg.AssetsDefinition) -> None:
        assert self.load(lake, history, {}, definition=STATIC, partition="20240101").height == 5

    @pytest.mark.parametrize(
        ("moment", "rows"),
        [
            ("2024-01-15", [("a", "1"), ("b", "1")]),
            ("2024-02-01T00:00:00Z", [("a", "2"), ("c", "1")]),
            ("current", [("a", "2"), ("b", "9")]),
            ("2023-12-31", []),
        ],
    )
    def test_a_moment_of_it_is_what_held_then(
        self, lake: Lake, history: dg.AssetsDefinition, moment: str, rows: list[tuple[str, str]]
    ) -> None:
        assert self.load(lake, history, {"as_of": moment, "columns": ["k", "v"]}).rows() == rows

    def test_the_unknown_member_is_added_on_request(self, lake: Lake, history: dg.AssetsDefinition) -> None:
        wanted = {"as_of": "current", "unknown_member": {"k": "?", "v": "none"}, "columns": ["k", "v"]}
        assert self.load(lake, history, wanted).rows() == [("?", "none"), ("a", "2"), ("b", "9")]
        assert self.load(lake, history, wanted | {"as_of": "1990-01-01"}).rows() == [("?", "none")]
        assert versions(lake) == HISTORY, "it is no row of the table"

    @pytest.mark.parametrize(
        ("wanted", "message"),
        [
            ({"unknown_member": {"k": "?"}}, "Give `as_of`"),
            ({"as_of": "current", "unknown_member": "?"}, "Give a map"),
            ({"as_of": "current", "unknown_members": {"k": "?"}}, "Did you mean `unknown_member`"),
            ({"as_of": "current", "unknown_member": {"v": "?"}}, "no value for the keys"),
            ({"as_of": "current", "unknown_member": {"k": "a"}}, "that of a real key"),
        ],
    )
    def test_an_unknown_member_that_can_not_be_added_is_refused(
        self, lake: Lake, history: dg.AssetsDefinition, wanted: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(StepFailedError, match=message):
            self.load(lake, history, wanted)

    def test_the_unknown_member_needs_the_keys_of_a_history(self, lake: Lake) -> None:
        @dg.asset(name="history")
        def plain() -> pl.DataFrame:
            return pl.DataFrame({"valid_from": [datetime(2024, 1, 1, tzinfo=UTC)], "k": ["a"]})

        lake.run([plain])
        with pytest.raises(StepFailedError, match="`history`, which declares no history"):
            self.load(lake, plain, {"as_of": "current", "unknown_member": {"k": "?"}})

    def test_the_names_of_its_columns_are_known(self, lake: Lake) -> None:
        @history_table(
            keys=["k"],
            partitions_def=STATIC,
            effective_format="%Y%m%d",
            valid_from="since",
            valid_to="until",
            is_current="open",
            durable_key="who",
            surrogate_key="which",
        )
        def renamed() -> pl.DataFrame:
            return snapshot("20240101")

        seen: list[int] = []

        @dg.asset(ins={"renamed": dg.AssetIn(metadata={"as_of": "2024-01-02"})})
        def reader(renamed: pl.DataFrame, tables: DeltaTables) -> None:
            seen.append(renamed.height)

        @dg.asset
        def by_function(tables: DeltaTables) -> None:
            seen.append(tables.read(renamed, as_of="current").collect().height)
            seen.append(tables.read(renamed, as_of="current", unknown_member={"k": "?"}).collect().height)

        lake.run([renamed], partition="20240101")
        lake.run([renamed, reader, by_function], select=[reader, by_function])
        assert sorted(seen) == [2, 2, 3]


def test_changes_need_no_time_of_the_partition(lake: Lake) -> None:
    statements = {
        "b": [("a", "2", datetime(2024, 2, 1, tzinfo=UTC))],
        "a": [("a", "1", datetime(2024, 1, 1, tzinfo=UTC)), ("b", "1", datetime(2024, 1, 1, tzinfo=UTC))],
    }

    @history_table(
        keys=["k"],
        source="changes",
        effective_column="at",
        partitions_def=dg.MultiPartitionsDefinition(
            {"x": dg.StaticPartitionsDefinition(["a", "b"]), "y": dg.StaticPartitionsDefinition(["1"])}
        ),
    )
    def history(context) -> pl.DataFrame:  # type: ignore[no-untyped-def]
        return pl.DataFrame(
            statements[context.partition_key.keys_by_dimension["x"]], schema=["k", "v", "at"], orient="row"
        )

    for key in ("b|1", "a|1"):
        lake.run([history], partition=key)
    assert versions(lake) == [
        ("a", "1", date(2024, 1, 1), date(2024, 2, 1)),
        ("a", "2", date(2024, 2, 1), None),
        ("b", "1", date(2024, 1, 1), None),
    ]


def test_a_cut_snapshot_is_refused_and_every_file_stays(lake: Lake) -> None:
    frames = iter([pl.DataFrame({"k": list(range(10))}), pl.DataFrame({"k": [1]})])

    @history_table(keys=["k"], partitions_def=STATIC, effective_format="%Y%m%d")
    def history() -> pl.DataFrame:
        return next(frames)

    lake.run([history], partition="20240101")
    before = lake.files("history")
    with pytest.raises(StepFailedError, match="max_delete_fraction"):
        lake.run([history], partition="20240201")
    assert lake.files("history") == before
