"""Types of BigQuery: what a column holds, in Arrow, in its SQL, and as a value that is bound."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.databases.arrow import Cell, named
from fuse_dagster.connectors.databases.dialects import BIGQUERY
from fuse_dagster.connectors.databases.kinds import word_for
from fuse_dagster.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

_NAMES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}
"""The old names that the API still says -> those of its SQL."""
_LOADED = {
    "integer": "INT64", "float": "FLOAT64", "boolean": "BOOL", "text": "STRING", "bytes": "BYTES", "date": "DATE",
    "time": "TIME", "timestamp": "DATETIME", "instant": "TIMESTAMP", "other": "STRING",
}  # fmt: skip
_MADE = {"JSON": "PARSE_JSON({})", "GEOGRAPHY": "ST_GEOGFROMTEXT({})"}


def word_of(field: Any) -> str:
    """A column's type as BigQuery's SQL says it, as `NUMERIC(10,2)` or `ARRAY<STRUCT<a INT64>>`.

    Args:
        field: A `SchemaField`.
    """
    kind = _NAMES.get(field.field_type.upper(), field.field_type.upper())
    if kind == "STRUCT":
        kind = f"STRUCT<{', '.join(f'{one.name} {word_of(one)}' for one in field.fields)}>"
    elif kind == "RANGE":
        kind = f"RANGE<{field.range_element_type.element_type}>"
    elif field.precision is not None:
        kind = f"{kind}({field.precision},{field.scale or 0})"
    elif field.max_length is not None:
        kind = f"{kind}({field.max_length})"
    return f"ARRAY<{kind}>" if field.mode == "REPEATED" else kind


def cell_of(field: Any) -> Cell:
    """How a column of an answer is read.

    Raises:
        InputError: It is of a type that Arrow can't hold as what it is.
    """
    return Cell(field.name, arrow_of(field), _converter(field))


def arrow_of(field: Any) -> pa.DataType:
    """The Arrow type that a column is read as.

    Raises:
        InputError: There is none.
    """
    import pyarrow as pa

    kind = _NAMES.get(field.field_type.upper(), field.field_type.upper())
    plain = {
        "INT64": pa.int64(), "FLOAT64": pa.float64(), "BOOL": pa.bool_(), "STRING": pa.string(), "BYTES": pa.binary(),
        "DATE": pa.date32(), "TIME": pa.time64("us"), "DATETIME": pa.timestamp("us"), "JSON": pa.string(),
        "TIMESTAMP": pa.timestamp("us", "UTC"), "GEOGRAPHY": pa.string(),
    }  # fmt: skip
    if kind == "STRUCT":
        named([one.name for one in field.fields])  # the client keeps one of two
        found: pa.DataType = pa.struct([pa.field(one.name, arrow_of(one)) for one in field.fields])
    elif kind == "NUMERIC":
        found = pa.decimal128(field.precision or 38, (field.scale or 0) if field.precision else 9)
    elif kind == "BIGNUMERIC":
        found = pa.decimal256(field.precision or 76, (field.scale or 0) if field.precision else 38)
    elif kind == "RANGE":
        element = plain[field.range_element_type.element_type.upper()]
        found = pa.struct([("start", element), ("end", element)])
    elif kind in plain:
        found = plain[kind]
    else:
        raise InputError(
            f"The column `{field.name}` is of BigQuery's type {kind}, which Arrow can't hold as what it is. Cast it in "
            "a query, as `CAST(a AS STRING)`, or leave it out by `columns`."
        )
    return pa.list_(found) if field.mode == "REPEATED" else found


def _converter(field: Any) -> Callable[[Any], Any] | None:
    """What makes the client's value one that Arrow takes; None where it is one."""
    kind = field.field_type.upper()
    inner: Callable[[Any], Any] | None = None
    if kind == "JSON":
        inner = _as_json
    elif kind in {"RECORD", "STRUCT"}:
        parts = {one.name: made for one in field.fields if (made := _converter(one)) is not None}
        if parts:
            inner = lambda row: {  # noqa: E731 - one of several
                name: parts[name](value) if name in parts and value is not None else value
                for name, value in row.items()
            }
    if inner is None or field.mode != "REPEATED":
        return inner
    each = inner
    return lambda values: [None if value is None else each(value) for value in values]


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def parameter(name: str, value: Any) -> Any:
    """A value that is sent beside the text, with its type.

    Args:
        name: As the text calls it, without `@`.
        value: One value, or a list of values of one type.

    Raises:
        InputError: It is of a type that BigQuery has not.
    """
    from google.cloud import bigquery

    if isinstance(value, list | tuple | set):
        values = list(value)
        kinds = {_kind(name, one) for one in values}
        if len(kinds) != 1:
            raise InputError(
                f"The parameter `{name}` is a list of {sorted(kinds)}. Give values of one type, at least one."
            )
        return bigquery.ArrayQueryParameter(name, kinds.pop(), values)
    return bigquery.ScalarQueryParameter(name, _kind(name, value), value)


def _kind(name: str, value: Any) -> str:
    if isinstance(value, dt.datetime):
        return "DATETIME" if value.tzinfo is None else "TIMESTAMP"
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return "BIGNUMERIC"
    if isinstance(value, Decimal):
        digits, exponent = value.as_tuple().digits, value.as_tuple().exponent
        small = isinstance(exponent, int) and exponent >= -9 and len(digits) + exponent <= 29
        return "NUMERIC" if small else "BIGNUMERIC"
    kinds: dict[type, str] = {
        bool: "BOOL", int: "INT64", float: "FLOAT64", str: "STRING", bytes: "BYTES", dt.date: "DATE", dt.time: "TIME",
        type(None): "STRING",
    }  # fmt: skip
    if type(value) not in kinds:
        raise InputError(f"The parameter `{name}` is a {type(value).__name__}, for which BigQuery has no type.")
    return kinds[type(value)]


def loaded_as(fits: Sequence[Any]) -> list[Any]:
    """The columns of a staging table that takes a batch.

    Args:
        fits: Of `databases.fitting`.
    """
    import pyarrow as pa
    from google.cloud import bigquery

    def kind(fit: Any) -> str:
        if fit.kind.family == "decimal":  # by its digits, as BigQuery tells the two apart in a file
            return word_for(BIGQUERY, pa.field(fit.name, fit.arrow)).partition("(")[0].upper()
        return _LOADED[fit.kind.family]

    return [bigquery.SchemaField(staged_name(number), kind(fit)) for number, fit in enumerate(fits)]


def staged_name(number: int) -> str:
    """A column's name in the staging table, and in files, where BigQuery puts other signs for some.

    Args:
        number: Its place, from 0.
    """
    return f"c{number}"


def made_from(fit: Any, quoted: str) -> str:
    """The SQL that makes a table's value of that in the staging table.

    Raises:
        InputError: The table's column is of a type that no value is made of.
    """
    if fit.kind.family != "other":
        return quoted
    if fit.word.upper() not in _MADE:
        raise InputError(
            f"The column `{fit.name}` of the table is of the type {fit.word}, into which rows are not loaded. Leave it "
            "out, or write to a column of text and convert it in BigQuery."
        )
    return _MADE[fit.word.upper()].format(quoted)


__all__ = ["arrow_of", "cell_of", "loaded_as", "made_from", "parameter", "staged_name", "word_of"]
