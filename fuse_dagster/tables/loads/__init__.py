"""What a load remembers beside the rows it brought: how far its source was read, and what it has brought before."""

from fuse_dagster.tables.loads.ledger import read_ledger, seen_before
from fuse_dagster.tables.loads.memory import Memo, Remembered, forgotten_memo, read_memo

__all__ = ["Memo", "Remembered", "forgotten_memo", "read_ledger", "read_memo", "seen_before"]
