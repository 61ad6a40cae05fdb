"""A topic as a source: what a reading brings, where it ends, and what it refuses."""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import polars as pl
import pyarrow as pa
import pytest

from fuse_dagster import Kafka
from fuse_dagster.core.errors import ConfigError, GapError, InputError, NotThereError, StoreUnavailableError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.ingest import Position, Reading, Source, TellsProgress, load
from fuse_dagster.ingest.topics import TopicMessages, TopicReading, offset_ranges
from fuse_dagster.ingest.topics.offsets import Reached
from fuse_dagster.tables import Append, History, Overwrite, Upsert, current, write

pytest.importorskip("confluent_kafka")

from fuse_dagster_tests.connectors.test_kafka import open_transaction, transaction
from fuse_dagster_tests.servers.kafka import KafkaServer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def broker(kafka: KafkaServer) -> Kafka:
    return Kafka(bootstrap_servers=kafka.plain, tls=False, timeout=20)


@pytest.fixture
def source_of(broker: Kafka) -> Callable[..., TopicMessages]:
    return lambda topic, **how: TopicMessages(**{"broker": broker, "topic": topic, "value": "json"} | how)


def read(source: TopicMessages, since: Position | None = None) -> tuple[pl.DataFrame, Position | None, TopicReading]:
    """All that a reading brings, and where it ends."""
    with source.read(since) as reading:
        frame = pl.DataFrame(pl.from_arrow(reading.batches().read_all()))
        return frame, reading.position(), reading


def said(value: Any) -> bytes:
    return json.dumps(value).encode()


def offsets(position: Position | None) -> dict[str, int]:
    assert position is not None
    found: dict[str, int] = position.value["offsets"]
    return found


def test_it_is_a_source(source_of: Callable[..., TopicMessages], kafka: KafkaServer) -> None:
    source = source_of(kafka.topic("open-as-a-source"))
    assert isinstance(source, Source)
    assert source.identity == "topic:open-as-a-source"
    assert source_of("open", name="mine").identity == "mine"
    with source.read(None) as reading:
        assert isinstance(reading, Reading)
        assert reading.batches().read_all().num_rows == 0


def test_each_reading_begins_where_the_last_ended(source_of: Callable[..., TopicMessages], kafka: KafkaServer) -> None:
    topic = kafka.topic(partitions=2)
    kafka.send(
        topic, [{"value": said({"n": n}), "partition": n % 2, "timestamp": 1_700_000_000_000 + n} for n in range(5)]
    )
    source = source_of(topic)
    frame, first, reading = read(source)
    assert frame.sort("n").select("n", "_partition", "_offset").rows() == [(n, n % 2, n // 2) for n in range(5)]
    assert frame["_timestamp"].max() == dt.datetime(2023, 11, 14, 22, 13, 20, 4000, tzinfo=dt.UTC)
    assert offsets(first) == {"0": 3, "1": 2}
    assert first is not None
    assert first.time == dt.datetime(2023, 11, 14, 22, 13, 20, 4000, tzinfo=dt.UTC)
    assert json.loads(json.dumps(dict(first.value))) == first.value
    assert (reading.state().lag_messages, reading.state().lag_seconds) == (0, 0.0)
    frame, second, _ = read(source, first)
    assert frame.is_empty()
    assert second is None, "nothing was read, so the position stays"
    kafka.send(topic, [{"value": said({"n": 5}), "partition": 1}])
    frame, third, _ = read(source, first)
    assert frame["n"].to_list() == [5]
    assert offsets(third) == {"0": 3, "1": 3}


def test_what_is_written_while_it_is_read_is_left_for_the_next(
    source_of: Callable[..., TopicMessages], kafka: KafkaServer
) -> None:
    topic = kafka.topic()
    kafka.send(topic, [said({"n": 0})])
    with source_of(topic).read(None) as reading:
        kafka.send(topic, [said({"n": 1})])
        assert reading.batches().read_all()["n"].to_pylist() == [0]
        assert offsets(reading.position()) == {"0": 1}


def test_gaps_of_transactions_are_passed(source_of: Callable[..., TopicMessages], kafka: KafkaServer) -> None:
    topic = kafka.topic()
    source = source_of(topic)
    transaction(kafka, topic, [said({"n": 0})], commit=True)
    transaction(kafka, topic, [said({"n": -1})] * 5, commit=False)
    frame, position, reading = read(source)
    assert frame["n"].to_list() == [0]
    assert offsets(position) == {"0": 8}, "the end, behind the markers of both"
    assert reading.state().lag_messages == 0
    with open_transaction(kafka, topic, [said({"n": 1})], commit=True):
        frame, during, _ = read(source, position)
        assert frame.is_empty()
        assert during is None
    frame, position, _ = read(source, position)
    assert frame["n"].to_list() == [1]
    assert offsets(position) == {"0": 10}


def test_a_load_takes_no_more_than_it_may(source_of: Callable[..., TopicMessages], kafka: KafkaServer) -> None:
    topic = kafka.topic(partitions=2)
    sent = [{"value": said({"n": n, "pad": "x" * 1000}), "partition": n % 2} for n in range(40)]
    kafka.send(topic, sent)
    for how in ({"max_messages": 7}, {"max_bytes": 5000}):
        source, since, found = source_of(topic, **how), None, []
        for _ in range(60):
            frame, position, reading = read(source, since)
            assert frame.height <= 7
            found += frame["n"].to_list() if "n" in frame.columns else []
            if position is None:
                break
            assert sum(offsets(position).values()) == len(found)
            assert reading.progress()["consumer_lag"] == 40 - len(found)
            assert reading.progress()["offsets_after"] == offsets(position)
            since = position
        assert sorted(found) == list(range(40))


def test_a_reading_tells_its_lag_in_numbers_to_plot() -> None:
    """Before it has read anything: what is left is all that was there."""
    start = Reached(topic="x", offsets={0: 3, 1: 4, 10: 1}, times={0: 1_700_000_000_000})
    read_nothing = TopicReading(
        client=cast("Any", None), topic="orders", ranges={}, ends={0: 10, 1: 4, 10: 1}, start=start, since=start,
        shape=cast("Any", None), budget=cast("Any", None), lost=2,
    )  # fmt: skip
    assert isinstance(read_nothing, TellsProgress)
    told = read_nothing.progress()
    age = told.pop("consumer_lag_seconds")
    assert isinstance(age, float)
    assert age > 80_000_000
    assert told == {
        "messages": 0,
        "message_bytes": 0,
        "messages_broken": 0,
        "messages_lost": 2,
        "consumer_lag": 7,
        "lag_by_partition": {"0": 7, "1": 0, "10": 0},
        "offsets_before": {"0": 3, "1": 4, "10": 1},
        "offsets_after": {"0": 3, "1": 4, "10": 1},
    }


def test_the_time_of_a_position_is_that_of_what_is_complete(
    source_of: Callable[..., TopicMessages], kafka: KafkaServer
) -> None:
    topic = kafka.topic(partitions=2)
    old, new = 1_600_000_000_000, 1_700_000_000_000
    kafka.send(topic, [{"value": b"1", "partition": 0, "timestamp": new}])
    kafka.send(topic, [{"value": b"2", "partition": 1, "timestamp": old + n} for n in range(3)])
    seen = set()
    since = None
    for _ in range(4):
        _, since, _ = read(source_of(topic, max_messages=1), since)
        assert since is not None
        if 0 < offsets(since)["1"] < 3:
            seen.add(since.time)
    assert seen
    assert seen <= {dt.datetime.fromtimestamp((old + n) / 1000, tz=dt.UTC) for n in range(2)}
    assert since is not None
    assert since.time == dt.datetime.fromtimestamp(new / 1000, tz=dt.UTC)


def test_it_begins_where_it_is_told(source_of: Callable[..., TopicMessages], kafka: KafkaServer) -> None:
    topic = kafka.topic()
    kafka.send(topic, [{"value": said({"n": n}), "timestamp": 1_700_000_000_000 + n * 1000} for n in range(4)])
    moment = dt.datetime(2023, 11, 14, 22, 13, 22, tzinfo=dt.UTC)
    assert read(source_of(topic, start=moment))[0]["n"].to_list() == [2, 3]
    assert read(source_of(topic, start=moment + dt.timedelta(days=1)))[0].is_empty()
    frame, position, _ = read(source_of(topic, start="latest"))
    assert frame.is_empty()
    assert offsets(position) == {"0": 4}, "it is saved, so that the next load brings what comes from now on"
    kafka.send(topic, [said({"n": 9})])
    assert read(source_of(topic, start="latest"), position)[0]["n"].to_list() == [9]


def test_what_retention_took_is_told_and_never_skipped_quietly(
    source_of: Callable[..., TopicMessages], kafka: KafkaServer, caplog: pytest.LogCaptureFixture
) -> None:
    topic = kafka.topic()
    kafka.send(topic, [said({"n": n}) for n in range(10)])
    _, position, _ = read(source_of(topic, max_messages=3))
    kafka.truncate(topic, 0, 3)
    assert read(source_of(topic), position)[0]["n"].to_list() == [3, 4, 5, 6, 7, 8, 9], "nothing is lost yet"
    kafka.truncate(topic, 0, 7)
    with pytest.raises(GapError, match=r"no longer holds 4 offsets .*4 of partition 0.*`on_gap=\"earliest\"`"):
        read(source_of(topic), position)
    with caplog.at_level(logging.WARNING):
        frame, _, reading = read(source_of(topic, on_gap="earliest"), position)
    assert frame["n"].to_list() == [7, 8, 9]
    assert reading.state().lost == 4
    assert "no longer holds 4 offsets" in caplog.text


def test_a_topic_made_anew_is_another_one(source_of: Callable[..., TopicMessages], kafka: KafkaServer) -> None:
    topic = kafka.topic()
    kafka.send(topic, [said({"n": n}) for n in range(3)])
    _, position, _ = read(source_of(topic))
    kafka.delete(topic)
    with pytest.raises(NotThereError, match="There is no topic"):
        read(source_of(topic), position)
    kafka.topic(topic)
    kafka.send(topic, [said({"n": n}) for n in range(9)])
    for how in ({}, {"on_gap": "earliest"}):
        with pytest.raises(GapError, match="deleted and made anew"):
            read(source_of(topic, **how), position)
    assert position is not None
    value = {**position.value, "topic": "", "offsets": {"0": 99}}
    with pytest.raises(GapError, match="deleted and made anew"):
        read(source_of(topic), Position(value=value, said="beyond the end"))


def test_a_partition_that_was_added_is_read_from_its_beginning(
    source_of: Callable[..., TopicMessages], kafka: KafkaServer
) -> None:
    from confluent_kafka.admin import NewPartitions

    topic = kafka.topic()
    kafka.send(topic, [said({"n": 0})])
    _, position, _ = read(source_of(topic, start="latest"))
    admin = kafka.admin()
    admin.create_partitions([NewPartitions(topic, 2)])[topic].result(30)
    _until_partitions(kafka, topic, 2)
    kafka.send(topic, [{"value": said({"n": 1}), "partition": 1}])
    frame, position, _ = read(source_of(topic, start="latest"), position)
    assert frame["n"].to_list() == [1]
    assert offsets(position) == {"0": 1, "1": 1}


def _until_partitions(kafka: KafkaServer, topic: str, number: int) -> None:
    admin = kafka.admin()
    for _ in range(200):
        if len(admin.list_topics(topic, timeout=10).topics[topic].partitions) == number:
            return
    raise AssertionError(topic)


NOT_OURS: list[dict[str, Any]] = [
    {},
    {"topic": 1},
    {"topic": "", "offsets": {"a": 1}, "times": {}},
    {"topic": "", "offsets": {"0": -1}, "times": {}},
]


@pytest.mark.parametrize("value", NOT_OURS)
def test_a_position_of_something_else_is_refused(source_of: Callable[..., TopicMessages], value: Any) -> None:
    with pytest.raises(InputError, match="none of the topic"), source_of("open").read(Position(value=value, said="x")):
        pass


def test_what_cannot_be_read_is_put_aside_and_the_others_go_on(
    source_of: Callable[..., TopicMessages], kafka: KafkaServer
) -> None:
    topic = kafka.topic()
    sent = [said({"n": 1}), b"{no json", said({"n": "two"}), said({"_offset": 5}), said([1]), said({"n": 3})]
    kafka.send(topic, [{"value": value, "key": b"k"} for value in sent])
    frame, position, reading = read(source_of(topic, columns={"n": pa.int64()}))
    assert frame["n"].to_list() == [1, None, 3]
    assert offsets(position) == {"0": 6}
    rejected = reading.rejected()
    assert rejected.select("_partition", "_offset", "_key", "_value").rows() == [
        (0, 1, b"k", sent[1]),
        (0, 2, b"k", sent[2]),
        (0, 3, b"k", sent[3]),
    ]
    reasons = rejected["_rejection_reasons"].explode().to_list()
    assert "no JSON" in reasons[0]
    assert reasons[1] == "The column `n` can't hold it: a text is no `int64`."
    assert "`_offset`" in reasons[2]
    assert reading.state().rejected == 3


def test_a_load_of_which_nothing_can_be_read_does_not_stop_those_that_follow(
    source_of: Callable[..., TopicMessages], kafka: KafkaServer, tmp_path: Path
) -> None:
    topic, table, mode = kafka.topic(), tmp_path / "orders", Upsert(keys="n", sequence_by="_offset")
    source = source_of(topic)
    assert load(source, table, mode).after is None
    for sent in (said({"n": 1}), b"{no json", b"{nor this"):
        kafka.send(topic, [sent])
        result = load(source, table, mode)
    assert scan(table).collect()["n"].to_list() == [1]
    assert offsets(result.after) == {"0": 3}
    assert load(source, table, mode).written.version is None


def test_types_come_from_the_values_without_loss(source_of: Callable[..., TopicMessages], kafka: KafkaServer) -> None:
    topic = kafka.topic()
    values = [
        {"whole": 1, "half": 0.5, "mixed": 1, "big": 2**70, "none": None, "list": [1, None], "inner": {"a": 1}},
        {"whole": 2, "half": 2, "mixed": "a", "big": 1, "list": [], "inner": {"b": "x"}, "empty": {}, "exact": 0.1},
    ]
    kafka.send(topic, [said(value) for value in values])
    frame = read(source_of(topic))[0]
    first = {"whole": 1, "half": 0.5, "mixed": "1", "big": str(2**70), "list": [1, None], "inner": {"a": 1, "b": None}}
    second = {"whole": 2, "half": 2.0, "mixed": '"a"', "big": "1", "list": [], "inner": {"a": None, "b": "x"}}
    assert frame.drop(pl.selectors.starts_with("_")).to_dicts() == [
        {**first, "empty": None, "exact": None},
        {**second, "empty": "{}", "exact": 0.1},
    ]


def test_parts_of_one_load_agree_on_types(source_of: Callable[..., TopicMessages], kafka: KafkaServer) -> None:
    topic = kafka.topic()
    count = 2500  # several parts
    kafka.send(topic, [said({"n": n if n < 2000 else n / 2, "t": n if n != 2400 else "x"}) for n in range(count)])
    frame = read(source_of(topic))[0]
    assert frame["n"].to_list() == [n if n < 2000 else n / 2 for n in range(count)]
    assert frame["t"].to_list() == [str(n) if n != 2400 else '"x"' for n in range(count)]


def test_keys_and_headers_are_columns(source_of: Callable[..., TopicMessages], kafka: KafkaServer) -> None:
    topic = kafka.topic()
    kafka.send(topic, [{"value": b"v", "key": b"1", "headers": [("h", b"x")]}, {"value": None, "key": b"2"}])
    frame = read(source_of(topic, value="text", key="text", headers=True))[0]
    assert frame.select("_key", "value", "_tombstone").rows() == [("1", "v", False), ("2", None, True)]
    assert frame["_headers"].to_list() == [[{"name": "h", "value": b"x"}], None]
    named = read(source_of(topic, value="raw", key="json", key_column="id"))[0]
    assert named.select("id", "value").rows() == [(1, b"v"), (2, None)]


def test_a_compacted_topic_goes_straight_into_an_upsert(
    source_of: Callable[..., TopicMessages], kafka: KafkaServer, tmp_path: Path
) -> None:
    topic = kafka.topic(cleanup_policy="compact")
    source = source_of(topic, key="json")
    mode = Upsert(keys=["id"], sequence_by="_offset", delete_when="_tombstone", soft_delete="is_deleted")
    keys = [said({"id": n}) for n in range(3)]
    sent = [(0, "a"), (1, "b"), (0, "c"), (2, "d"), (1, None)]
    kafka.send(topic, [{"key": keys[n], "value": v and said({"name": v})} for n, v in sent])
    frame, position, _ = read(source)
    write(tmp_path / "t", frame, mode)
    kafka.send(topic, [{"key": keys[2], "value": None}, {"key": keys[1], "value": said({"name": "e"})}])
    frame, _, _ = read(source, position)
    write(tmp_path / "t", frame, mode)
    held = scan(tmp_path / "t").filter(is_deleted=False).sort("id").select("id", "name").collect()
    assert held.rows() == [(0, "c"), (1, "e")]


def test_changes_of_debezium_go_straight_into_upsert_and_history(
    source_of: Callable[..., TopicMessages], kafka: KafkaServer, tmp_path: Path
) -> None:
    topic = kafka.topic()
    row = {"id": 1, "name": "a"}
    changes = [
        {"op": "r", "before": None, "after": row},
        {"op": "u", "before": row, "after": {**row, "name": "b"}},
        {"schema": {}, "payload": {"op": "c", "before": None, "after": {"id": 2, "name": "x"}}},
        {"op": "d", "before": {**row, "name": "b"}, "after": None},
        None,
        {"op": "m", "message": "?"},
        {"op": "u", "after": None},
    ]
    ids = [1, 1, 2, 1, 1, 3, 3]
    sent = [
        {"key": said({"id": n}), "value": change and said(change), "timestamp": 1_700_000_000_000 + at * 1000}
        for at, (n, change) in enumerate(zip(ids, changes, strict=True))
    ]
    kafka.send(topic, sent)
    frame, _, reading = read(source_of(topic, key="json", envelope="debezium"))
    assert frame.select("id", "name", "_op", "_tombstone").rows() == [
        (1, "a", "r", False),
        (1, "b", "u", False),
        (2, "x", "c", False),
        (1, "b", "d", False),
        (1, None, "d", True),
    ]
    assert reading.rejected()["_offset"].to_list() == [5, 6]
    write(tmp_path / "now", frame, Upsert(keys=["id"], sequence_by="_offset", delete_when="_op = 'd'"))
    assert scan(tmp_path / "now").select("id", "name").collect().rows() == [(2, "x")]
    mode = History(
        keys=["id"], source="changes", effective_column="_timestamp", sequence_by="_offset", delete_when="_op = 'd'",
        track=["name"],
    )  # fmt: skip
    write(tmp_path / "then", frame, mode)
    assert current(tmp_path / "then").select("id", "name").collect().rows() == [(2, "x")]
    versions = scan(tmp_path / "then").filter(id=1).sort("valid_from").collect()
    assert versions["name"].to_list() == ["a", "b"]


def test_ranges_are_loaded_one_by_one(
    source_of: Callable[..., TopicMessages], broker: Kafka, kafka: KafkaServer, tmp_path: Path
) -> None:
    topic = kafka.topic(partitions=2)
    kafka.send(topic, [{"value": said({"n": n}), "partition": n % 2} for n in range(9)])
    ranges = offset_ranges(broker, topic, messages=2)
    assert ranges == ["0:0-2", "0:2-4", "0:4-5", "1:0-2", "1:2-4"]
    for one in ranges:
        frame, position, _ = read(source_of(topic, only=one))
        assert position is None, "it moves no position"
        write(tmp_path / "t", frame, Append(once="batch", batch_id=one))
    assert scan(tmp_path / "t").collect()["n"].sort().to_list() == list(range(9))
    kafka.truncate(topic, 0, 1)
    assert offset_ranges(broker, topic, messages=2)[0] == "0:1-2"
    for wrong in ("0:0-2", "0:4-6", "7:0-1"):
        with pytest.raises(InputError, match="`only` asks for"):
            read(source_of(topic, only=wrong))
    with pytest.raises(InputError, match=r"`0:3-5` is left. Nothing was written; name smaller ranges"):
        read(source_of(topic, only="0:1-5", max_messages=2))


def test_ranges_that_adjoin_are_read_as_one(source_of: Callable[..., TopicMessages]) -> None:
    assert source_of("orders").named_parts(["1:7-9", "0:5-10", "0:0-5"]).only == "0:0-10,1:7-9"
    for wrong in (["0:0-5", "0:6-7"], ["0:0-5", "0:0-5"], ["0:0-5", "0:4-6"]):
        with pytest.raises(ConfigError, match="do not adjoin"):
            source_of("orders").named_parts(wrong)


def test_a_range_is_no_whole_and_is_not_doubled(source_of: Callable[..., TopicMessages], tmp_path: Path) -> None:
    part = source_of("orders", only="0:0-2")
    with pytest.raises(ConfigError, match="all else would be gone"):
        load(part, tmp_path, Overwrite())
    with pytest.raises(ConfigError, match="which an Append would double"):
        load(part, tmp_path, Append())


def test_a_group_shows_how_far_the_loads_came(source_of: Callable[..., TopicMessages], kafka: KafkaServer) -> None:
    from confluent_kafka import Consumer, TopicPartition

    topic = kafka.topic()
    kafka.send(topic, [said({"n": n}) for n in range(3)])
    with source_of(topic, group="watched").read(None) as reading:
        reading.batches().read_all()
        for _ in range(2):
            reading.landed()
    watching = Consumer({"bootstrap.servers": kafka.plain, "group.id": "watched"})
    assert [one.offset for one in watching.committed([TopicPartition(topic, 0)], timeout=20)] == [3]
    watching.close()
    kafka.send(topic, [said({"n": 3})])
    assert read(source_of(topic, group="watched"))[0].height == 4, "nothing here reads them"


def test_a_schema_registry_that_is_away_stops_the_load(kafka: KafkaServer) -> None:
    topic = kafka.topic()
    kafka.send(topic, [b"\x00\x00\x00\x00\x01\x02"])
    lost = Kafka(bootstrap_servers=kafka.plain, tls=False, schema_registry="http://127.0.0.1:1", timeout=5)
    with pytest.raises(StoreUnavailableError, match="schema registry"):
        read(TopicMessages(broker=lost, topic=topic, value="registry"))


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"value": "avro"}, "`value` is `avro`; valid: raw, text, json, registry"),
        ({"start": "newest"}, "`start` is `newest`"),
        ({"start": dt.datetime(2024, 1, 1)}, "without a zone"),  # noqa: DTZ001 - it is refused
        ({"max_messages": 0}, "above 0"),
        ({"only": "0:5-5"}, "no ranges of offsets"),
        ({"only": "0:1-2,0:2-3"}, "no ranges of offsets"),
        ({"only": "all"}, "no ranges of offsets"),
        ({"value": "raw", "columns": {"n": pa.int64()}}, "`columns` is for JSON"),
        ({"value": "text", "envelope": "debezium"}, "needs values of the format"),
        ({"on_gap": "latest"}, "`on_gap` is `latest`"),
    ],
)
def test_what_cannot_work_is_refused(source_of: Callable[..., TopicMessages], how: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        source_of("open", **how)
