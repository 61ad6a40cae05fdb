"""Loads of a topic that go on until they are killed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path

from fuse_dagster import Kafka
from fuse_dagster.core.errors import LoadOvertakenError
from fuse_dagster.ingest import load
from fuse_dagster.ingest.topics import TopicMessages
from fuse_dagster.tables import Append, Upsert, WriteMode

MODES: Mapping[str, WriteMode] = {
    "append": Append(),
    "upsert": Upsert(keys=["id"], sequence_by="n", delete_when="_tombstone", soft_delete="is_deleted"),
}


def source_of(servers: str, topic: str) -> TopicMessages:
    """The topic, of which a load takes a part."""
    broker = Kafka(bootstrap_servers=servers, tls=False, timeout=60)
    return TopicMessages(broker=broker, topic=topic, key="json", value="json", max_messages=500)


def load_on(servers: str, topic: str, table: Path, mode: str) -> Iterator[int]:
    """Load again and again; the number of each load that landed."""
    for number in count():
        try:
            load(source_of(servers, topic), table, MODES[mode])
        except LoadOvertakenError:
            continue  # another one of these was faster
        yield number
