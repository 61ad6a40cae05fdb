"""The rows of one reading of a table: those that earlier loads brought are told apart from those that are new."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from fuse_dagster.ingest.overlap import Overlap
from fuse_dagster.ingest.source import Position
from fuse_dagster.ingest.watermark import encode, event_time, in_words

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.ingest.databases import TableSource

BEFORE, EDGE = "fuse__before", "fuse__edge"
"""Columns by which the database tells rows that may have come before, and that the next reading sees again."""


class TableReading:
    """One reading of a `TableSource`."""

    def __init__(self, source: TableSource, reader: pa.RecordBatchReader, since: Position | None, upper: Any) -> None:
        self._source, self._reader, self._since, self._upper = source, reader, since, upper
        self._last = None if since is None else since.value["cursor"]
        self._flagged = BEFORE in reader.schema.names
        names = [name for name in reader.schema.names if name not in (BEFORE, EDGE)]
        told = list(dict.fromkeys([*source.keys, source.cursor])) if source.keys else sorted(names)
        self._overlap = Overlap(told, None if since is None else since.value.get("seen"))

    def batches(self) -> pa.RecordBatchReader:
        """The rows, without those that were there before."""
        import pyarrow as pa

        if not self._flagged:
            return self._reader
        schema = pa.schema([field for field in self._reader.schema if field.name not in (BEFORE, EDGE)])
        return pa.RecordBatchReader.from_batches(schema, self._fresh(schema))

    def _fresh(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for batch in self._reader:
            before, edge = (pl.Series(batch.column(name)).cast(pl.Boolean) for name in (BEFORE, EDGE))
            rows = batch.select(schema.names)
            if edge.any() or before.any():
                frame = pl.from_arrow(rows)
                assert isinstance(frame, pl.DataFrame)
                self._overlap.keep(frame.filter(edge))
                fresh = ~before
                if before.any():
                    fresh = fresh.scatter(before.arg_true(), self._overlap.is_new(frame.filter(before)))
                rows = rows.filter(fresh.to_arrow())
            yield rows

    def position(self) -> Position | None:
        """Up to where the cursor went when the reading began."""
        if self._upper is None or self._source.window is not None:
            return None
        value: dict[str, Any] = {
            "cursor": encode(self._upper),
            "column": self._source.cursor,
            "place": self._source.database.place,
        }
        if not self._source.repeats:
            value["seen"] = self._overlap.said(stood_still=value["cursor"] == self._last)
            value["edge"] = self._source.edge_after(self._since, self._upper)
        return Position(value=value, said=in_words(self._upper), time=event_time(self._upper, self._source.timezone))

    def rejected(self) -> pl.DataFrame:
        """Nothing: a database gives a row or fails."""
        return pl.DataFrame()

    def landed(self) -> None:
        """Nothing is to be said to a database that is only read."""
