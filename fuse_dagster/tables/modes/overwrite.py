"""Overwrite: how it is declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fuse_dagster.tables.modes.declaring import SchemaPolicy, raise_problems, set_names, wrong_choices
from fuse_dagster.tables.slices import Slice


@dataclass(frozen=True, slots=True, kw_only=True)
class Overwrite:
    """Replace the table, or the slice of it that `where` names, by the batch.

    Attributes:
        where: Only rows of this slice are replaced. A row of the batch outside it, or null in its columns, is an error.
            Columns of the table that the batch lacks are null in the slice.
        partition_by: Physical partition columns, used when the table is created.
        skip_if_unchanged: Compare with what is there and commit nothing where both hold the same rows (in any order).
        schema: `evolve` adds new columns; `strict` refuses them. A whole-table overwrite with `evolve` also takes
            other types and drops columns that the batch no longer has.

    Example:
        >>> Overwrite(where=Slice.equals("day", 3)).skip_if_unchanged
        True
    """

    where: Slice | None = None
    partition_by: Sequence[str] = ()
    skip_if_unchanged: bool = True
    schema: SchemaPolicy = "evolve"

    def __post_init__(self) -> None:
        """Check the declaration."""
        set_names(self, "partition_by")
        raise_problems("Overwrite", wrong_choices(self, schema=SchemaPolicy))
