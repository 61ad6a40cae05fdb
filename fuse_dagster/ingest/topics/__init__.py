"""Topics of a broker as a source of incremental loads: each message lands once."""

from fuse_dagster.ingest.topics.offsets import offset_ranges
from fuse_dagster.ingest.topics.reading import TopicReading
from fuse_dagster.ingest.topics.source import TopicMessages

__all__ = ["TopicMessages", "TopicReading", "offset_ranges"]
