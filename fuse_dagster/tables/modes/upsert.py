"""Upsert: how it is declared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from fuse_dagster.tables.conditions import Condition, OldAndNew, wrong_conditions
from fuse_dagster.tables.modes.declaring import (
    NullKeys,
    SchemaPolicy,
    raise_problems,
    set_names,
    wrong_choices,
    wrong_keys,
)

WhenMatched = Literal["update", "ignore"]
Absent = Literal["keep", "delete"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsert:
    """Insert new keys, update keys whose values differ, leave absent keys alone (SCD type 1).

    With `sequence_by` and `soft_delete` the table does not depend on the order, the grouping or the repetition of
    batches. Without `sequence_by` the batch that is written last holds; without `soft_delete` a deleted key is
    forgotten, and an older row of it that arrives afterwards brings it back.

    Attributes:
        keys: Business key, one or more columns.
        when_matched: `update` replaces a row of the table by the batch's row of its key; `ignore` only inserts.
        update_when: SQL condition over `new.` and `old.` columns, such as `new.updated_at > old.updated_at`: a row of
            the table is replaced only where it holds, and a null does not. It is not asked of deletes, nor of a key
            that returns after a soft delete.
        sequence_by: Column that orders the rows of one key, such as a log position. Of several in a batch the highest
            holds; a row that is not above the table's changes nothing, and counts as unchanged. The same sequence with
            other values is an error.
        delete_when: SQL condition over the batch's columns that marks a row as a delete, such as `op = 'D'`. Null
            means no delete.
        absent: `delete` takes a batch for the whole truth: keys that it leaves out are deleted. `keep` leaves them.
        max_delete_fraction: Highest share of the table's keys that a whole truth may leave out, 0 to 1; None turns the
            guard off.
        allow_empty: Whether a whole truth without rows is believed.
        soft_delete: Boolean column that the table adds. A delete sets it to true rather than remove the row, and a row
            that returns sets it to false. Readers filter by it. With `sequence_by` the row of the delete itself is
            kept, also where its key was never seen, because an older row may still arrive.
        null_keys: What becomes of rows with a null part of the key: an `error`; `drop` leaves them out, with a line in
            the log; `reject` hands them to `on_rejected` of the write before anything is committed. Both count as
            `rejected`. A batch without any other row writes nothing; as a whole truth it is refused, whatever
            `allow_empty` says.
        schema: `evolve` adds new columns and widens types; `strict` refuses both.

    Example:
        >>> Upsert(keys=["tailnum"], sequence_by="position", delete_when="op = 'D'", soft_delete="is_deleted").keys
        ('tailnum',)
    """

    keys: Sequence[str]
    when_matched: WhenMatched = "update"
    update_when: str | None = None
    sequence_by: str | None = None
    delete_when: str | None = None
    absent: Absent = "keep"
    max_delete_fraction: float | None = 0.5
    allow_empty: bool = False
    soft_delete: str | None = None
    null_keys: NullKeys = "error"
    schema: SchemaPolicy = "evolve"

    def __post_init__(self) -> None:
        """Check the declaration; all problems are reported at once."""
        set_names(self, "keys")
        problems = [
            *wrong_keys(self.keys),
            *wrong_choices(self, when_matched=WhenMatched, absent=Absent, null_keys=NullKeys, schema=SchemaPolicy),
            *self._wrong_roles(),
            *self._wrong_pairs(),
            *wrong_conditions(self.delete_condition, self.update_condition),
        ]
        raise_problems("Upsert", problems)

    @property
    def delete_condition(self) -> Condition | None:
        """Which rows of a batch are deletes, where it is said."""
        return None if self.delete_when is None else Condition("delete_when", self.delete_when, "op = 'D'")

    @property
    def update_condition(self) -> OldAndNew | None:
        """Which rows of the table are replaced, where it is said."""
        return None if self.update_when is None else OldAndNew("update_when", self.update_when)

    @property
    def own(self) -> tuple[str, ...]:
        """Columns that the table adds by itself."""
        return () if self.soft_delete is None else (self.soft_delete,)

    @property
    def keeps_deletes(self) -> bool:
        """Whether a delete stays as a row with a sequence, so that an older row that arrives later cannot undo it."""
        return self.soft_delete is not None and self.sequence_by is not None

    @property
    def sifted_keys(self) -> tuple[str, ...]:
        """Columns whose null leaves a row out of the batch; none where it is an error."""
        return () if self.null_keys == "error" else tuple(self.keys)

    @property
    def is_whole_truth(self) -> bool:
        """Whether what a batch leaves out is gone or ended afterwards."""
        return self.absent == "delete"

    def _wrong_roles(self) -> Iterable[str]:
        for role in ("sequence_by", "soft_delete"):
            column = getattr(self, role)
            if column is not None and column in self.keys:
                yield f"`{role}` names `{column}`, which is already in `keys`; a column has one role"
        if self.soft_delete is not None and self.soft_delete == self.sequence_by:
            yield f"`{self.soft_delete}` is both `soft_delete` and `sequence_by`; a column has one role"
        fraction = self.max_delete_fraction
        if fraction is not None and not 0 <= fraction <= 1:
            yield f"`max_delete_fraction` is `{fraction}`; give a share from 0 to 1, or None for no guard"

    def _wrong_pairs(self) -> Iterable[str]:
        if self.when_matched == "ignore":
            others = {
                "absent": "keep",
                "update_when": None,
                "sequence_by": None,
                "delete_when": None,
                "soft_delete": None,
            }
            given = [f"`{name}`" for name, default in others.items() if getattr(self, name) != default]
            if given:
                yield f'`when_matched="ignore"` only inserts, so {", ".join(given)} would do nothing; leave one out'
        if self.absent == "delete" and self.sequence_by is not None:
            yield (
                '`absent="delete"` and `sequence_by` exclude each other: an absence has no sequence, so it could not '
                "be put in order with the rows"
            )
