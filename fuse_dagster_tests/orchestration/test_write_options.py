"""The options of the write modes as assets: declared, read back, and run."""

import os
from typing import Any

import dagster as dg
import polars as pl
import pytest

from fuse_dagster import DeltaIOManager, Local, delta_table
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.orchestration.declarations import Declaration, read_declaration, write_declaration
from fuse_dagster.tables import Append, Overwrite, Upsert, WriteMode
from fuse_dagster_tests.orchestration.helpers import Lake, StepFailedError, metadata

DAYS = dg.StaticPartitionsDefinition(["mon", "tue", "wed"])

MODES: list[WriteMode] = [
    Append(once="batch"),
    Append(once=["a", "b"], partition_by=["day"]),
    Append(once=["batch"]),
    Overwrite(replace_keys=["a"]),
    Overwrite(predicate="region = 'EU'", skip_if_unchanged=False),
    Upsert(keys=["k"], when_matched="ignore"),
    Upsert(keys=["k"], update_when="new.s > old.s", delete_when="op = 'D'", soft_delete="gone"),
    Upsert(keys=["k"], sequence_by="s", delete_when="op = 'D'", soft_delete="gone"),
    Upsert(keys=["k"], absent="delete", max_delete_fraction=None, allow_empty=True),
    Upsert(keys=["k"], absent="delete", max_delete_fraction=0.1, schema="strict"),
    Append(once=["a"], null_keys="reject"),
    Overwrite(replace_keys=["a"], null_keys="drop"),
    Upsert(keys=["k"], null_keys="reject"),
]


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_every_option_survives_as_metadata(mode: WriteMode) -> None:
    said = write_declaration(Declaration(mode=mode))
    assert read_declaration(said).mode == mode
    assert read_declaration({name: dg.MetadataValue.json(value) for name, value in said.items()}).mode == mode


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"mode": "append", "once": "batch", "batch_id": "x"}, r"\$.write.batch_id is no option of `append`"),
        ({"mode": "overwrite", "predicate": "max(a) = 1"}, r"\$.write: Overwrite: `predicate` .* several rows"),
        ({"mode": "upsert", "keys": ["k"], "delete_wen": "x"}, "Did you mean `delete_when`"),
    ],
)
def test_metadata_that_cannot_work_is_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_declaration({"write": said})


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        (Overwrite(predicate="a = 1"), "each would replace the rows of the others"),
        (Upsert(keys=["k"], absent="delete"), "each partition would delete the keys of the others"),
    ],
)
def test_what_speaks_of_the_whole_table_has_no_partitions(lake: Lake, mode: WriteMode, why: str) -> None:
    def table() -> pl.DataFrame:
        return pl.DataFrame({"a": [1], "k": [1]})

    with pytest.raises(ConfigError, match=why):
        delta_table(mode=mode, partitions_def=DAYS)(table)
    by_hand = dg.asset(metadata=write_declaration(Declaration(mode=mode)), partitions_def=DAYS)(table)
    with pytest.raises(StepFailedError, match=why):
        lake.run([by_hand], partition="mon")
    assert not (lake.root / "table").exists()


def by_day(context: dg.AssetExecutionContext) -> pl.DataFrame:
    return pl.DataFrame({"day": context.partition_keys, "v": list(range(len(context.partition_keys)))})


def test_a_partition_that_runs_again_is_appended_once(lake: Lake) -> None:
    @delta_table(
        mode=Append(once="batch"),
        partitions_def=DAYS,
        partition_by="day",
    )
    def log(context: dg.AssetExecutionContext) -> pl.DataFrame:
        return by_day(context)

    lake.run([log], partition="mon")
    again = metadata(lake.run([log], partition="mon"), "log")
    assert (again["committed"], again["inserted"], again["unchanged"]) == (False, 0, 1)
    lake.run([log], range_=("mon", "wed"))
    assert lake.rows("log")["day"].to_list() == ["mon", "tue", "wed"], "a range appends what is new in it"
    lake.run([log], partition="tue")
    assert (lake.version("log"), lake.layout("log")) == (2, ["day"])


def test_batches_of_a_range_come_as_a_map_where_no_column_tells_them_apart(lake: Lake) -> None:
    @delta_table(mode=Append(once="batch"), partitions_def=DAYS)
    def log(context: dg.AssetExecutionContext) -> dict[str, pl.DataFrame]:
        return {key: pl.DataFrame({"v": [key]}) for key in context.partition_keys}

    @delta_table(mode=Append(once="batch"), partitions_def=DAYS)
    def mixed(context: dg.AssetExecutionContext) -> pl.DataFrame:
        return by_day(context)

    lake.run([log], range_=("mon", "tue"))
    lake.run([log], range_=("mon", "wed"))
    assert lake.rows("log")["v"].to_list() == ["mon", "tue", "wed"]
    with pytest.raises(StepFailedError, match="Return a map from partition key to frame, or name in `partition_by`"):
        lake.run([mixed], range_=("mon", "tue"))


LAKE = "FUSE_TEST_LAKE"


def log_job() -> dg.JobDefinition:
    """A job that can be made again from its name alone, as a retry has to."""

    @delta_table(mode=Append(once="batch"))
    def log() -> pl.DataFrame:
        return pl.DataFrame({"v": [1]})

    manager = DeltaIOManager(lake=Local(root=os.environ[LAKE]))
    defs = dg.Definitions(
        assets=[log],
        resources={"io_manager": manager},
        jobs=[dg.define_asset_job("logging", executor_def=dg.in_process_executor)],
    )
    return defs.resolve_job_def("logging")


def test_a_retry_of_a_run_is_the_same_batch_and_a_new_run_another(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LAKE, str(lake.root))
    job = dg.reconstructable(log_job)
    with dg.DagsterInstance.local_temp() as instance:
        first = dg.execute_job(job, instance)
        options = dg.ReexecutionOptions(parent_run_id=first.run_id)
        assert dg.execute_job(job, instance, reexecution_options=options).success
        assert lake.rows("log").height == 1
        assert dg.execute_job(job, instance).success
    assert lake.rows("log").height == 2


def test_an_order_is_replaced_with_all_its_lines(lake: Lake) -> None:
    lines = {"mon": [(1, "tea"), (1, "jam"), (2, "tea")], "tue": [(1, "tea")]}

    @delta_table(mode=Overwrite(replace_keys=["order"]), partitions_def=DAYS)
    def order_lines(context: dg.AssetExecutionContext) -> pl.DataFrame:
        return pl.DataFrame(lines[context.partition_key], schema=["order", "item"], orient="row")

    lake.run([order_lines], partition="mon")
    said = metadata(lake.run([order_lines], partition="tue"), "order_lines")
    assert (said["inserted"], said["deleted"], said["dagster/row_count"]) == (1, 2, 2)
    assert lake.rows("order_lines").rows() == [(1, "tea"), (2, "tea")]


def test_one_region_is_replaced(lake: Lake) -> None:
    @delta_table(mode=Append())
    def everywhere() -> pl.DataFrame:
        return pl.DataFrame({"region": ["EU", "US"], "v": [1, 1]})

    @delta_table(name="everywhere", mode=Overwrite(predicate="region = 'EU'"))
    def europe() -> pl.DataFrame:
        return pl.DataFrame({"region": ["EU"], "v": [2]})

    lake.run([everywhere])
    lake.run([europe])
    assert lake.rows("everywhere").rows() == [("EU", 2), ("US", 1)]


def test_a_feed_with_deletes_in_any_order(lake: Lake) -> None:
    feed = {
        "mon": [("N1", 1, "I", 50), ("N2", 2, "I", 60)],
        "tue": [("N1", 4, "D", None), ("N2", 5, "U", 61)],
        "wed": [("N1", 3, "U", 55), ("N3", 6, "I", 70)],
    }

    @delta_table(
        mode=Upsert(keys=["tailnum"], sequence_by="position", delete_when="op = 'D'", soft_delete="is_deleted"),
        partitions_def=DAYS,
    )
    def planes(context: dg.AssetExecutionContext) -> pl.DataFrame:
        schema = {"tailnum": pl.String, "position": pl.Int64, "op": pl.String, "seats": pl.Int64}
        return pl.DataFrame(feed[context.partition_key], schema=schema, orient="row")

    for day in ("tue", "wed", "mon"):
        lake.run([planes], partition=day)
    expected = [("N1", 4, "D", None, True), ("N2", 5, "U", 61, False), ("N3", 6, "I", 70, False)]
    assert lake.rows("planes").rows() == expected
    again = metadata(lake.run([planes], partition="mon"), "planes")
    assert (again["committed"], again["unchanged"]) == (False, 2)


def test_a_whole_truth_marks_what_it_leaves_out_and_a_truncated_one_fails(lake: Lake) -> None:
    delivered = ["N1", "N2", "N3"]

    @delta_table(mode=Upsert(keys=["tailnum"], absent="delete", soft_delete="is_deleted"))
    def planes() -> pl.DataFrame:
        return pl.DataFrame({"tailnum": delivered})

    lake.run([planes])
    del delivered[2:]
    said = metadata(lake.run([planes]), "planes")
    assert (said["closed"], said["unchanged"]) == (1, 2)
    del delivered[:]
    delivered.append("N9")
    with pytest.raises(StepFailedError, match="2 of 2 keys are absent"):
        lake.run([planes])
    assert lake.rows("planes").rows() == [("N1", False), ("N2", False), ("N3", True)]
