"""From the supplier's text to typed columns: every value either fits its type or is named in an error."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from fuse_dagster.core.errors import SchemaError

PROVENANCE = ("_file_name", "_row_number")


def typed(
    raw: pl.DataFrame, types: Mapping[str, type[pl.DataType] | pl.DataType], *, missing: Collection[str] = ("",)
) -> pl.DataFrame:
    """Cast the supplier's text columns, strictly.

    Args:
        raw: Rows as read from a landed file: text columns, `_file_name` and `_row_number`.
        types: The columns to keep and their types. A column that the file does not have stays absent: old releases
            lack what newer ones brought.
        missing: Texts that stand for "no value".

    Returns:
        The columns of `types` that exist, then `_file_name` and `_row_number`: same rows, same order.

    Raises:
        SchemaError: Some text is not a value of its column's type. The message holds the file, the rows and the values.
    """
    # Landed text is never null. Where a whole column is, bronze has it from other files, and this one lacked it.
    wanted = {name: kind for name, kind in types.items() if name in raw.columns and raw[name].null_count() < raw.height}
    text = raw.select(
        *(pl.when(pl.col(name).is_in(list(missing))).then(None).otherwise(pl.col(name)).alias(name) for name in wanted),
        *PROVENANCE,
    )
    result = text.with_columns(_cast(name, kind) for name, kind in wanted.items())
    for name, kind in wanted.items():
        broken = text.filter(result[name].is_null() & pl.col(name).is_not_null())
        if not broken.is_empty():
            raise SchemaError(_refusal(broken, name, kind, of=raw.height))
    return result


def _cast(name: str, kind: type[pl.DataType] | pl.DataType) -> pl.Expr:
    if isinstance(kind, pl.Datetime):
        return pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC", strict=False)
    return pl.col(name).cast(kind, strict=False)


def _refusal(broken: pl.DataFrame, name: str, kind: type[pl.DataType] | pl.DataType, *, of: int) -> str:
    file = broken["_file_name"][0]
    rows = "; ".join(f"row {row['_row_number']}: `{row[name]}`" for row in broken.head(5).iter_rows(named=True))
    return (
        f"column `{name}` of `{file}` holds text that is no {kind} in {broken.height:,} of {of:,} rows ({rows}). "
        "Nothing was written. Have the supplier correct the file, or change the column's type if it did change."
    )
