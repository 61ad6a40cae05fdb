"""The decorators: what they hand on, what they declare, and which declarations fail when the module loads."""

import inspect
from dataclasses import fields
from datetime import timedelta

import dagster as dg
import polars as pl
import pytest

from fuse_dagster import Column, delta_table, history_table
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.orchestration.assets import AssetOptions, HistoryOptions
from fuse_dagster.orchestration.declarations import Declaration, read_declaration, sole_asset, write_declaration
from fuse_dagster.tables import Append, History, Overwrite, Upsert

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

STATIC = dg.StaticPartitionsDefinition(["a", "b"])


def test_what_dagster_asset_takes_is_handed_on() -> None:
    policy = dg.FreshnessPolicy.cron(deadline_cron="0 9 * * *", lower_bound_delta=timedelta(days=1))

    @delta_table(
        name="planes",
        key_prefix=["silver"],
        group_name="fleet",
        owners=["team:fleet"],
        tags={"domain": "aviation"},
        kinds={"polars"},
        deps=["raw"],
        partitions_def=STATIC,
        partition_by="p",
        pool="planes",
        code_version="7",
        metadata={"note": "by hand"},
        retry_policy=dg.RetryPolicy(max_retries=1),
        automation_condition=dg.AutomationCondition.eager(),
        freshness_policy=policy,
        backfill_policy=dg.BackfillPolicy.single_run(),
        check_specs=[dg.AssetCheckSpec("looks_good", asset=["silver", "planes"])],
    )
    def anything() -> dg.MaterializeResult:  # type: ignore[type-arg]
        """Every plane."""
        return dg.MaterializeResult(value=pl.DataFrame(), check_results=[dg.AssetCheckResult(passed=True)])

    (spec,) = anything.specs
    assert spec.key == dg.AssetKey(["silver", "planes"])
    assert spec.description == "Every plane."
    assert (spec.group_name, spec.owners, spec.code_version) == ("fleet", ["team:fleet"], "7")
    assert spec.kinds == {"polars", "deltalake"}
    assert spec.tags["domain"] == "aviation"
    assert spec.partitions_def == STATIC
    assert spec.metadata["note"] == "by hand"
    assert spec.freshness_policy == policy
    assert spec.automation_condition is not None
    assert [dep.asset_key.to_user_string() for dep in spec.deps] == ["raw"]
    assert anything.backfill_policy == dg.BackfillPolicy.single_run()
    assert [check.name for check in anything.check_specs] == ["looks_good"]


def test_the_kind_gives_way_where_dagster_shows_no_more() -> None:
    @delta_table(kinds={"a", "b", "c"})
    def table() -> pl.DataFrame:
        return pl.DataFrame()

    assert next(iter(table.specs)).kinds == {"a", "b", "c"}


@pytest.mark.parametrize(
    "declared",
    [
        Declaration(),
        Declaration(mode=Append(partition_by=["day"], schema="strict")),
        Declaration(mode=Overwrite(skip_if_unchanged=False), partition_by="day"),
        Declaration(mode=Upsert(keys=["a", "b"]), partition_by={"x": "a", "y": "b"}),
        Declaration(
            mode=History(keys=["icao"], track=["name"], max_delete_fraction=None, valid_from="since"),
            columns={"icao": Column(description="Code.", key=True, mask=True, tags=("pii",)), "name": Column()},
            lineage={"icao": [("bronze/airports", "icao")], "*": [("bronze/airports", "*")]},
            effective_format="%Y%m%d",
        ),
        Declaration(mode=History(keys=["k"]), effective_function="json:loads"),
    ],
)
def test_a_declaration_survives_as_metadata(declared: Declaration) -> None:
    said = write_declaration(declared)

    @dg.asset(metadata=said)
    def table() -> None: ...

    assert sole_asset(table)[1] == declared
    assert read_declaration({name: dg.MetadataValue.json(value) for name, value in said.items()}) == declared


@pytest.mark.parametrize("mode", ["append", {"mode": "append"}, {"mode": "append", "schema": "evolve"}])
def test_a_mode_may_be_a_word_or_a_map(mode: object) -> None:
    assert read_declaration({"write": mode}).mode == Append()


def test_every_problem_of_metadata_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read_declaration(
            {
                "write": {"mode": "histroy"},
                "columns": {"a": 3},
                "lineage": {"a": ["b"]},
                "partition_by": "p",
                "partition_expr": "p",
            }
        )
    message = str(caught.value)
    for part in (
        "$.write.mode is `histroy`. Did you mean `history`?",
        "$.columns.a is `3`",
        "$.lineage.a is `['b']`",
        "$.partition_by and its alias $.partition_expr are both there",
    ):
        assert part in message


def test_a_history_has_every_option_of_the_write_mode_and_no_other() -> None:
    own = HistoryOptions.__annotations__.keys() - AssetOptions.__annotations__.keys()
    named = {
        name
        for name, parameter in inspect.signature(history_table).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert own == {entry.name for entry in fields(History)} - {"keys", "effective_at"}
    assert named == {"keys", "effective_format", "partition_by", "columns", "lineage"}


def declare_history(**options: object) -> None:
    @history_table(**{"keys": ["k"], **options})  # type: ignore[arg-type]
    def history() -> pl.DataFrame:
        return pl.DataFrame()


def declare_table(**options: object) -> None:
    @delta_table(**options)  # type: ignore[arg-type]
    def table() -> pl.DataFrame:
        return pl.DataFrame()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"partitions_def": STATIC}, "a snapshot needs a time. Give `effective_format`"),
        ({"partitions_def": dg.DynamicPartitionsDefinition(name="d")}, "a snapshot needs a time"),
        ({"effective_format": "%Y"}, "the time is that of the run. Take it out"),
        (
            {"partitions_def": dg.DailyPartitionsDefinition("2024-01-01"), "effective_format": "%Y"},
            "the time is that of the start of the partition",
        ),
        (
            {"source": "changes", "effective_column": "at", "effective_format": "%Y"},
            "no batch of this asset has a time of its own",
        ),
        ({"partitions_def": dg.MultiPartitionsDefinition({"a": STATIC, "b": STATIC})}, "no whole snapshot"),
        ({"partitions_def": STATIC, "effective_format": lambda key: key}, "another process can't import"),
        ({"source": "changes"}, "needs `effective_column`"),
        ({"keys": []}, "`keys` is empty"),
        ({"owner": ["me"]}, "`owner` is no option. Did you mean `owners`?"),
        ({"ignor": ["me"]}, "`ignor` is no option. Did you mean `ignore`?"),
        ({"metadata": {"write": "append"}}, "`metadata` holds `write`, which the decorator sets"),
    ],
)
def test_a_history_that_cannot_work_fails_when_it_is_declared(options: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s)@history_table on `history`.*{why}"):
        declare_history(**options)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"partitions_def": STATIC}, "`partition_by` is `None`"),
        ({"partition_by": "p"}, "the asset has no partitions"),
        ({"partitions_def": STATIC, "partition_by": {"x": "a"}}, "`partition_by` is"),
        (
            {
                "partitions_def": dg.MultiPartitionsDefinition({"a": STATIC, "b": STATIC}),
                "partition_by": {"a": "x"},
            },
            "the partition dimensions `a`, `b`",
        ),
        ({"mode": History(keys=["k"])}, "declared with `history_table`"),
        ({"pol": "x"}, "`pol` is no option. Did you mean `pool`?"),
    ],
)
def test_a_table_that_cannot_work_fails_when_it_is_declared(options: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s)@delta_table on `table`.*{why}"):
        declare_table(**options)


def test_all_problems_of_a_declaration_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        declare_table(partitions_def=STATIC, pol="x", metadata={"columns": {}})
    assert str(caught.value).count("\n- ") == 3


def test_a_batch_without_a_slice_needs_no_column() -> None:
    declare_table(mode=Upsert(keys=["k"]), partitions_def=STATIC)
    declare_table(mode=Append(), partitions_def=STATIC)


def test_definitions_of_several_assets_have_no_sole_one() -> None:
    @dg.multi_asset(specs=[dg.AssetSpec("a"), dg.AssetSpec("b")])
    def both():  # type: ignore[no-untyped-def]
        yield dg.MaterializeResult("a")

    with pytest.raises(ConfigError, match="makes 2 assets: `a`, `b`"):
        sole_asset(both)


def test_a_thousand_tables_load_in_a_moment_and_touch_nothing(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)

    def one(number: int) -> dg.AssetsDefinition:
        @delta_table(name=f"t{number}", partitions_def=STATIC, partition_by="p", columns={"p": Column(key=True)})
        def table() -> pl.DataFrame:
            return pl.DataFrame()

        return table

    from fuse_dagster import DeltaIOManager, Local

    defs = dg.Definitions(
        assets=[one(number) for number in range(1000)],
        resources={"io_manager": DeltaIOManager(lake=Local(root="lake"))},
    )
    assert len(defs.resolve_all_asset_keys()) == 1000
    assert list(tmp_path.iterdir()) == []
