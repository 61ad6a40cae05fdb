"""Schema drift: how the columns that a source brings differ from those of its table, and what to make of it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import polars as pl

from fuse_dagster.core.errors import SchemaError
from fuse_dagster.tables.batch import to_batch
from fuse_dagster.tables.schema import widens

if TYPE_CHECKING:
    import pyarrow as pa

DriftPolicy = Literal["evolve", "warn", "refuse"]
"""`evolve` takes new and wider columns, `warn` does so with a warning, `refuse` takes none."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How the columns of a source differ from those of its table.

    Attributes:
        added: Columns that the table does not have, and their types.
        widened: Columns whose type grows: what it was and what it is.
        missing: Columns of the table that the source no longer has.
        conflicts: Columns of another kind: what it was and what it is.
    """

    added: Mapping[str, pl.DataType] = field(default_factory=dict)
    widened: Mapping[str, tuple[pl.DataType, pl.DataType]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    conflicts: Mapping[str, tuple[pl.DataType, pl.DataType]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.widened or self.missing or self.conflicts)

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence per column."""
        return (
            *(f"{name}: {str(dtype).lower()} is new" for name, dtype in self.added.items()),
            *(f"{name}: {_change(pair)} (wider)" for name, pair in self.widened.items()),
            *(f"{name}: gone from the source" for name in self.missing),
            *(f"{name}: {_change(pair)} (does not fit)" for name, pair in self.conflicts.items()),
        )


def drift_of(schema: pa.Schema, known: Mapping[str, pl.DataType], *, own: Collection[str] = ()) -> Drift:
    """Compare what a source brings with what its table has.

    Args:
        schema: Columns of the source.
        known: Columns of the table; empty for a first load, which can't drift.
        own: Columns that the table adds by itself.
    """
    if not known or not len(schema):
        return Drift()
    found = dict(to_batch(schema.empty_table()).schema)
    pairs = {
        name: (known[name], dtype)
        for name, dtype in found.items()
        if name in known and dtype not in (known[name], pl.Null()) and not widens(dtype, known[name])
    }
    wider = {name for name, (was, now) in pairs.items() if widens(was, now)}
    return Drift(
        added={name: dtype for name, dtype in found.items() if name not in known and dtype != pl.Null()},
        widened={name: pair for name, pair in pairs.items() if name in wider},
        missing=tuple(name for name in known if name not in found and name not in own),
        conflicts={name: pair for name, pair in pairs.items() if name not in wider},
    )


def judge_drift(drift: Drift, policy: DriftPolicy, *, source: str, table: str) -> None:
    """Do with a drift what the policy says. A type that does not fit is refused by the write, which shows values.

    Args:
        drift: What differs.
        policy: What to make of it.
        source: For messages.
        table: For messages.

    Raises:
        SchemaError: The policy is `refuse`; nothing was written.
    """
    if not drift:
        return
    said = "; ".join(drift.sentences)
    if policy == "refuse":
        raise SchemaError(
            f"the columns of `{source}` are no longer those of `{table}`: {said}. Nothing was written, because its "
            'drift is `refuse`; change the table or the source, or declare `drift="evolve"`'
        )
    logger.log(
        logging.WARNING if policy == "warn" else logging.INFO, "the columns of `%s` have drifted: %s", source, said
    )


def _change(pair: tuple[pl.DataType, pl.DataType]) -> str:
    was, now = pair
    return f"{str(was).lower()} became {str(now).lower()}"
