"""How the rows of one batch came out, while a write is being planned."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts that become a `WriteResult`; what is counted nowhere is unchanged.

    Attributes:
        inserted: Rows whose key was not there.
        updated: Rows whose values differ from what was there.
        closed: Keys ended by absence or by a delete.
        closing_rows: Of `closed`, those that a row of the batch states.
        rejected: Rows left out because they are late.
        duplicates: Copies of other rows of the batch.
        deleted: Rows taken out of the table with nothing in their place.
        schema_changes: One sentence per change of the columns.
    """

    inserted: int = 0
    updated: int = 0
    closed: int = 0
    closing_rows: int = 0
    rejected: int = 0
    duplicates: int = 0
    deleted: int = 0
    schema_changes: tuple[str, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        """Both together."""
        return Tally(**{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)})
