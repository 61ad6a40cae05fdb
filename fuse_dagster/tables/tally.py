"""How the rows of one batch came out, while a write is being planned."""

from __future__ import annotations

from dataclasses import dataclass, fields

from fuse_dagster.core.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts that become a `WriteResult`; what is counted nowhere is unchanged.

    Attributes:
        inserted: Rows whose key was not there.
        updated: Rows whose values differ from what was there.
        closed: Keys ended by absence or by a delete.
        closing_rows: Of `closed`, those that a row of the batch states.
        applied: Rows that were put beside the table's.
        rejected: Rows left out because they are late.
        duplicates: Copies of other rows of the batch.
        deleted: Rows taken out of the table with nothing in their place.
        schema_changes: One sentence per change of the columns.
    """

    inserted: int = 0
    updated: int = 0
    closed: int = 0
    closing_rows: int = 0
    applied: int = 0
    rejected: int = 0
    duplicates: int = 0
    deleted: int = 0
    schema_changes: tuple[str, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(**{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)})

    def refuse_lost(self, rows: int) -> None:
        """Make sure, before a commit, that each row of the batch is counted once.

        Args:
            rows: Rows of the batch.

        Raises:
            InputError: Applied, rejected and duplicate rows together are not the batch.
        """
        news = self.inserted + self.updated + self.closing_rows
        if self.applied + self.rejected + self.duplicates != rows or news > self.applied:
            raise InputError(
                f"rows were lost or made: of {rows} rows in the batch, {self.applied} were applied ({news} of them as "
                f"news), {self.rejected} rejected and {self.duplicates} are duplicates; nothing was written. This is "
                "an error of fuse_dagster: report it with these numbers"
            )
