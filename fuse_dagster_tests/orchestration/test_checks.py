"""Asset checks through real runs: they pass, they fail with numbers and rows, they block."""

from typing import Any

import dagster as dg
import polars as pl
import pytest
from deltalake import write_deltalake

from fuse_dagster import Column, delta_table, history_checks, history_table, table_checks
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.quality.expectations import accepted_values, not_null, row_count, unique
from fuse_dagster_tests.orchestration.helpers import Lake

STATIC = dg.StaticPartitionsDefinition(["20240101", "20240201"])


def outcomes(result: dg.ExecuteInProcessResult) -> dict[str, tuple[bool, dict[str, Any]]]:
    return {
        each.check_name: (each.passed, {name: value.value for name, value in each.metadata.items()})
        for each in result.get_asset_check_evaluations()
    }


def planes(rows: pl.DataFrame, **options: Any) -> dg.AssetsDefinition:
    @delta_table(columns={"owner": Column(mask=True)}, **options)
    def planes() -> pl.DataFrame:
        return rows

    return planes


GOOD = pl.DataFrame({"tail": ["a", "b"], "kind": ["jet", "prop"], "owner": ["Ann", "Bob"]})
BAD = pl.DataFrame({"tail": ["a", "a", None], "kind": ["jet", "kite", "jet"], "owner": ["Ann", "Bob", "Eve"]})
EXPECTED = (not_null("tail"), unique("tail"), accepted_values("kind", ["jet", "prop"]), row_count(minimum=2))


def test_good_rows_pass_every_check(lake: Lake) -> None:
    asset = planes(GOOD)
    found = outcomes(lake.run([asset, table_checks(asset, *EXPECTED)]))
    assert {name: passed for name, (passed, _) in found.items()} == dict.fromkeys(
        ("not_null_tail", "unique_tail", "accepted_values_kind", "row_count"), True
    )
    assert found["row_count"][1] == {"rows": 2, "violations": 0}


def test_bad_rows_fail_theirs_with_numbers_and_rows_and_masks(lake: Lake) -> None:
    asset = planes(BAD)
    found = outcomes(lake.run([asset, table_checks(asset, *EXPECTED)]))
    assert {name: (passed, said["violations"]) for name, (passed, said) in found.items()} == {
        "not_null_tail": (False, 1),
        "unique_tail": (False, 2),
        "accepted_values_kind": (False, 1),
        "row_count": (True, 0),
    }
    assert "| a | kite | *** |" in found["accepted_values_kind"][1]["samples"]
    assert not any(name in str(found) for name in ("Ann", "Bob", "Eve"))


def test_a_blocking_check_keeps_what_is_downstream_from_running(lake: Lake) -> None:
    asset = planes(BAD)
    ran: list[str] = []

    @dg.asset(deps=[asset])
    def downstream() -> None:
        ran.append("downstream")

    checks = table_checks(asset, not_null("tail"), blocking=True)
    with pytest.raises(Exception, match="not_null_tail"):
        lake.run([asset, checks, downstream])
    assert ran == []


def test_a_warning_is_no_error(lake: Lake) -> None:
    asset = planes(BAD)
    checks = table_checks(asset, not_null("tail"), severity=dg.AssetCheckSeverity.WARN)
    (found,) = lake.run([asset, checks]).get_asset_check_evaluations()
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)


def test_checks_look_at_every_partition(lake: Lake) -> None:
    @delta_table(partitions_def=STATIC, partition_by="p")
    def table(context) -> pl.DataFrame:  # type: ignore[no-untyped-def]
        return pl.DataFrame({"p": [context.partition_key], "k": [1]})

    checks = table_checks(table, unique("k"))
    first, second = (outcomes(lake.run([table, checks], partition=key)) for key in STATIC.get_partition_keys())
    assert (first["unique_k"][0], second["unique_k"][0]) == (True, False)


def test_the_checks_of_a_history_pass_until_somebody_else_writes(lake: Lake) -> None:
    @history_table(keys=["k"], partitions_def=STATIC, effective_format="%Y%m%d")
    def history(context) -> pl.DataFrame:  # type: ignore[no-untyped-def]
        return pl.DataFrame({"k": [1, 2], "v": [context.partition_key, "same"]})

    checks = history_checks(history)
    for key in STATIC.get_partition_keys():
        found = outcomes(lake.run([history, checks], partition=key))
    assert len(found) == 5
    assert all(passed for passed, _ in found.values())
    stray = lake.rows("history").filter(pl.col("is_current"), k=1)
    write_deltalake(str(lake.root / "history"), stray, mode="append")
    jobs = [dg.define_asset_job("look", selection=dg.AssetSelection.all_asset_checks())]
    from fuse_dagster import DeltaIOManager

    defs = dg.Definitions(
        assets=[history],
        asset_checks=[checks],
        jobs=jobs,
        resources={"io_manager": DeltaIOManager(lake=lake.connector)},
    )
    found = outcomes(defs.resolve_job_def("look").execute_in_process(instance=lake.instance))
    assert {name for name, (passed, _) in found.items() if not passed} == {
        "one_open_version_per_key",
        "no_overlap",
    }
    assert found["one_open_version_per_key"][1]["violations"] == 2


def test_each_table_of_a_multi_asset_is_checked_by_its_key(lake: Lake) -> None:
    keys = [dg.AssetKey(["silver", "planes"]), dg.AssetKey(["silver", "quarantine"])]

    @dg.multi_asset(
        outs={
            "planes": dg.AssetOut(key=keys[0], metadata={"columns": {"owner": {"mask": True}}}),
            "quarantine": dg.AssetOut(key=keys[1]),
        }
    )
    def both() -> tuple[pl.DataFrame, pl.DataFrame]:
        return BAD, BAD

    checks = [table_checks(both, accepted_values("kind", ["jet"]), key=key) for key in keys]
    found = {
        each.asset_key: (each.passed, each.metadata["samples"].value)
        for each in lake.run([both, *checks]).get_asset_check_evaluations()
    }
    assert {key: passed for key, (passed, _) in found.items()} == dict.fromkeys(keys, False)
    assert "***" in str(found[keys[0]])
    assert "Bob" in str(found[keys[1]])
    with pytest.raises(ConfigError, match="makes 2 assets"):
        table_checks(both, row_count())
    with pytest.raises(ConfigError, match=r"makes no asset `other`. Valid: `silver/planes`, `silver/quarantine`"):
        table_checks(both, row_count(), key=dg.AssetKey("other"))


def test_declarations_that_cannot_work_fail_when_they_are_made() -> None:
    asset = planes(GOOD)
    with pytest.raises(ConfigError, match="There is no expectation"):
        table_checks(asset)
    with pytest.raises(ConfigError, match="Two expectations have one name"):
        table_checks(asset, row_count(), row_count(maximum=3))
    with pytest.raises(ConfigError, match="`planes` is no history"):
        history_checks(asset)
