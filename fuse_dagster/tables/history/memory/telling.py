"""Which facts in a memory tell something that the version rows do not: order of arrival leaves some that don't."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from fuse_dagster.tables.equality import same_rows
from fuse_dagster.tables.history.changes.statements import DELETED, SAID, SEQUENCE, Columns, fact_schema, statements_of
from fuse_dagster.tables.history.timeline import AT, Shape
from fuse_dagster.tables.modes import History

_SHOWN = "__fuse_shown"
_ORDER = "__fuse_order"


def empty_facts(shape: Shape, business: Mapping[str, pl.DataType], mode: History) -> pl.DataFrame:
    """No facts, with the columns that they have under a declaration.

    Args:
        shape: Parts of the columns.
        business: The business columns and their types.
        mode: The declaration.
    """
    sequence = mode.sequence_by if mode.sequence_by in business else None
    return pl.DataFrame(schema=fact_schema(business, Columns(shape, None, sequence)))


def same_facts(left: pl.DataFrame, right: pl.DataFrame, rows: pl.DataFrame, shape: Shape) -> bool:
    """Whether two memories of the same version rows tell the same.

    Args:
        left: Facts of the one, later ones last.
        right: Facts of the other.
        rows: The version rows.
        shape: Parts of the columns.
    """
    if not same_rows(_telling(left, rows, shape), _telling(right, rows, shape)):
        return False
    return not shape.overwritten or same_rows(_said_last(left, shape), _said_last(right, shape))


def _telling(facts: pl.DataFrame, rows: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """Per key and time the fact that is believed, unless a row shows as much."""
    keys = list(shape.keys)
    believed = (
        statements_of(facts, shape)
        .with_row_index(_ORDER)
        .sort(SEQUENCE, _ORDER, descending=True, nulls_last=True)
        .unique([*keys, AT], keep="first")
        .drop(_ORDER)
    )
    starts = rows.select(*keys, pl.col(shape.valid_from).alias(AT), pl.lit(True).alias(_SHOWN))
    ends = rows.select(*keys, pl.col(shape.valid_to).alias(AT), pl.lit(True).alias(_SHOWN)).drop_nulls(AT)
    begun = believed.join(starts, on=[*keys, AT], how="left")
    # A statement of a lower sequence than the one that begins a version, or of the same, changes nothing.
    unshown = begun.filter(pl.col(_SHOWN).is_null()).drop(_SHOWN)
    told = unshown.join(ends, on=[*keys, AT], how="left")
    return told.filter(pl.col(_SHOWN).is_null() | ~pl.col(DELETED) | pl.col(SEQUENCE).is_not_null()).drop(_SHOWN)


def _said_last(facts: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """Per key what was said last of overwritten columns, as far as memory keeps it."""
    latest = facts.filter(SAID).with_row_index(_ORDER).sort(AT, SEQUENCE, _ORDER, descending=True, nulls_last=True)
    return latest.unique(shape.keys, keep="first").drop(_ORDER)
