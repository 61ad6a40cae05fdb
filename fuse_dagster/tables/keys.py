"""What a business key may be, and one row per key in a batch."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from fuse_dagster.core.errors import KeyValueError, SchemaError
from fuse_dagster.tables.samples import INTERNAL, samples
from fuse_dagster.tables.schema import require

_COMPARABLE = (
    pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.String, pl.Boolean, pl.Date, pl.Datetime, pl.Decimal, pl.Binary,
)  # fmt: skip

_ORDERED = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.String, pl.Date, pl.Datetime, pl.Decimal)

_REMEDY = "Deduplicate in the asset by a rule of your own, or fix the source"


def refuse_bad_keys(batch: pl.DataFrame, keys: Sequence[str], *, role: str = "keys") -> None:
    """Refuse keys that are missing, of a type without exact equality, or null.

    Args:
        batch: Rows x columns.
        keys: The key columns.
        role: The option that names them, for the message.

    Raises:
        SchemaError: A key column is missing, a float, or nested.
        KeyValueError: A key is null.
    """
    require(keys, batch, role)
    for key in keys:
        if not isinstance(batch.schema[key], _COMPARABLE):
            raise SchemaError(
                f"the key `{key}` is {batch.schema[key]}; keys are integers, strings, booleans, dates, timestamps, "
                "decimals or binary: a float or nested value has no exact equality to find it by"
            )
    null = batch.filter(pl.any_horizontal(pl.col(key).is_null() for key in keys))
    if null.height:
        raise KeyValueError(
            f"{null.height} rows have a null key `{', '.join(keys)}`: {samples(null)}; nothing was written. "
            "Fix the source, or filter these rows out in the asset and say where they go"
        )


def refuse_bad_sequence(batch: pl.DataFrame, name: str) -> None:
    """Refuse a sequence that does not put rows in order.

    Args:
        batch: Rows x columns.
        name: The column that `sequence_by` names.

    Raises:
        SchemaError: It is missing, or of a type without an exact order.
        KeyValueError: It is null in some row.
    """
    require([name], batch, "sequence_by")
    if not isinstance(batch.schema[name], _ORDERED):
        raise SchemaError(
            f"`sequence_by` `{name}` is {batch.schema[name]}, which has no exact order; cast it to an integer"
        )
    null = batch.filter(pl.col(name).is_null())
    if null.height:
        raise KeyValueError(
            f"`sequence_by` `{name}` is null in {null.height} rows: {samples(null)}; nothing was written, because they "
            "could not be put in order"
        )


def collapse(
    batch: pl.DataFrame, keys: Sequence[str], values: Sequence[str], *, remedy: str = _REMEDY
) -> tuple[pl.DataFrame, int]:
    """Keep one row of each group of copies; refuse a key that stands with different values.

    Args:
        batch: Rows x columns.
        keys: Columns that must be unique.
        values: Columns in which copies agree; others (such as a row number of the file) may differ.
        remedy: What to do about a clash, for the message.

    Returns:
        The first row of each key, in the batch's order, and how many copies were dropped.

    Raises:
        KeyValueError: Two rows of one key differ in `values`.
    """
    distinct = batch.n_unique(keys)
    if distinct == batch.height:
        return batch, 0
    doubled = batch.filter(batch.select(pl.struct(keys).is_duplicated()).to_series())
    kinds = doubled.unique([*keys, *values], maintain_order=True)
    clash = kinds.filter(kinds.select(pl.struct(keys).is_duplicated()).to_series())
    if clash.height:
        differing = [v for v in values if clash.group_by(keys).agg(pl.col(v).n_unique() > 1)[v].any()]
        others = [c for c in batch.columns if c not in keys and c not in values]
        shown = clash.sort(keys, maintain_order=True).select(*dict.fromkeys([*keys, *differing, *others]))
        named = [name for name in keys if INTERNAL not in name]
        raise KeyValueError(
            f"{clash.n_unique(keys)} keys `{', '.join(named)}` stand more than once with different values (in "
            f"{[d for d in differing if INTERNAL not in d]}): {samples(shown, rows=4)}; nothing was written. {remedy}"
        )
    return batch.unique(keys, keep="first", maintain_order=True), batch.height - distinct
