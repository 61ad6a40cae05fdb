"""Ranges of offsets as partitions: each is loaded again as it is now, and replaces its own rows and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest

from fuse_dagster import DeltaIOManager, Kafka, OffsetPartitions, load_table
from fuse_dagster.core.errors import ConfigError, PartitionError
from fuse_dagster.ingest import TableSource
from fuse_dagster.ingest.topics import TopicMessages, offset_ranges
from fuse_dagster.tables import Overwrite, Upsert
from fuse_dagster.tables.slices import Equals, Window
from fuse_dagster_tests.ingest.shop import Shop
from fuse_dagster_tests.orchestration.helpers import RANGE_END, RANGE_START, Lake, metadata

pytest.importorskip("confluent_kafka")

if TYPE_CHECKING:
    from fuse_dagster_tests.servers.kafka import KafkaServer


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def _run(lake: Lake, *assets: Any, **how: Any) -> dg.ExecuteInProcessResult:
    resources = {"io_manager": DeltaIOManager(lake=lake.connector)}
    return dg.materialize(assets, instance=lake.instance, resources=resources, **how)


def test_a_range_is_loaded_again_and_replaces_its_own_rows(lake: Lake, kafka: KafkaServer, tmp_path: Path) -> None:
    topic = kafka.topic(partitions=2)
    kafka.send(topic, [{"value": json.dumps({"n": n}).encode(), "partition": n % 2} for n in range(9)])
    broker = Kafka(bootstrap_servers=kafka.plain, tls=False, timeout=20)
    (tmp_path / "ranges").write_text("\n".join(offset_ranges(broker, topic, messages=2)))
    ranges = OffsetPartitions(tmp_path / "ranges")
    assert ranges.get_partition_keys() == ["0:0-2", "0:2-4", "0:4-5", "1:0-2", "1:2-4"]

    @load_table(mode=Overwrite(), partitions_def=ranges)
    def messages() -> TopicMessages:
        return TopicMessages(broker=broker, topic=topic, value="json")

    seen: list[list[int]] = []

    @dg.asset(partitions_def=ranges)
    def of_one(messages: pl.DataFrame) -> None:
        seen.append(sorted(messages["n"]))

    @dg.asset
    def of_all(messages: pl.DataFrame) -> None:
        seen.append(sorted(messages["n"]))

    every = (messages, of_one, of_all)
    for key in ("0:2-4", "1:0-2", "0:2-4"):
        found = metadata(_run(lake, *every, selection=[messages, of_one], partition_key=key), "messages")
        assert (found["rows_loaded"], found["watermark_after"]) == (2, "none")
        assert "consumer_lag" not in found
    assert found["offsets_after"] == {"0": 4}
    assert seen == [[4, 6], [1, 3], [4, 6]]
    together = {RANGE_START: "0:0-2", RANGE_END: "0:4-5"}
    assert metadata(_run(lake, *every, selection=[messages], tags=together), "messages")["rows_loaded"] == 5
    path = str(lake.root / "messages")
    assert sorted(pl.read_delta(path)["n"]) == [0, 1, 2, 3, 4, 6, 8]
    pl.read_delta(path).with_columns(n=pl.lit(-1)).write_delta(path, mode="overwrite")
    _run(lake, *every, selection=[messages], partition_key="0:4-5")
    assert sorted(pl.read_delta(path)["n"]) == [-1] * 6 + [8], "the other rows are as somebody left them"
    _run(lake, *every, selection=[of_all])
    assert seen[-1] == [-1] * 6 + [8]


@pytest.mark.parametrize(
    ("ranges", "says"),
    [
        ([], "There are no ranges"),
        (["0:0-5", "0:4-9"], "`0:0-5` and `0:4-9` share offsets"),
        (["0:0-5", "0:0-5"], "twice"),
        (["0:0-5,1:0-5"], "no name of one range"),
        (["0:00-5"], "no name of one range"),
        (["0:5-5"], "no ranges of offsets"),
        (["2024-01-01"], "no ranges of offsets"),
    ],
)
def test_what_is_no_range_is_refused(ranges: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        OffsetPartitions(ranges)


def test_the_rows_of_a_range_are_told_by_partition_and_offset() -> None:
    ranges = OffsetPartitions(iter(["1:0-5", "0:10-20", "0:0-10"]))
    assert ranges.get_partition_keys() == ["0:0-10", "0:10-20", "1:0-5"]
    assert ranges.rows_of(["1:0-5"]).any_of == ((Equals("_partition", (1,)), Window("_offset", 0, 5)),)
    with pytest.raises(PartitionError, match="no range `0:0-11`"):
        ranges.rows_of(["0:0-11"])


def test_what_has_no_such_parts_is_refused(lake: Lake) -> None:
    ranges = OffsetPartitions(["0:0-10"])

    @load_table(mode=Upsert(keys=["id"]), partitions_def=ranges)
    def orders() -> TableSource:
        return TableSource(database=Shop(), table="orders", cursor="id")

    with pytest.raises(ConfigError, match="no parts of such names"):
        _run(lake, orders, partition_key="0:0-10")
    with pytest.raises(ConfigError, match="says by itself whose a row is"):
        load_table(mode=Overwrite(), partitions_def=ranges, partition_by="_offset")(lambda: None)
