"""Rows that cannot be placed for want of a key: left out before a write is planned, handed over before it commits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import polars as pl

from fuse_dagster.core.errors import ConfigError, SchemaError

REASONS = "_rejection_reasons"
"""Column of rejected rows: the names of exactly the rules that the row breaks, in the order of the rules."""

NULL_KEY = "null_key"
"""The reason of a row with a null part of its key."""

OnRejected = Callable[[pl.DataFrame], object]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Sifted:
    """A batch without the rows that are left out.

    Attributes:
        kept: Rows with a whole key, in their order.
        rejected: The other rows, with their reasons in `REASONS`.
        hand_over: Takes them; None where they are dropped.
    """

    kept: pl.DataFrame
    rejected: pl.DataFrame
    hand_over: OnRejected | None
    _is_open: bool = field(default=False, repr=False)

    def open(self) -> None:
        """Hand the rejected rows over, once, however often a commit is tried."""
        if self._is_open or self.hand_over is None or self.rejected.is_empty():
            return
        self.hand_over(self.rejected)
        self._is_open = True


def sift(
    batch: pl.DataFrame, keys: Sequence[str], null_keys: str, on_rejected: OnRejected | None, *, uri: str
) -> Sifted:
    """Take the rows with a null key out of a batch, where the mode says so.

    Args:
        batch: Rows x columns.
        keys: The key columns; what else is wrong with them is found when the write is planned.
        null_keys: `error` takes nothing out, `drop` and `reject` do.
        on_rejected: Takes the rows of `reject`.
        uri: The table, for messages.

    Raises:
        ConfigError: `reject`, and nobody takes the rows.
        SchemaError: The batch has the column that the reasons would get.
    """
    if null_keys == "reject" and on_rejected is None:
        raise ConfigError(
            f'the write to `{uri}` has `null_keys="reject"`, and nobody takes the rejected rows; give `on_rejected`, '
            'or declare `null_keys="drop"`'
        )
    if null_keys == "error" or any(key not in batch.columns for key in keys):
        return Sifted(batch, batch.clear(), None)
    if null_keys == "reject" and REASONS in batch.columns:
        raise SchemaError(f"the batch has a column `{REASONS}`, which rejected rows get; drop or rename it first")
    is_null = pl.any_horizontal(pl.col(key).is_null() for key in keys)
    rejected = batch.filter(is_null)
    if rejected.height:
        word = "dropped" if null_keys == "drop" else "rejected"
        logger.warning("%d rows with a null key were %s before they were written to %s", rejected.height, word, uri)
    reasons = pl.lit([NULL_KEY], dtype=pl.List(pl.String)).alias(REASONS)
    return Sifted(
        batch.filter(~is_null), rejected.with_columns(reasons), on_rejected if null_keys == "reject" else None
    )
