"""Upsert: how it is declared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fuse_dagster.tables.modes.declaring import SchemaPolicy, raise_problems, set_names, wrong_choices, wrong_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsert:
    """Insert new keys, update keys whose values differ, leave absent keys alone (SCD type 1).

    Attributes:
        keys: Business key, one or more columns.
        schema: `evolve` adds new columns; `strict` refuses them.

    Example:
        >>> Upsert(keys=["tailnum"]).keys
        ('tailnum',)
    """

    keys: Sequence[str]
    schema: SchemaPolicy = "evolve"

    def __post_init__(self) -> None:
        """Check the declaration."""
        set_names(self, "keys")
        raise_problems("Upsert", [*wrong_keys(self.keys), *wrong_choices(self, schema=SchemaPolicy)])
