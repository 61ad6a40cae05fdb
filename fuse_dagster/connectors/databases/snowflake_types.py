"""Types of Snowflake: from what an answer says of its columns to Arrow, without loss or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.databases.arrow import named
from fuse_dagster.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_TEXTS = frozenset({"TEXT", "VARIANT", "OBJECT", "ARRAY", "GEOGRAPHY", "GEOMETRY"})
_DO = {
    "TIMESTAMP": "Years beyond 2262 don't fit nanoseconds, and digits below those of the type are not dropped: cast "
    "the column in a query, as `a::TIMESTAMP_NTZ(6)`.",
    "FIXED": "Cast the column in a query, as `a::NUMBER(38, 9)`.",
}


def schema_of(description: Sequence[Any], kinds: Sequence[str]) -> pa.Schema:
    """The Arrow schema of an answer.

    Args:
        description: Of the driver: name, precision and scale of each column.
        kinds: Snowflake's name of each column's type, as `FIXED`.

    Raises:
        InputError: Two columns have one name, or one is of a type that Arrow can't hold as what it is.
    """
    import pyarrow as pa

    named([column.name for column in description])
    return pa.schema(
        [pa.field(column.name, arrow_of(column, kind)) for column, kind in zip(description, kinds, strict=True)]
    )


def arrow_of(column: Any, kind: str) -> pa.DataType:
    """The Arrow type that a column is read as.

    Raises:
        InputError: There is none.
    """
    import pyarrow as pa

    precision, scale = column.precision or 38, column.scale or 0
    if kind == "FIXED":
        return pa.int64() if scale == 0 and precision <= 18 else pa.decimal128(precision, scale)
    if kind in _TEXTS:
        return pa.string()
    unit = "us" if scale <= 6 else "ns"
    if kind.startswith("TIMESTAMP"):
        return pa.timestamp(unit, tz=None if kind in {"TIMESTAMP", "TIMESTAMP_NTZ"} else "UTC")
    plain = {
        "REAL": pa.float64(), "BOOLEAN": pa.bool_(), "BINARY": pa.binary(), "DATE": pa.date32(),
        "TIME": pa.time64(unit),
    }  # fmt: skip
    if kind not in plain:
        raise InputError(
            f"The column `{column.name}` is of Snowflake's type {kind}, which is not read as what it is. Cast it in a "
            "query, as `a::ARRAY` or `a::TEXT`, or leave it out by `columns`."
        )
    return plain[kind]


def converted(tables: Iterable[pa.Table], schema: pa.Schema, kinds: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The driver's chunks, each column in the type that the whole answer has.

    Raises:
        InputError: A value does not fit its type.
    """
    import pyarrow as pa

    for table in tables:
        columns = [
            _cast(table.column(index), field, kinds[index]) for index, field in enumerate(schema)
        ]  # by place: the names are looked at before
        yield from pa.Table.from_arrays(columns, schema=schema).to_batches()


def _cast(values: pa.ChunkedArray, field: pa.Field, kind: str) -> pa.ChunkedArray:
    import pyarrow as pa

    try:
        return values if values.type == field.type else values.cast(field.type)
    except pa.ArrowException:
        family = kind.partition("_")[0]
        said = _DO.get(family, "Cast the column in a query, or leave it out by `columns`.")
    raise InputError(
        f"The column `{field.name}` is read as {field.type}, which can't hold one of its values, or it came as "
        f"{values.type}. {said}"
    )


__all__ = ["arrow_of", "converted", "schema_of"]
