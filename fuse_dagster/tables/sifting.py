"""Rows that cannot be placed for want of a key: left out before a write is planned, handed over before it commits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import polars as pl

from fuse_dagster.core.errors import ConfigError, DeleteGuardError, SchemaError
from fuse_dagster.tables.modes import WriteMode

REASONS = "_rejection_reasons"
"""Column of rejected rows: the names of exactly the rules that the row breaks, in the order of the rules."""

NULL_KEY = "null_key"
"""The reason of a row with a null part of its key."""

OnRejected = Callable[[pl.DataFrame], object]

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Sifted:
    """What was left out of a batch.

    Attributes:
        rejected: The rows, with their reasons in `REASONS`.
        hand_over: Takes them; None where they are dropped.
        is_all: Whether the batch had rows, and all of them are left out: then there is nothing to write.
    """

    rejected: pl.DataFrame = field(default_factory=pl.DataFrame)
    hand_over: OnRejected | None = None
    is_all: bool = False
    _is_open: bool = field(default=False, repr=False)

    def open(self) -> None:
        """Hand the rejected rows over, once, however often a commit is tried."""
        if self._is_open or self.hand_over is None or self.rejected.is_empty():
            return
        self.hand_over(self.rejected)
        self._is_open = True


def sift(
    batch: pl.DataFrame, mode: WriteMode, on_rejected: OnRejected | None, *, uri: str
) -> tuple[pl.DataFrame, Sifted]:
    """Take the rows with a null key out of a batch, where the mode says so.

    Args:
        batch: Rows x columns.
        mode: The declaration; what else is wrong with its key is found when the write is planned.
        on_rejected: Takes the rows of `null_keys="reject"`.
        uri: The table, for messages.

    Returns:
        The rows with a whole key, in their order, and what became of the others.

    Raises:
        ConfigError: As `keys_to_sift`.
        SchemaError: As `keys_to_sift`.
        DeleteGuardError: As `leave_out`.
    """
    keys = keys_to_sift(batch.columns, mode, on_rejected, uri=uri)
    if not keys:
        return batch, Sifted()
    is_null = pl.any_horizontal(pl.col(key).is_null() for key in keys)
    kept = batch.filter(~is_null)
    return kept, leave_out(batch.filter(is_null), mode, on_rejected, is_all=kept.is_empty(), uri=uri)


def keys_to_sift(
    columns: Collection[str], mode: WriteMode, on_rejected: OnRejected | None, *, uri: str
) -> tuple[str, ...]:
    """The columns whose null leaves a row out; none where nothing is left out.

    Args:
        columns: Columns of the batch.
        mode: The declaration.
        on_rejected: Takes the rows of `null_keys="reject"`.
        uri: The table, for messages.

    Raises:
        ConfigError: `reject`, and nobody takes the rows.
        SchemaError: The batch has the column that the reasons would get.
    """
    refuse_untaken(mode, on_rejected, uri=uri)
    if any(key not in columns for key in mode.sifted_keys):
        return ()
    if mode.null_keys == "reject" and REASONS in columns:
        raise SchemaError(f"the batch has a column `{REASONS}`, which rejected rows get; drop or rename it first")
    return mode.sifted_keys


def refuse_untaken(mode: WriteMode, on_rejected: OnRejected | None, *, uri: str) -> None:
    """Refuse to reject rows that nobody takes.

    Raises:
        ConfigError: `null_keys="reject"` without `on_rejected`.
    """
    if mode.null_keys == "reject" and on_rejected is None:
        raise ConfigError(
            f'the write to `{uri}` has `null_keys="reject"`, and nobody takes the rejected rows; give `on_rejected`, '
            'or declare `null_keys="drop"`'
        )


def leave_out(rows: pl.DataFrame, mode: WriteMode, on_rejected: OnRejected | None, *, is_all: bool, uri: str) -> Sifted:
    """Give rows with a null key their reasons.

    Args:
        rows: The rows that are left out, perhaps none.
        mode: The declaration.
        on_rejected: Takes them, where they are not dropped.
        is_all: Whether the batch has no others.
        uri: The table, for messages.

    Raises:
        DeleteGuardError: A whole truth had rows, and none is left.
    """
    if rows.is_empty():
        return Sifted()
    if is_all and mode.is_whole_truth:
        raise DeleteGuardError(
            f"the batch has {rows.height} rows, and none of them has a whole key `{', '.join(mode.sifted_keys)}`; as "
            "the whole truth it would end every key. That is a broken extract rather than an empty one, so "
            "`allow_empty` does not count; nothing was written. Deliver the batch again with its keys, or correct "
            "`keys`"
        )
    word = "dropped" if mode.null_keys == "drop" else "rejected"
    logger.warning("%d rows with a null key were %s before they were written to %s", rows.height, word, uri)
    reasons = pl.lit([NULL_KEY], dtype=pl.List(pl.String)).alias(REASONS)
    return Sifted(rows.with_columns(reasons), on_rejected if mode.null_keys == "reject" else None, is_all)
