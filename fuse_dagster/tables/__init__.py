"""How a batch becomes a Delta table: append, overwrite, upsert, history. No Dagster in here."""

from fuse_dagster.core.results import WriteResult
from fuse_dagster.tables.history.care.adopting import AdoptReport, adopt
from fuse_dagster.tables.history.care.rebuilding import RebuildResult, rebuild
from fuse_dagster.tables.history.care.retracting import retract
from fuse_dagster.tables.history.hashing import hash_keys
from fuse_dagster.tables.history.memory.foreign import ForeignChange
from fuse_dagster.tables.history.memory.inspecting import foreign_changes, known_snapshots
from fuse_dagster.tables.history.reading import PointInTime, as_of, changes, current, numbered, point_in_time
from fuse_dagster.tables.loads import Memo, Remembered, forgotten_memo, read_ledger, read_memo, seen_before
from fuse_dagster.tables.maintaining.checkpointing import checkpoint
from fuse_dagster.tables.maintaining.cleaning import vacuum
from fuse_dagster.tables.maintaining.compacting import compact
from fuse_dagster.tables.maintaining.maintain import maintain
from fuse_dagster.tables.maintaining.reports import Checkpointed, Compaction, MaintenanceReport, Vacuumed
from fuse_dagster.tables.modes import Append, History, Overwrite, Upsert, WriteMode
from fuse_dagster.tables.slices import Slice
from fuse_dagster.tables.write import write

__all__ = [
    "AdoptReport",
    "Append",
    "Checkpointed",
    "Compaction",
    "ForeignChange",
    "History",
    "MaintenanceReport",
    "Memo",
    "Overwrite",
    "PointInTime",
    "RebuildResult",
    "Remembered",
    "Slice",
    "Upsert",
    "Vacuumed",
    "WriteMode",
    "WriteResult",
    "adopt",
    "as_of",
    "changes",
    "checkpoint",
    "compact",
    "current",
    "foreign_changes",
    "forgotten_memo",
    "hash_keys",
    "known_snapshots",
    "maintain",
    "numbered",
    "point_in_time",
    "read_ledger",
    "read_memo",
    "rebuild",
    "retract",
    "seen_before",
    "vacuum",
    "write",
]
