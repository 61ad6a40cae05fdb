"""Changes by other writers: those that leave the rows as they were, and those that make the memory wrong."""

from __future__ import annotations

from fuse_dagster.core.errors import TableStateError
from fuse_dagster.tables.history.manifest import Manifest
from fuse_dagster.tables.view import TableView

# Operations of other writers that move rows between files or change settings, and leave the rows as they were.
_HARMLESS = frozenset({
    "OPTIMIZE", "VACUUM START", "VACUUM END", "FSCK", "ADD FEATURE", "SET TBLPROPERTIES", "UNSET TBLPROPERTIES",
    "SET TABLE PROPERTIES", "UPDATE TABLE METADATA", "UPDATE FIELD METADATA",
})  # fmt: skip


def refuse_foreign_changes(view: TableView, manifest: Manifest) -> None:
    """Rows that others changed make the memory wrong: compare what they did, and how many rows there are.

    Raises:
        TableStateError: Somebody else changed rows since the manifest was written.
    """
    if view.version == manifest.version:
        return
    foreign = [
        entry
        for entry in view.table.history(max(view.version - manifest.version, 1))
        if int(entry["version"]) > manifest.version and entry.get("operation") not in _HARMLESS
    ]
    rows = view.count_rows()
    if foreign or rows != manifest.rows_total or view.version < manifest.version:
        did = "; ".join(f"version {e['version']}: {e.get('operation')}" for e in foreign[:5]) or "an older state"
        raise TableStateError(
            f"the history `{view.uri}` was changed by others since version {manifest.version} ({did}; {rows} rows, "
            f"{manifest.rows_total} remembered), so what it remembers no longer fits its rows. Nothing was written; "
            f"restore version {manifest.version} by overwriting from a backup, or load the history anew "
            "into an empty place"
        )
