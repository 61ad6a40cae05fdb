"""The first rows of what is no lake: a table of a database, a collection, an endpoint, or the answer to a question."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from polars.exceptions import PolarsError

from fuse_dagster.app.narrowing import NAME
from fuse_dagster.app.previewing import Preview, Wanted
from fuse_dagster.connectors.base import CanCountRows, CanListNames, CanQuery, CanReadRows, Connector
from fuse_dagster.core.errors import ConfigError, InputError, first_line
from fuse_dagster.core.naming import did_you_mean, listing
from fuse_dagster.engines.local.frames import quoted
from fuse_dagster.engines.local.sql import query

if TYPE_CHECKING:
    import pyarrow as pa

_OF_TABLES = {"version": "version", "timestamp": "timestamp", "as_of": "as-of"}


def first_rows(
    connector: Connector,
    wanted: Wanted,
    *,
    name: str | None = None,
    question: str | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Preview:
    """Read the first rows of something that a connection holds, or of its answer to a question.

    A condition and SQL are worked out here, batch by batch or on a copy in a file: memory holds little of the rows.

    Args:
        connector: The connection.
        wanted: Which rows.
        name: What holds the rows.
        question: Asked in the other side's own language, instead of a name.
        parameters: What the question leaves open.

    Returns:
        The rows. They are counted where few are there, or `wanted.count` asks.

    Raises:
        ConfigError: The connection can't do that, or what is wanted is only for Delta tables.
        NotThereError: There is nothing of that name.
        FuseError: Whatever the other side refuses.
    """
    for field, option in _OF_TABLES.items():
        if getattr(wanted, field) is not None:
            msg = f"`--{option}` is for Delta tables; a `{connector.type}` has no versions. Leave it out."
            raise ConfigError(msg)
    narrowed = wanted.where is None and wanted.sql is None
    limit = wanted.limit + 1 if narrowed and not (wanted.count and question is not None) else None
    columns = wanted.columns if narrowed and question is None else None
    with _opened(connector, name, question, parameters, columns=columns, limit=limit) as reader:
        frames = _frames(reader)
        if wanted.sql is not None:
            rows, total, is_all = _by_sql(frames, wanted)
        else:
            rows, total, is_all = _narrowed(frames, reader.schema.names, wanted, of=name or "the answer")
    if total is None and wanted.count and narrowed and name is not None:
        total = _counted(connector, name)
    return Preview(uri=connector.place, format=connector.type, version=None, rows=rows, rows_total=total, is_all=is_all)


def _opened(
    connector: Connector,
    name: str | None,
    question: str | None,
    parameters: Mapping[str, Any] | None,
    *,
    columns: Sequence[str] | None,
    limit: int | None,
) -> AbstractContextManager[pa.RecordBatchReader]:
    if question is not None:
        if not isinstance(connector, CanQuery):
            raise ConfigError(f"A `{connector.type}` answers no questions. Name what to read, without `--query`.")
        return connector.query(question, parameters)
    if not isinstance(connector, CanReadRows):
        can = "; ask it by `--query`" if isinstance(connector, CanQuery) else ""
        raise ConfigError(f"A `{connector.type}` has no rows to read by a name{can}.")
    if name is None:
        there = f" It holds: {listing(connector.names())}." if isinstance(connector, CanListNames) else ""
        raise ConfigError(f"The name of what to read is missing.{there}")
    return connector.rows(name, columns=columns, limit=limit)


def _frames(reader: pa.RecordBatchReader) -> Iterator[pl.DataFrame]:
    """Each batch as a frame; at least one, which may be empty."""
    yield _frame(reader.schema.empty_table())
    for batch in reader:
        yield _frame(batch)


def _frame(batch: Any) -> pl.DataFrame:
    try:
        found = pl.from_arrow(batch)
    except (PolarsError, ValueError, TypeError) as error:
        msg = f"The rows have a type that can't be shown: {first_line(error)}. Leave the column out by `--columns`."
        raise InputError(msg) from error
    assert isinstance(found, pl.DataFrame)
    return found


def _narrowed(
    frames: Iterator[pl.DataFrame], names: list[str], wanted: Wanted, *, of: str
) -> tuple[pl.DataFrame, int | None, bool]:
    """The first rows that are wanted, how many there are where that is known, and whether these are all."""
    unknown = [column for column in wanted.columns or () if column not in names]
    if unknown:
        raise ConfigError(f"`{of}` has no column {listing(unknown)}. {did_you_mean(unknown[0], names)}")
    chosen = list(wanted.columns or names)
    sql = f"SELECT {', '.join(map(quoted, chosen))} FROM {NAME} WHERE ({wanted.where}\n)"  # noqa: S608 - over these rows only
    kept: list[pl.DataFrame] = []
    height = 0
    for frame in frames:
        part = frame.select(chosen) if wanted.where is None else query(sql, {NAME: frame})
        kept.append(part.head(max(0, wanted.limit + 1 - height)))
        height += part.height
        if height > wanted.limit and not wanted.count:
            break
    rows = pl.concat(kept)
    is_all = height <= wanted.limit
    counted = height if is_all or (wanted.count and height > wanted.limit + 1) else None
    return rows.head(wanted.limit), counted, is_all


def _by_sql(frames: Iterator[pl.DataFrame], wanted: Wanted) -> tuple[pl.DataFrame, int | None, bool]:
    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "rows.parquet")
        first = next(frames)
        with pq.ParquetWriter(copy, first.to_arrow().schema) as file:
            for frame in frames:
                file.write_table(frame.to_arrow())
        answer = query(wanted.sql or "", {NAME: pl.scan_parquet(copy)})
    return answer.head(wanted.limit), answer.height, answer.height <= wanted.limit


def _counted(connector: Connector, name: str) -> int:
    if isinstance(connector, CanCountRows):
        return connector.count_rows(name)
    assert isinstance(connector, CanReadRows)
    with connector.rows(name) as reader:
        return sum(batch.num_rows for batch in reader)
