"""From the bytes of a message to a value, and where its schema says it, to the type of a column."""

from fuse_dagster.connectors.streams.decoding.decoded import Decoded, UndecodableError
from fuse_dagster.connectors.streams.decoding.decoders import Decode, Format, decoder
from fuse_dagster.connectors.streams.decoding.registry import Registry

__all__ = ["Decode", "Decoded", "Format", "Registry", "UndecodableError", "decoder"]
