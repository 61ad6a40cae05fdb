"""Comparing frames of any kind in tests, with a message that shows what differs."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean, listing
from fuse_dagster.engines.local.frames import to_polars
from fuse_dagster.tables.equality import same

ROWS = 5
"""How many rows of each kind of difference a message shows."""

_COUNT = "__fuse_count"


def assert_frames_equal(
    left: object, right: object, *, keys: str | Sequence[str] | None = None, check_types: bool = True
) -> None:
    """Compare two frames as bags of rows: their order does not matter, the number of equal rows does.

    Null equals null, NaN equals NaN, -0.0 equals 0.0; null differs from "", from 0 and from NaN.

    Args:
        left: A frame of any accepted type, as what a function returned.
        right: Another, as what is expected.
        keys: Columns that name a row. With them, a difference is shown by key and column.
        check_types: Compare the types of columns too. Without, each column is cast to the type on the right.

    Raises:
        AssertionError: They differ; the message shows in what.
        ConfigError: A key is no column, or one of floats or of a nested type.

    Examples:
        >>> import polars as pl
        >>> assert_frames_equal(pl.DataFrame({"a": [1, 2]}), pl.DataFrame({"a": [2, 1]}).lazy())
    """
    ours, theirs = to_polars(left), to_polars(right)
    _same_columns(ours, theirs, check_types=check_types)
    ours = _aligned(ours, theirs)
    names = [keys] if isinstance(keys, str) else list(keys or ())
    problem = _by_key(ours, theirs, names) if names else _by_row(ours, theirs)
    if problem:
        msg = f"The frames differ (left has {ours.height} rows, right {theirs.height}).\n{problem}"
        raise AssertionError(msg)


def _same_columns(ours: pl.DataFrame, theirs: pl.DataFrame, *, check_types: bool) -> None:
    problems = [
        f"only in {side}: {listing(only)}"
        for side, only in (
            ("left", [name for name in ours.columns if name not in theirs.columns]),
            ("right", [name for name in theirs.columns if name not in ours.columns]),
        )
        if only
    ]
    if check_types:
        problems += [
            f"`{name}` is {ours.schema[name]} in left, {theirs.schema[name]} in right"
            for name in ours.columns
            if name in theirs.columns and ours.schema[name] != theirs.schema[name]
        ]
    if problems:
        msg = "The frames have other columns: " + "; ".join(problems)
        raise AssertionError(msg)


def _aligned(ours: pl.DataFrame, theirs: pl.DataFrame) -> pl.DataFrame:
    try:
        return ours.select(theirs.columns).cast(theirs.schema)
    except pl.exceptions.PolarsError as error:
        msg = f"Left can't be compared in the types of right: {error}"
        raise AssertionError(msg) from error


def _by_row(ours: pl.DataFrame, theirs: pl.DataFrame) -> str:
    if not theirs.columns:
        return "" if ours.height == theirs.height else "They have no columns, and another number of rows."
    counted = pl.concat([ours.with_columns(pl.lit(1).alias(_COUNT)), theirs.with_columns(pl.lit(-1).alias(_COUNT))])
    net = counted.group_by(theirs.columns, maintain_order=True).agg(pl.col(_COUNT).sum())
    found = []
    for side, rows in (("left", net.filter(pl.col(_COUNT) > 0)), ("right", net.filter(pl.col(_COUNT) < 0))):
        if rows.height:
            total = rows[_COUNT].abs().sum()
            found.append(f"Rows only in {side} ({total}):\n{_shown(rows.drop(_COUNT))}")
    return "\n".join(found)


def _by_key(ours: pl.DataFrame, theirs: pl.DataFrame, keys: list[str]) -> str:
    for key in keys:
        if key not in theirs.columns:
            msg = f"`keys` names `{key}`, which is no column. {did_you_mean(key, theirs.columns)}"
            raise ConfigError(msg)
        if theirs.schema[key].is_float() or theirs.schema[key].is_nested():
            msg = f"`keys` names `{key}`, of type {theirs.schema[key]}. Valid: neither floats nor nested."
            raise ConfigError(msg)
    repeated = [
        f"Keys that stand for several rows of {side}:\n{_shown(rows)}"
        for side, frame in (("left", ours), ("right", theirs))
        if (rows := frame.select(keys).filter(pl.struct(keys).is_duplicated()).unique(maintain_order=True)).height
    ]
    if repeated:
        return _by_row(ours, theirs) and "\n".join(repeated)
    found = [
        f"Keys only in {side} ({rows.height}):\n{_shown(rows)}"
        for side, rows in (
            ("left", ours.join(theirs, on=keys, how="anti", nulls_equal=True, maintain_order="left")),
            ("right", theirs.join(ours, on=keys, how="anti", nulls_equal=True, maintain_order="left")),
        )
        if rows.height
    ]
    return "\n".join([*found, *_changed(ours, theirs, keys)])


def _changed(ours: pl.DataFrame, theirs: pl.DataFrame, keys: list[str]) -> list[str]:
    renamed = {name: f"__fuse_{number}" for number, name in enumerate(theirs.columns) if name not in keys}
    pairs = ours.join(theirs.rename(renamed), on=keys, how="inner", nulls_equal=True, maintain_order="left")
    found = []
    for name, other in renamed.items():
        rows = pairs.filter(~same([pl.col(name)], [pl.col(other)]))
        if rows.height:
            sides = rows.select(*keys, pl.col(name).alias(f"{name} (left)"), pl.col(other).alias(f"{name} (right)"))
            found.append(f"Column `{name}` differs for {rows.height} keys:\n{_shown(sides)}")
    return found


def _shown(rows: pl.DataFrame) -> str:
    with pl.Config(tbl_rows=ROWS, tbl_cols=-1, tbl_hide_dataframe_shape=True, fmt_str_lengths=40, tbl_width_chars=200):
        more = f"\n... and {rows.height - ROWS} more" if rows.height > ROWS else ""
        return f"{rows.head(ROWS)}{more}"
