"""Assets as collections of vectors: replaced at once, by partition, and read back as they were."""

# Dagster reads these annotations, so they are not postponed.
import datetime as dt
from collections.abc import Sequence
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fuse_dagster import Qdrant, QdrantIOManager
from fuse_dagster.connectors.vectors import Vector
from fuse_dagster_tests.orchestration.helpers import RANGE_END, RANGE_START, errors

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-05")
NAMES = ["EDDF", "LOWW"]


def rows(*names: str, **columns: Any) -> pl.DataFrame:
    numbers = pl.Series([[float(at), 1.0, 2.0, 3.0, 4.0] for at in range(len(names))], dtype=pl.Array(pl.Float32, 5))
    return pl.DataFrame({"icao": list(names), "embedding": numbers}).with_columns(**columns)


@pytest.fixture
def qdrant(request: pytest.FixtureRequest) -> Qdrant:
    return Qdrant(path=f":memory:{request.node.nodeid.replace('/', '-')}")


@pytest.fixture
def instance() -> Any:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def run(
    qdrant: Qdrant, assets: Sequence[Any], instance: Any, *, range_: tuple[str, str] | None = None, **given: Any
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        assets,
        instance=instance,
        tags={} if range_ is None else {RANGE_START: range_[0], RANGE_END: range_[1]},
        resources={"io_manager": QdrantIOManager(qdrant=qdrant)},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
        **given,
    )


def names_in(qdrant: Qdrant, name: str) -> list[str]:
    with qdrant.rows(name, columns=["icao"]) as reader:
        return sorted(pl.DataFrame(reader.read_all())["icao"].to_list())


def test_an_asset_becomes_a_collection_and_is_described_and_read(qdrant: Qdrant, instance: Any) -> None:
    seen: dict[str, Any] = {}

    @dg.asset(
        key=["search", "airports"],
        metadata={"vectors": {"keys": ["icao"], "distance": "dot"}, "masked": ["secret"]},
    )
    def airports() -> pl.DataFrame:
        return rows(*NAMES, day=pl.lit(dt.date(2024, 1, 1)))

    @dg.asset(ins={"found": dg.AssetIn(key=["search", "airports"])}, io_manager_key="none")
    def as_polars(found: pl.DataFrame) -> None:
        seen["polars"] = found

    @dg.asset(
        ins={"found": dg.AssetIn(key=["search", "airports"], metadata={"columns": ["icao"]})}, io_manager_key="none"
    )
    def as_pandas(found: pd.DataFrame) -> None:
        seen["pandas"] = found

    @dg.asset(ins={"found": dg.AssetIn(key=["search", "airports"])}, io_manager_key="none")
    def as_arrow(found: pa.Table) -> None:
        seen["arrow"] = found

    done = dg.materialize(
        [airports, as_polars, as_pandas, as_arrow],
        instance=instance,
        resources={"io_manager": QdrantIOManager(qdrant=qdrant), "none": dg.mem_io_manager},
    )
    assert done.success
    assert seen["polars"].sort("icao").equals(rows(*NAMES, day=pl.lit(dt.date(2024, 1, 1))))
    assert sorted(seen["pandas"]["icao"]) == NAMES
    assert pa.types.is_fixed_size_list(seen["arrow"].schema.field("embedding").type)
    assert qdrant.described("search.airports").vectors == {"embedding": Vector(size=5, distance="dot")}
    (event,) = done.asset_materializations_for_node("search__airports")
    told = {name: value.value for name, value in event.metadata.items()}
    assert told["dagster/row_count"] == 2
    assert told["dagster/table_name"] == "search.airports"
    assert told["collection_status"] == "green"
    assert told["vector_sizes"] == {"embedding": 5}
    assert "[0, 1, 2, … of 5]" in told["preview"]


def test_without_a_mode_the_collection_is_replaced(qdrant: Qdrant, instance: Any) -> None:
    names = ["EDDF", "LOWW"]

    @dg.asset(metadata={"vectors": {"keys": ["icao"]}})
    def airports() -> pa.RecordBatchReader:
        return rows(*names).to_arrow().to_reader()

    assert run(qdrant, [airports], instance).success
    names[:] = ["LSZH"]
    assert run(qdrant, [airports], instance).success
    assert names_in(qdrant, "airports") == ["LSZH"]


@pytest.mark.parametrize(("mode", "expected"), [("upsert", {"EDDF": 2, "LOWW": 1}), ("append", {"EDDF": 1, "LOWW": 1})])
def test_a_mode_keeps_what_is_there(qdrant: Qdrant, instance: Any, mode: str, expected: dict[str, int]) -> None:
    returned = [rows("EDDF", "LOWW", n=pl.lit(1)), rows("EDDF", n=pl.lit(2))]

    @dg.asset(metadata={"vectors": {"keys": ["icao"], "mode": mode}})
    def airports() -> pl.DataFrame:
        return returned.pop(0)

    assert run(qdrant, [airports], instance).success
    assert run(qdrant, [airports], instance).success
    with qdrant.rows("airports", columns=["icao", "n"]) as reader:
        assert dict(pl.DataFrame(reader.read_all()).iter_rows()) == expected


def test_partitions_are_replaced_one_by_one_and_several_at_once(qdrant: Qdrant, instance: Any) -> None:
    held = {"2024-01-01": ["EDDF", "LOWW"], "2024-01-02": ["LSZH"], "2024-01-03": []}
    seen: list[pl.DataFrame] = []

    @dg.asset(partitions_def=DAYS, metadata={"vectors": {"keys": ["icao", "day"]}, "partition_by": "day"})
    def airports(context: dg.AssetExecutionContext) -> pl.DataFrame:
        return pl.concat([rows(*held[key], day=pl.lit(dt.date.fromisoformat(key))) for key in context.partition_keys])

    @dg.asset(partitions_def=DAYS, io_manager_key="none")
    def after(airports: pl.DataFrame) -> None:
        seen.append(airports)

    assert run(qdrant, [airports], instance, partition_key="2024-01-01").success
    assert run(qdrant, [airports], instance, partition_key="2024-01-02").success
    held["2024-01-01"] = ["EDDM"]
    done = run(qdrant, [airports], instance, partition_key="2024-01-01")
    (event,) = done.asset_materializations_for_node("airports")
    assert (event.metadata["points_removed"].value, event.metadata["dagster/partition_row_count"].value) == (2, 1)
    assert names_in(qdrant, "airports") == ["EDDM", "LSZH"]
    resources = {"io_manager": QdrantIOManager(qdrant=qdrant), "none": dg.mem_io_manager}
    assert dg.materialize(
        [airports, after], selection=[after], instance=instance, resources=resources, partition_key="2024-01-02"
    ).success
    assert seen[0]["icao"].to_list() == ["LSZH"]
    held["2024-01-01"], held["2024-01-02"] = ["A"], ["B"]
    assert run(qdrant, [airports], instance, range_=("2024-01-01", "2024-01-03")).success
    assert names_in(qdrant, "airports") == ["A", "B"]
    never = dg.materialize(
        [airports, after],
        selection=[after],
        instance=instance,
        resources=resources,
        partition_key="2024-01-04",
        raise_on_error=False,
    )
    assert "was never written" in "\n".join(errors(never))


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "doesn't say what tells one of its points from another"),
        ({"vectors": {"key": ["icao"]}}, "have no option `key`. Did you mean `keys`"),
        ({"vectors": {"keys": "icao"}}, "name no `keys`"),
        ({"vectors": {"keys": ["icao"], "mode": "upsrt"}}, "can't be written by `upsrt`"),
        ({"vectors": {"keys": ["icoa"]}}, "Did you mean `icao`"),
        ({"vectors": {"keys": ["icao"], "distance": "cosin"}}, "Did you mean `cosine`"),
        ({"vectors": {"keys": ["icao"], "distance": {"embeding": "dot"}}}, "Did you mean `embedding`"),
    ],
)
def test_wrong_declarations_are_refused(qdrant: Qdrant, instance: Any, metadata: Any, words: str) -> None:
    @dg.asset(metadata=metadata)
    def airports() -> pl.DataFrame:
        return rows("EDDF")

    done = run(qdrant, [airports], instance)
    assert words in "\n".join(errors(done))
    assert list(qdrant.names()) == []


def test_what_does_not_fit_partitions_is_refused(qdrant: Qdrant, instance: Any) -> None:
    @dg.asset(partitions_def=DAYS, metadata={"vectors": {"keys": ["icao"], "mode": "overwrite"}, "partition_by": "day"})
    def whole() -> pl.DataFrame:
        return rows("EDDF", day=pl.lit(dt.date(2024, 1, 1)))

    @dg.asset(partitions_def=DAYS, metadata={"vectors": {"keys": ["icao"]}, "partition_by": "day"})
    def other() -> pl.DataFrame:
        return rows("EDDF", day=pl.lit(dt.date(2024, 1, 2)))

    @dg.asset(key=["a.b"], metadata={"vectors": {"keys": ["icao"]}})
    def dotted() -> pl.DataFrame:
        return rows("EDDF")

    for asset, words in ((whole, "would remove the others"), (other, "do not belong to the partition `day`")):
        assert words in "\n".join(errors(run(qdrant, [asset], instance, partition_key="2024-01-01")))
    assert "holds a dot" in "\n".join(errors(run(qdrant, [dotted], instance)))
    assert list(qdrant.names()) == []
