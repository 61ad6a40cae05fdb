"""Append: how it is declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fuse_dagster.tables.modes.declaring import SchemaPolicy, raise_problems, set_names, wrong_choices


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Add the batch's rows; what the table holds stays untouched.

    Attributes:
        partition_by: Physical partition columns, used when the table is created.
        schema: `evolve` adds new columns; `strict` refuses them.

    Example:
        >>> Append(partition_by=["day"]).partition_by
        ('day',)
    """

    partition_by: Sequence[str] = ()
    schema: SchemaPolicy = "evolve"

    def __post_init__(self) -> None:
        """Check the declaration."""
        set_names(self, "partition_by")
        raise_problems("Append", wrong_choices(self, schema=SchemaPolicy))
