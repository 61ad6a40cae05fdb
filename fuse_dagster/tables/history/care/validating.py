"""Whether versions are a history: what is wrong with them, each kind of problem with its count and a few rows."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from fuse_dagster.tables.history.timeline import UTC_MICROS, Shape
from fuse_dagster.tables.samples import samples


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at versions found.

    Attributes:
        problems: What is wrong, one sentence per kind.
        keys: Distinct keys.
        open_versions: Versions without an end.
        gaps: Times between two versions of a key in which it did not hold.
    """

    problems: tuple[str, ...]
    keys: int
    open_versions: int
    gaps: int


def examine(versions: pl.DataFrame, shape: Shape) -> Found:
    """Look for everything that no history may hold.

    Args:
        versions: Rows with keys, starts and ends.
        shape: Parts of the columns.
    """
    keys, start, end = list(shape.keys), pl.col(shape.valid_from), pl.col(shape.valid_to)
    seen = versions.select(*keys, shape.valid_from, shape.valid_to)
    problems: list[str] = []

    def report(rows: pl.DataFrame, what: str) -> None:
        if rows.height:
            shown = rows.with_columns(pl.col(UTC_MICROS).dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ"))
            problems.append(f"{rows.height} {what}: {samples(shown)}")

    report(seen.filter(end < start), "versions end before they start")
    report(
        seen.filter(end == start),
        "versions are empty, because they end where they start (where an end is the last moment that belongs, say "
        '`closed_intervals="both"`)',
    )
    sound = seen.filter(start.is_not_null() & (end.is_null() | (end > start)))
    doubled = sound.filter(sound.select(pl.struct(*keys, shape.valid_from).is_duplicated()).to_series())
    report(doubled.sort(*keys, shape.valid_from), "versions stand more than once with one key and start")
    several = sound.filter(end.is_null()).filter(pl.struct(keys).is_duplicated())
    report(several.sort(*keys, shape.valid_from), "versions are open beside another open one of their key")
    rows = sound.unique([*keys, shape.valid_from]).sort(*keys, shape.valid_from)
    report(_overlaps(rows, shape), "versions begin before the one before them ended")
    until, same_key = end.shift(1), pl.struct(keys).eq_missing(pl.struct(keys).shift(1))
    gaps = rows.select((same_key & (start > until)).fill_null(False).sum()).item()
    return Found(tuple(problems), seen.n_unique(keys), seen.filter(end.is_null()).height, int(gaps))


def _overlaps(rows: pl.DataFrame, shape: Shape) -> pl.DataFrame:
    """Versions that begin inside the one before; two that are both open are another problem."""
    start, end = pl.col(shape.valid_from), pl.col(shape.valid_to)
    until = end.shift(1)
    same_key = pl.struct(shape.keys).eq_missing(pl.struct(shape.keys).shift(1)) & (pl.int_range(pl.len()) > 0)
    inside = pl.when(until.is_null()).then(end.is_not_null()).otherwise(start < until)
    return rows.with_columns(until.alias("the one before ends")).filter(same_key & inside)
