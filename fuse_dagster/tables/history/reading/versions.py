"""The versions behind every way of reading: from a table or a frame, with their times on the UTC line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.engines.local.frames import to_polars
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.tables.history.times import UTC_MICROS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Versions = str | Path | pl.LazyFrame | pl.DataFrame
"""A history to read: URI or path of its table, or its versions, read already."""


@dataclass(frozen=True, slots=True)
class Own:
    """Names of the columns that a history adds."""

    valid_from: str
    valid_to: str
    is_current: str

    @property
    def names(self) -> tuple[str, str, str]:
        """All three."""
        return (self.valid_from, self.valid_to, self.is_current)


def versions_of(
    table: Versions | DataFrame,
    *,
    times: Sequence[str],
    keys: Sequence[str] = (),
    storage_options: Mapping[str, str] | None = None,
) -> pl.LazyFrame:
    """The versions of a history, lazily, with times of UTC microseconds.

    Args:
        table: URI or path of a history, or a frame of versions.
        times: Columns with starts and ends that the caller reads.
        keys: Key columns that the caller reads.
        storage_options: As delta-rs takes them.

    Raises:
        TableNotFoundError: There is no table.
        InputError: It is neither a place nor a frame.
        ConfigError: It has no such columns, or `times` that are no aware timestamps.
    """
    if isinstance(table, str | Path):
        frame = scan(table, storage_options=storage_options)
    else:
        frame = table if isinstance(table, pl.LazyFrame) else to_polars(table).lazy()
    schema = frame.collect_schema()
    refuse_unfit(schema, times=times, keys=keys, called=called(table))
    return frame.with_columns(pl.col(column).cast(UTC_MICROS) for column in times if schema[column] != UTC_MICROS)


def refuse_unfit(
    schema: Mapping[str, pl.DataType], *, times: Sequence[str], keys: Sequence[str] = (), called: str
) -> None:
    """Refuse what is no history, or not one of these keys.

    Args:
        schema: Columns and types.
        times: Columns with starts and ends that the caller reads.
        keys: Key columns that the caller reads.
        called: What a message calls it.

    Raises:
        ConfigError: It has no such columns, or `times` that are no aware timestamps.
    """
    missing = [column for column in times if column not in schema]
    if missing:
        raise ConfigError(
            f"{called} has no columns {missing}, so it is no history; name them, or read it as a plain table"
        )
    unknown = [column for column in keys if column not in schema]
    if unknown:
        raise ConfigError(
            f"{called} has no key columns {unknown}; name the columns that the history declares as `keys`"
        )
    wrong = {column: str(schema[column]) for column in times if not _is_aware(schema[column])}
    if wrong:
        raise ConfigError(f"{called} has times that are no timestamps with a zone ({wrong}), so it is no history")


def called(table: Versions | DataFrame) -> str:
    """What a message calls a history."""
    return f"`{table}`" if isinstance(table, str | Path) else "the history"


def as_names(names: str | Sequence[str], role: str) -> list[str]:
    """One name or several, as a list.

    Raises:
        ConfigError: There are none.
    """
    listed = [names] if isinstance(names, str) else list(names)
    if not listed:
        raise ConfigError(f"`{role}` is empty; name the columns of the business key")
    return listed


def _is_aware(dtype: pl.DataType) -> bool:
    # A frame made by hand has an end without a type where every version is open.
    return dtype == pl.Null or (isinstance(dtype, pl.Datetime) and dtype.time_zone is not None)


def refuse_clash(given: Mapping[str, str], columns: Iterable[str], called: str) -> None:
    """Refuse names for columns to add that are there already, or that two of them share.

    Args:
        given: Parameter to name.
        columns: Columns that are there.
        called: What a message calls the history.

    Raises:
        ConfigError: A name is taken.
    """
    taken = {role: name for role, name in given.items() if name in set(columns)}
    if taken:
        raise ConfigError(
            f"{called} has columns {list(taken.values())} of its own; choose other names by "
            + ", ".join(f"`{role}=`" for role in taken)
        )
    if len(set(given.values())) < len(given):
        raise ConfigError(f"{', '.join(f'`{role}`' for role in given)} must be different names, not {given}")
