"""From rows of a driver, which are Python values, to Arrow batches of types that are known before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fuse_dagster.core.errors import InputError
from fuse_dagster.core.naming import listing

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Cell:
    """How the values of one column become Arrow's.

    Attributes:
        name: Of the column.
        arrow: Its type.
        convert: What makes a value of the driver one that Arrow takes; it raises ValueError for one that can't be.
        do: What to do where a value does not fit the type.
        through: The Arrow type that the values have first, as text that the driver hands over; None for `arrow` itself.
    """

    name: str
    arrow: pa.DataType
    convert: Callable[[Any], Any] | None = None
    do: str = "Cast the column in a query, or repair the values."
    through: pa.DataType | None = None


def reader_of(cells: Sequence[Cell], chunks: Iterable[Sequence[Sequence[Any]]]) -> pa.RecordBatchReader:
    """Batches of rows as a reader.

    Args:
        cells: One per column.
        chunks: Rows as the driver gives them, a batch of them at a time.

    Raises:
        InputError: Two columns of one name; and while it is read, a value that doesn't fit its column's type.
    """
    import pyarrow as pa

    named([cell.name for cell in cells])
    schema = pa.schema([pa.field(cell.name, cell.arrow) for cell in cells])
    return pa.RecordBatchReader.from_batches(schema, _batches(cells, chunks, schema))


def named(names: Sequence[str]) -> None:
    """Refuse an answer with two columns of one name, or one without.

    Raises:
        InputError: There are.
    """
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"The answer has several columns {listing(twice)}. Give each a name of its own by `AS`.")


def _batches(cells: Sequence[Cell], chunks: Iterable[Sequence[Sequence[Any]]], schema: pa.Schema) -> Iterator[Any]:
    import pyarrow as pa

    for rows in chunks:
        columns = list(zip(*rows, strict=True)) if rows else [() for _ in cells]
        arrays = [array_of(cell, values) for cell, values in zip(cells, columns, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def array_of(cell: Cell, values: Sequence[Any]) -> pa.Array:
    """Values of one column as Arrow's.

    Raises:
        InputError: One doesn't fit.
    """
    import pyarrow as pa

    try:
        return _made(cell, values)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        wrong = [value for value in values if not _fits(cell, value)]
    raise unfit(cell.name, cell.arrow, wrong, cell.do)


def unfit(name: str, arrow: Any, wrong: Iterable[Any], do: str) -> InputError:
    """The error for values that don't fit their column's type, with some of them."""
    shown = [repr(value)[:60] for _, value in zip(range(SAMPLES), wrong, strict=False)]
    return InputError(f"The column `{name}` is read as {arrow}, which can't hold {listing(shown)}. {do}")


def _made(cell: Cell, values: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    ready = values if cell.convert is None else [None if value is None else cell.convert(value) for value in values]
    made = pa.array(ready, type=cell.through or cell.arrow)
    return made.cast(cell.arrow) if cell.through is not None else made


def _fits(cell: Cell, value: Any) -> bool:
    import pyarrow as pa

    try:
        _made(cell, [value])
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return False
    return True


def as_text(value: Any) -> str:
    """A value of several parts as JSON, a text as it is."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
