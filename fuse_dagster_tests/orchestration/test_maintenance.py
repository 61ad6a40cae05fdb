"""The maintenance job, in real runs over a lake of several kinds of tables."""

from __future__ import annotations

import datetime as dt
import os
import time
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest
from deltalake import DeltaTable

from fuse_dagster import DeltaIOManager, DeltaTables, Local, delta_table, history_table, maintenance_job
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.tables import Append, History, Upsert, write

if TYPE_CHECKING:
    from fuse_dagster_tests.orchestration.helpers import Lake

FIRST = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)


@history_table(keys=["k"], key=["silver", "history"], source="changes", effective_column="at", pool="one_writer")
def history() -> pl.DataFrame:
    return pl.DataFrame({"k": [1], "at": [FIRST]})


@delta_table(key=["silver", "planes"], mode=Upsert(keys=["k"]))
def planes() -> pl.DataFrame:
    return pl.DataFrame({"k": [1]})


@delta_table(key=["bronze", "flights"], mode=Append())
def flights() -> pl.DataFrame:
    return pl.DataFrame({"k": [1]})


ASSETS = [history, planes, flights]


def fill(lake: Lake, batches: int = 8) -> None:
    """Small batches to each of the tables."""
    for n in range(batches):
        keys = pl.DataFrame({"k": [n, n + 1]})
        stated = keys.with_columns(at=pl.lit(FIRST + dt.timedelta(days=n)), v=n)
        write(lake.root / "silver/history", stated, History(keys=["k"], source="changes", effective_column="at"))
        write(lake.root / "silver/planes", keys.with_columns(v=n), Upsert(keys=["k"]))
        write(lake.root / "bronze/flights", keys, Append())


def run(lake: Lake, job: dg.JobDefinition, resource: Any = None, **config: Any) -> dg.ExecuteInProcessResult:
    resources = {"io_manager": resource or DeltaIOManager(lake=lake.connector)}
    defs = dg.Definitions(assets=ASSETS, jobs=[job], resources=resources)
    return defs.resolve_job_def(job.name).execute_in_process(
        instance=lake.instance, run_config=config, raise_on_error=False
    )


def observed(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Metadata by asset."""
    events = [event for event in result.all_events if event.event_type == dg.DagsterEventType.ASSET_OBSERVATION]
    found = [event.asset_observation_data.asset_observation for event in events]
    return {
        each.asset_key.to_user_string(): {name: value.value for name, value in each.metadata.items()} for each in found
    }


def files(lake: Lake, *key: str) -> int:
    return len(DeltaTable(str(lake.root.joinpath(*key))).file_uris())


def test_every_table_is_compacted_and_nothing_is_removed_unless_asked(lake: Lake) -> None:
    fill(lake)
    keys = [asset.key.path for asset in ASSETS]
    before = {tuple(key): (lake.rows(*key), files(lake, *key), set(lake.files(*key))) for key in keys}
    result = run(lake, maintenance_job(ASSETS))
    assert result.success
    found = observed(result)
    assert set(found) == {"silver/history", "silver/planes", "bronze/flights"}
    for key in keys:
        rows, was, names = before[tuple(key)]
        assert lake.rows(*key).equals(rows)
        assert names <= set(lake.files(*key)) | {"_delta_log/_last_checkpoint"}
        said = found["/".join(key)]
        assert (said["compaction_files_before"], said["compaction_files_after"]) == (was, files(lake, *key))
        assert (said["vacuum_dry_run"], said["vacuum_retention_hours"]) == (True, 168.0)
        assert said["delta_version"] == lake.version(*key)
    assert found["silver/history"]["compaction_files_after"] == 2
    assert found["bronze/flights"]["compaction_files_after"] == 1
    outputs = [e for e in result.all_events if e.event_type == dg.DagsterEventType.STEP_OUTPUT]
    assert {event.step_key for event in outputs} == {
        "maintain__silver__history",
        "maintain__silver__planes",
        "maintain__bronze__flights",
    }
    assert all("compaction_rows" in event.step_output_data.metadata for event in outputs)


def test_a_vacuum_removes_only_when_the_config_says_so(lake: Lake) -> None:
    fill(lake)
    job = maintenance_job([history])
    assert run(lake, job).success
    table = DeltaTable(str(lake.root / "silver/history"))
    table.alter.set_table_properties({"delta.deletedFileRetentionDuration": "interval 0 seconds"})
    then = time.time() - 10 * 86400
    for path in (lake.root / "silver/history").glob("*.parquet"):
        os.utime(path, (then, then))
    before, names = lake.rows("silver", "history"), set(lake.files("silver", "history"))
    listed = observed(run(lake, job))["silver/history"]
    assert listed["vacuum_files"] > 0
    assert listed["vacuum_list"].count("part-") == listed["vacuum_files"]
    assert names <= set(lake.files("silver", "history"))
    done = observed(run(lake, job, vacuum=True))["silver/history"]
    assert (done["vacuum_dry_run"], done["vacuum_files"]) == (False, listed["vacuum_files"])
    assert len(names - set(lake.files("silver", "history"))) == listed["vacuum_files"]
    assert lake.rows("silver", "history").equals(before)


def test_a_dry_run_changes_no_file(lake: Lake) -> None:
    fill(lake)
    before = lake.files("silver", "history")
    found = observed(run(lake, maintenance_job(ASSETS), dry_run=True))
    assert found["silver/history"]["compaction_files_removed"] > 2
    assert lake.files("silver", "history") == before


def test_a_retention_that_is_too_short_fails_the_run_and_removes_nothing(lake: Lake) -> None:
    fill(lake)
    before = set(lake.files("bronze", "flights"))
    result = run(lake, maintenance_job([flights]), vacuum=True, retention_hours=1)
    assert not result.success
    assert before <= set(lake.files("bronze", "flights"))


def test_a_table_that_is_not_there_yet_is_passed_by(lake: Lake) -> None:
    fill(lake)
    write(lake.root / "silver/planes", pl.DataFrame({"k": [99], "v": [0]}), Upsert(keys=["k"]))

    @delta_table()
    def never_written() -> pl.DataFrame:
        return pl.DataFrame({"k": [1]})

    result = run(lake, maintenance_job([never_written, planes]))
    assert result.success
    assert set(observed(result)) == {"silver/planes"}


def test_the_rows_that_an_asset_rejected_are_looked_after_with_it(lake: Lake) -> None:
    @delta_table(key=["silver", "sifted"], mode=Upsert(keys=["k"], null_keys="reject"))
    def sifted() -> pl.DataFrame:
        return pl.DataFrame({"k": [1]})

    for n in range(4):
        keys = pl.DataFrame({"k": [n, None]})
        write(lake.root / "silver/sifted", keys, Upsert(keys=["k"], null_keys="drop"))
        write(lake.root / "silver/sifted__rejected", keys.tail(1), Append())
    job = maintenance_job([sifted])
    assert run(lake, job).success
    assert files(lake, "silver", "sifted__rejected") == files(lake, "silver", "sifted") == 1


@pytest.mark.parametrize("kind", ["tables", "connector"])
def test_other_resources_that_know_the_lake_do_too(lake: Lake, kind: str) -> None:
    fill(lake, 3)
    resource = DeltaTables(lake=lake.connector) if kind == "tables" else lake.connector
    job = maintenance_job([flights], resource="lake")
    result = job.execute_in_process(instance=lake.instance, resources={"lake": resource})
    assert observed(result)["bronze/flights"]["compaction_files_after"] == 1


def test_a_resource_without_a_lake_is_refused(lake: Lake) -> None:
    job = maintenance_job([flights], resource="lake")
    with pytest.raises(ConfigError, match="`lake` is a `dict`, which does not say where tables lie"):
        job.execute_in_process(instance=lake.instance, resources={"lake": dg.ResourceDefinition.hardcoded_resource({})})


def test_an_op_shares_the_pool_of_its_asset() -> None:
    ops = {op.name: op.pool for op in maintenance_job(ASSETS).graph.node_defs if isinstance(op, dg.OpDefinition)}
    assert ops["maintain__silver__history"] == "one_writer"
    assert ops["maintain__bronze__flights"] is None
    own = maintenance_job(ASSETS, pool="small").graph.node_defs
    assert {op.pool for op in own if isinstance(op, dg.OpDefinition)} == {"small"}


def test_declarations_that_cannot_work_fail_when_they_are_made() -> None:
    with pytest.raises(ConfigError, match="There is no asset"):
        maintenance_job([])
    with pytest.raises(ConfigError, match="share the op `maintain__bronze__flights`"):
        maintenance_job([flights, flights])


def test_the_job_goes_on_a_schedule() -> None:
    job = maintenance_job(ASSETS, name="weekly")
    schedule = dg.ScheduleDefinition(job=job, cron_schedule="0 3 * * 0", run_config={"vacuum": True})
    resources = {"io_manager": DeltaIOManager(lake=Local())}
    defs = dg.Definitions(assets=ASSETS, jobs=[job], schedules=[schedule], resources=resources)
    assert defs.resolve_schedule_def("weekly_schedule").cron_schedule == "0 3 * * 0"
