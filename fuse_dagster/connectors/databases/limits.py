"""Values that Arrow would hold as other ones: infinite dates and times, and times of day at or after 24 o'clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from fuse_dagster.connectors.databases.arrow import unfit

if TYPE_CHECKING:
    import pyarrow as pa

_ENDS = {32: 2**31 - 20_000_000, 64: 2**63 - 10**15}
"""Bits -> where infinity begins: drivers move the system's own sign for it by the distance of two epochs."""
_DAY = {"time64[us]": 86_400_000_000, "time64[ns]": 86_400_000_000_000, "time32[s]": 86_400, "time32[ms]": 86_400_000}
_DO = "Leave such rows out in a query, put NULL or a real time there, or cast the column to text."


def within_limits(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same batches, looked through.

    Raises:
        InputError: A date or time that is infinite, or a time of day of 24 o'clock.
    """
    for batch in batches:
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            _look(name, column)
        yield batch


def _look(name: str, column: pa.Array) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_list(kind):
        _look(name, column.flatten())
        return
    if not (pa.types.is_timestamp(kind) or pa.types.is_date32(kind) or pa.types.is_time(kind)):
        return
    found = pc.min_max(column.view(pa.int32() if kind.bit_width == 32 else pa.int64()))
    least, most = found["min"].as_py(), found["max"].as_py()
    if least is None:
        return
    if pa.types.is_time(kind):
        if most >= _DAY[str(kind)]:
            raise unfit(name, kind, ["24:00:00"], _DO)
        return
    end = _ENDS[kind.bit_width]
    if most >= end or least <= -end:  # of which sign, not every driver says
        raise unfit(name, kind, ["infinity"], _DO)


def in_utc(schema: pa.Schema) -> pa.Schema:
    """The same columns, without metadata, and every time with a zone in `UTC`, which has other names, too."""
    import pyarrow as pa

    def kind(of: pa.DataType) -> pa.DataType:
        if pa.types.is_timestamp(of) and of.tz is not None:
            return pa.timestamp(of.unit, tz="UTC")
        if pa.types.is_list(of):
            return pa.list_(kind(of.value_type))
        return of

    return pa.schema([pa.field(one.name, kind(one.type)) for one in schema])
