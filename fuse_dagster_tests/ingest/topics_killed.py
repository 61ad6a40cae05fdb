"""What is read of a topic, and how it is written, while loads of it are killed."""

from __future__ import annotations

from collections.abc import Mapping

from fuse_dagster import Kafka
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
