"""How the columns of a batch meet the columns of a table: cast, add, widen, or refuse before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from fuse_dagster.core.errors import SchemaError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.tables.samples import samples

_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64)
_FLOATS = (pl.Float32, pl.Float64)


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """What a batch does to a table's columns.

    Attributes:
        added: New columns and their types, in the batch's order.
        widened: Columns whose type grows, with the new type.
        missing: Columns of the table that the batch does not have (or has without a type).
    """

    added: Mapping[str, pl.DataType] = field(default_factory=dict)
    widened: Mapping[str, pl.DataType] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether the table's schema changes."""
        return bool(self.added or self.widened)

    @property
    def sentences(self) -> tuple[str, ...]:
        """One sentence per change."""
        return (
            *(f"{name}: {_name(dtype)} added" for name, dtype in self.added.items()),
            *(f"{name}: widened to {_name(dtype)}" for name, dtype in self.widened.items()),
        )

    def after(self, schema: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
        """The table's schema with the change applied."""
        return {name: self.widened.get(name, dtype) for name, dtype in schema.items()} | dict(self.added)


def reconcile(
    batch: pl.DataFrame, schema: Mapping[str, pl.DataType], *, policy: str, own: Sequence[str] = ()
) -> tuple[pl.DataFrame, SchemaChange]:
    """Bring a batch to a table's types and say what changes.

    Args:
        batch: Rows x columns with Delta types; a column of type Null that the table does not know counts as absent.
        schema: The table's columns and types; empty for a new table. They give a type to a column of nulls only.
        policy: `evolve` or `strict`.
        own: Columns that the table adds by itself; the batch must not bring them.

    Returns:
        The batch without its untyped columns, cast where the table's type holds all its values; and the change.

    Raises:
        SchemaError: A type that the column cannot take, a reserved name, a name that differs in case, or, when strict,
            a new or wider column.
    """
    reserved = [name for name in batch.columns if name in own]
    if reserved:
        raise SchemaError(
            f"the batch brings {reserved}, which the table adds by itself; drop or rename them in the input, or choose "
            "other names in the declaration"
        )
    known = {name: schema[name] for name, dtype in batch.schema.items() if dtype == pl.Null and name in schema}
    typed = batch.cast(known).select(n for n, d in batch.schema.items() if d != pl.Null or n in known)  # type: ignore[arg-type]
    if not typed.width:
        raise SchemaError(
            f"the batch has no column with a type (columns: {batch.columns}); nothing was written. Where a source has "
            "no rows today, return an empty frame with its columns"
        )
    added: dict[str, pl.DataType] = {}
    widened: dict[str, pl.DataType] = {}
    casts: dict[str, pl.DataType] = {}
    for name, dtype in typed.schema.items():
        if name not in schema:
            _refuse_new(name, schema, policy)
            added[name] = dtype
        elif dtype != schema[name]:
            if widens(dtype, schema[name]):
                casts[name] = schema[name]
            elif widens(schema[name], dtype):
                _refuse_wider(name, schema[name], dtype, policy)
                widened[name] = dtype
            else:
                raise SchemaError(_mismatch(typed[name], schema[name]))
    missing = tuple(name for name in schema if name not in typed.columns and name not in own)
    return typed.cast(casts), SchemaChange(added if schema else {}, widened, missing)  # type: ignore[arg-type]


def complete(batch: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The batch as the table will show it: in its order, and null in the columns that the batch lacks.

    Args:
        batch: Rows x some of the columns.
        schema: All columns and their types.
    """
    return batch.select(
        (pl.col(name).cast(dtype) if name in batch.columns else pl.repeat(None, pl.len(), dtype=dtype)).alias(name)
        for name, dtype in schema.items()
    )


def refuse_missing(missing: Sequence[str], what: str) -> None:
    """Raise where the batch lacks columns that it must bring.

    Raises:
        SchemaError: `missing` is not empty.
    """
    if missing:
        raise SchemaError(
            f"{what} lacks {list(missing)}, which the table has; a column that vanishes is usually a broken extract. "
            "Bring it, as nulls of its type if that is what you mean"
        )


def refuse_widened(uri: str, widened: Mapping[str, pl.DataType]) -> None:
    """Raise where a column's type would grow in a write that cannot do that in one commit.

    Raises:
        SchemaError: `widened` is not empty.
    """
    if widened:
        raise SchemaError(
            f"columns {list(widened)} need a wider type than `{uri}` has; overwrite the whole table once with "
            '`schema="evolve"`, or cast them in the asset. Nothing was written'
        )


def require(columns: Sequence[str], frame: pl.DataFrame, role: str) -> None:
    """Raise where declared columns are not in the batch.

    Raises:
        SchemaError: One is missing or has no type; the message suggests a near name.
    """
    for name in columns:
        if name not in frame.columns:
            raise SchemaError(
                f"`{role}` names `{name}`, which is not in the batch. {did_you_mean(name, frame.columns)}"
            )


def widens(narrow: pl.DataType, wide: pl.DataType) -> bool:
    """Whether every value of `narrow` is a value of `wide`, of the same kind."""
    for family in (_INTEGERS, _FLOATS):
        if isinstance(narrow, family) and isinstance(wide, family):
            return family.index(type(narrow)) <= family.index(type(wide))
    if isinstance(narrow, pl.Decimal) and isinstance(wide, pl.Decimal):
        whole = (narrow.precision or 38) - narrow.scale, (wide.precision or 38) - wide.scale
        return narrow.scale <= wide.scale and whole[0] <= whole[1]
    return narrow == wide


def _refuse_new(name: str, schema: Mapping[str, pl.DataType], policy: str) -> None:
    twin = next((known for known in schema if known.lower() == name.lower()), None)
    if twin is not None:
        raise SchemaError(f"the batch has `{name}`, the table `{twin}`: the same name to Delta; rename it in the input")
    if schema and policy == "strict":
        raise SchemaError(
            f'the batch has a new column `{name}`, and `schema="strict"`. {did_you_mean(name, list(schema))} '
            'Drop it, or declare `schema="evolve"`'
        )


def _refuse_wider(name: str, known: pl.DataType, wider: pl.DataType, policy: str) -> None:
    if policy == "strict":
        raise SchemaError(
            f'column `{name}` is {_name(wider)} in the batch but {_name(known)} in the table, and `schema="strict"`; '
            'cast it in the input, or declare `schema="evolve"`'
        )


def _mismatch(series: pl.Series, wanted: pl.DataType) -> str:
    values = series.drop_nulls().unique(maintain_order=True).to_frame()
    shown = f" (values such as {samples(values)})" if values.height else " (null in every row)" if len(series) else ""
    return (
        f"column `{series.name}` is {_name(series.dtype)} in the batch but {_name(wanted)} in the table{shown}; cast "
        "it in the input. Only widening is done for you: int8 to int16 to int32 to int64, float32 to float64, a "
        "decimal that grows"
    )


def _name(dtype: pl.DataType) -> str:
    """A type in the words of Delta's readers rather than of polars' classes."""
    return str(dtype).lower()
