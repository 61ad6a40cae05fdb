"""What a write reports back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResult:
    """The outcome of one write to one table.

    Every row of the batch is counted once: `rows_in == inserted + updated + unchanged + rejected + duplicates`, to
    which a feed of changes adds the `closed` of its delete rows (see `History`).

    Attributes:
        version: Delta version that this write committed; None where nothing had to be written.
        table_version: Delta version of the table after the call; -1 where there is none.
        rows_in: Rows in the batch.
        inserted: Rows whose key was not there before; for History: first seen, or seen again after an end.
        updated: Rows whose tracked values differ from what the table held.
        unchanged: Rows that the table already held.
        rejected: Rows left out one by one: late ones, and those with a null key, as far as the mode leaves them out.
        duplicates: Exact copies of another row of the batch, collapsed into it.
        closed: Keys ended by absence or by a delete, not by an update.
        deleted: Rows physically removed from the table and not replaced by a newer state of the same key.
        rows_total: Rows of the table at `table_version`; None where the commit landed but they could not be counted.
        files_added: Data files written.
        bytes_added: Bytes of these files.
        seconds: Wall time of the call.
        schema_changes: One sentence per change, as `lid: string added`.
    """

    version: int | None
    table_version: int
    rows_in: int
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    duplicates: int = 0
    closed: int = 0
    deleted: int = 0
    rows_total: int | None = 0
    files_added: int = 0
    bytes_added: int = 0
    seconds: float = 0.0
    schema_changes: tuple[str, ...] = ()

    @property
    def committed(self) -> bool:
        """Whether this write made a new table version."""
        return self.version is not None
