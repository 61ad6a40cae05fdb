"""Brings Arrow batches to the types of a table's columns: without loss, or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fuse_dagster.connectors.databases.kinds import Kind, family_of, kind_of
from fuse_dagster.core.errors import InputError, SchemaError
from fuse_dagster.core.naming import did_you_mean, listing

if TYPE_CHECKING:
    import pyarrow as pa

    from fuse_dagster.connectors.database import TableColumn
    from fuse_dagster.connectors.databases.dialects import Dialect

BATCH_ROWS = 65_536
"""Rows that are brought to the types of a table at a time."""

# Which families of a batch a column takes, besides its own; each value is looked at.
_WIDER: Mapping[str, frozenset[str]] = {
    "integer": frozenset({"boolean"}),
    "decimal": frozenset({"integer"}),
    "float": frozenset({"integer"}),
    "other": frozenset({"text"}),
}
_UNITS = {0: "s", 1: "ms", 2: "ms", 3: "ms", 4: "us", 5: "us", 6: "us"}


@dataclass(frozen=True, slots=True)
class Fit:
    """One column of a batch and the column of the table that it goes to.

    Attributes:
        name: Of both.
        kind: What the table's column holds.
        word: The type of the table's column in the system's own words.
        arrow: The Arrow type that its values are brought to.
    """

    name: str
    kind: Kind
    word: str
    arrow: pa.DataType

    @property
    def uncut(self) -> str:
        """The type to cast text to: of bits one without a length, to which a cast would cut them."""
        return "bit varying" if self.kind.family == "other" and self.word.startswith("bit") else self.word


def fits_of(dialect: Dialect, table: str, columns: Sequence[TableColumn], schema: pa.Schema) -> list[Fit]:
    """Find for each column of a batch that of the table, and the type to bring it to.

    Args:
        dialect: Of the system.
        table: Its name, for messages.
        columns: Of the table.
        schema: Of the batch.

    Returns:
        One for each column of the batch, in its order.

    Raises:
        SchemaError: Columns that the table does not have, or of types that it can't take without loss: all of them.
    """
    there = {column.name: column for column in columns}
    refuse_doubled(schema)
    problems = [
        f"- `{table}` has no column `{name}`. {did_you_mean(name, there)}" for name in schema.names if name not in there
    ]
    found = []
    for field in schema:
        if field.name not in there:
            continue
        word = there[field.name].type
        kind = kind_of(dialect, word)
        arrow = _brought_to(kind, field.type)
        if arrow is None:
            problems.append(
                f"- `{field.name}` is {field.type}, and the table's column is `{word}`, which can't take that without "
                "loss. Cast it in the asset, or alter the table's column."
            )
        else:
            found.append(Fit(field.name, kind, word, arrow))
    if problems:
        raise SchemaError("The rows don't fit the table; nothing was written:\n" + "\n".join(problems))
    return found


def refuse_doubled(schema: pa.Schema) -> None:
    """Refuse rows without columns, and names that stand twice.

    Raises:
        SchemaError: There are such.
    """
    names = list(schema.names)
    if not names:
        raise SchemaError("The rows have no columns. Give at least one.")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SchemaError(f"The rows have several columns {listing(twice)}. Give each a name of its own.")


def fitted(batches: Iterable[pa.RecordBatch], fits: Sequence[Fit]) -> Iterator[pa.RecordBatch]:
    """The same rows in the types of the table, few at a time.

    Raises:
        InputError: A value does not fit its column.
    """
    import pyarrow as pa

    schema = schema_of(fits)
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH_ROWS):
            part = batch.slice(start, BATCH_ROWS)
            columns = [_cast(part.column(index), fit) for index, fit in enumerate(fits)]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)


def schema_of(fits: Sequence[Fit]) -> pa.Schema:
    """The schema of what `fitted` yields."""
    import pyarrow as pa

    return pa.schema([pa.field(fit.name, fit.arrow) for fit in fits])


def _cast(values: pa.Array, fit: Fit) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if fit.kind.family == "decimal" and pa.types.is_integer(values.type):
            values = values.cast(pa.decimal128(20, 0))
        cast = values.cast(fit.arrow) if values.type != fit.arrow else values
    except pa.ArrowException:
        cast = None
    # The library's message holds the value, which may be one that must not be shown.
    if cast is None:
        raise InputError(
            f"The column `{fit.name}` holds a value that its column `{fit.word}` in the table can't take without loss. "
            "Nothing was written. Widen the table's column, or round or repair the values in the asset."
        )
    if fit.kind.family in ("text", "bytes") and fit.kind.size:
        length = pc.utf8_length(cast) if fit.kind.family == "text" else pc.binary_length(cast)
        longest = pc.max(length).as_py() or 0
        if longest > fit.kind.size:
            raise InputError(
                f"The column `{fit.name}` holds a value of length {longest}, and the table's column is `{fit.word}`. "
                "Nothing was written. Widen the table's column, or shorten the values in the asset."
            )
    return cast


def _brought_to(kind: Kind, arrow: pa.DataType) -> pa.DataType | None:
    """The Arrow type of a column's values; None where it can't take them without loss."""
    import pyarrow as pa

    family = family_of(arrow)
    if pa.types.is_null(arrow):
        family = kind.family if kind.family != "list" else "other"
    if family != kind.family and family not in _WIDER.get(kind.family, ()):
        return None
    if kind.family == "list":
        item = _brought_to(kind.item or Kind("other"), arrow.value_type)
        return None if item is None else pa.list_(item)
    if kind.family == "float":
        narrowing = pa.types.is_floating(arrow) and arrow.bit_width > kind.size
        return None if narrowing else pa.float32() if kind.size == 32 else pa.float64()
    if kind.family == "integer":
        return _integer(kind)
    if kind.family == "decimal":
        return _decimal(kind, arrow)
    return _plain(kind)


def _plain(kind: Kind) -> pa.DataType:
    import pyarrow as pa

    unit = _UNITS.get(kind.scale, "ns")
    if kind.family == "time":
        return pa.time64("us")
    if kind.family == "timestamp":
        return pa.timestamp("us" if unit != "ns" else "ns")
    if kind.family == "instant":
        return pa.timestamp("us", "UTC")
    return {
        "boolean": pa.bool_(), "text": pa.string(), "bytes": pa.binary(), "date": pa.date32(), "other": pa.string(),
    }[kind.family]  # fmt: skip


def _integer(kind: Kind) -> pa.DataType:
    import pyarrow as pa

    if kind.size > 64:
        return pa.decimal128(38, 0)
    sizes = (pa.int8, pa.int16, pa.int32, pa.int64) if kind.signed else (pa.uint8, pa.uint16, pa.uint32, pa.uint64)
    # MySQL's 24 bits have no Arrow type: the system itself refuses what does not fit.
    return next(kind_() for kind_, bits in zip(sizes, (8, 16, 32, 64), strict=True) if kind.size <= bits)


def _decimal(kind: Kind, arrow: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if kind.size:
        return (
            pa.decimal128(kind.size, kind.scale) if kind.size <= 38 else pa.decimal256(min(kind.size, 76), kind.scale)
        )
    # PostgreSQL's numeric without digits holds any.
    return arrow if pa.types.is_decimal(arrow) else pa.decimal128(20, 0)
