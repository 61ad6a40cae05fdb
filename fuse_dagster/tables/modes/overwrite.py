"""Overwrite: how it is declared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fuse_dagster.tables.conditions import Condition, wrong_conditions
from fuse_dagster.tables.modes.declaring import (
    NullKeys,
    SchemaPolicy,
    raise_problems,
    set_names,
    wrong_choices,
    wrong_keys,
    wrong_null_keys,
)
from fuse_dagster.tables.slices import Slice


@dataclass(frozen=True, slots=True, kw_only=True)
class Overwrite:
    """Replace the table, or the rows that one of `where`, `replace_keys` and `predicate` names, by the batch.

    Columns of the table that the batch lacks are null in what replaces a part of it.

    Attributes:
        where: Only rows of this slice are replaced. A row of the batch outside it, or null in its columns, is an error.
        replace_keys: Only rows whose key stands in the batch are replaced, by all of the batch's rows of that key:
            for a parent that is delivered with all of its children. Several rows may share a key.
        predicate: SQL condition over the table's columns, such as `region = 'EU'`. Only rows that meet it are
            replaced; every row of the batch must meet it, and a null meets nothing.
        null_keys: What becomes of rows with a null part of the key, for `replace_keys`: an `error`; `drop` leaves them
            out, with a line in the log; `reject` hands them to `on_rejected` of the write before anything is committed.
            Both count as `rejected`. A batch without any other row writes nothing.
        partition_by: Physical partition columns, used when the table is created.
        skip_if_unchanged: Compare with what is there and commit nothing where both hold the same rows (in any order).
        schema: `evolve` adds new columns and widens types; `strict` refuses both. A whole-table
            overwrite with `evolve` also takes other types and drops columns that the batch no longer has.

    Example:
        >>> Overwrite(where=Slice.equals("day", 3)).skip_if_unchanged
        True
    """

    where: Slice | None = None
    replace_keys: Sequence[str] = ()
    predicate: str | None = None
    null_keys: NullKeys = "error"
    partition_by: Sequence[str] = ()
    skip_if_unchanged: bool = True
    schema: SchemaPolicy = "evolve"

    def __post_init__(self) -> None:
        """Check the declaration; all problems are reported at once."""
        set_names(self, "partition_by")
        set_names(self, "replace_keys")
        problems = [
            *self._wrong_parts(),
            *wrong_null_keys(
                self.null_keys, self.replace_keys, remedy="name in `replace_keys` the columns whose rows are replaced"
            ),
            *wrong_conditions(self.condition),
            *wrong_choices(self, schema=SchemaPolicy, null_keys=NullKeys),
        ]
        raise_problems("Overwrite", problems)

    @property
    def condition(self) -> Condition | None:
        """The predicate, where there is one."""
        return None if self.predicate is None else Condition("predicate", self.predicate, "region = 'EU'")

    @property
    def chooses_rows(self) -> bool:
        """Whether the rows to replace are found by reading them, rather than by a slice."""
        return bool(self.replace_keys) or self.predicate is not None

    @property
    def sifted_keys(self) -> tuple[str, ...]:
        """Columns whose null leaves a row out of the batch; none where it is an error."""
        return () if self.null_keys == "error" else tuple(self.replace_keys)

    @property
    def is_whole_truth(self) -> bool:
        """Whether what a batch leaves out is gone or ended afterwards."""
        return self.where is None and not self.chooses_rows

    @property
    def replaces_part(self) -> bool:
        """Whether a part is replaced that the declaration says, so that it is empty after a batch without rows."""
        return self.where is not None or self.predicate is not None

    def _wrong_parts(self) -> Iterable[str]:
        given = {"where": self.where, "replace_keys": self.replace_keys, "predicate": self.predicate}
        named = [f"`{name}`" for name, value in given.items() if value]
        if len(named) > 1:
            yield f"{' and '.join(named)} exclude each other: each says which rows are replaced; keep one"
        if self.replace_keys:
            yield from (problem.replace("`keys`", "`replace_keys`") for problem in wrong_keys(self.replace_keys))
        if self.partition_by and self.chooses_rows:
            yield (
                "`partition_by` lays a table out in physical partitions, which overwriting by `replace_keys` or "
                "`predicate` does not write; leave it out"
            )
