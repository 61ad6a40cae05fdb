"""Which points are meant: a small vocabulary of conditions, as Qdrant's filters.

A mapping from field to what it has to be; all of them must hold:

========================================= ==========================================================
`{"country": "AT"}`                       it is this
`{"country": ["AT", "DE"]}`               it is one of these
`{"height": {"gte": 1000, "lt": 2000}}`   it lies there: `gt`, `gte`, `lt`, `lte`; numbers, dates, times
`{"country": {"not": "AT"}}`              it is not this, or none of these
`{"closed": None}`                        it is absent, null or an empty list
========================================= ==========================================================

Whatever else Qdrant can ask is said by its own `models.Filter`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.vectors.collections import path
from fuse_dagster.core.errors import ConfigError

if TYPE_CHECKING:
    from qdrant_client import models

_BOUNDS = ("gt", "gte", "lt", "lte")
_VALID = "Valid: a value, a list of values, None, or a mapping with `gt`, `gte`, `lt`, `lte` or `not`"


def to_filter(where: Mapping[str, Any] | models.Filter | None) -> models.Filter | None:
    """A condition as a filter of Qdrant; None for all points.

    Raises:
        ConfigError: A value or a word is none of the vocabulary.
    """
    from qdrant_client import models

    if where is None or isinstance(where, models.Filter):
        return where
    if not isinstance(where, Mapping):
        raise ConfigError(f"A condition is a mapping from field to value, not a `{type(where).__name__}`. {_VALID}.")
    must: list[Any] = []
    must_not: list[Any] = []
    for field, said in where.items():
        key = path(field)
        if isinstance(said, Mapping):
            bounds = {word: value for word, value in said.items() if word in _BOUNDS}
            if unknown := [word for word in said if word not in {*_BOUNDS, "not"}]:
                raise ConfigError(f"`{unknown[0]}` is no word of a condition on `{field}`. {_VALID}.")
            if not said:
                raise ConfigError(f"The condition on `{field}` is empty. {_VALID}.")
            if bounds:
                must.append(_range(field, key, bounds))
            if "not" in said:
                must_not.append(_is(field, key, said["not"]))
        else:
            must.append(_is(field, key, said))
    return models.Filter(must=must or None, must_not=must_not or None)


def _is(field: str, key: str, value: Any) -> Any:
    from qdrant_client import models

    if value is None:
        return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
    if isinstance(value, list | tuple | set | frozenset):
        return _is_any(field, key, list(value))
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"`{field}` can't be compared with `{value}`. Valid: a finite number.")
        return models.FieldCondition(key=key, range=models.Range(gte=value, lte=value))
    plain = text_of(value)
    if not isinstance(plain, str | int):
        raise ConfigError(f"`{field}` can't be compared with a `{type(value).__name__}`. {_VALID}.")
    return models.FieldCondition(key=key, match=models.MatchValue(value=plain))


def _is_any(field: str, key: str, values: list[Any]) -> Any:
    from qdrant_client import models

    plain = [text_of(value) for value in values]
    kinds = {type(value) for value in plain}
    if kinds in ({str}, {int}):
        return models.FieldCondition(key=key, match=models.MatchAny(any=plain))
    if not values:
        raise ConfigError(f"The list of values for `{field}` is empty, so nothing could match. Give one, or no list.")
    return models.Filter(should=[_is(field, key, value) for value in values])


def _range(field: str, key: str, bounds: Mapping[str, Any]) -> Any:
    from qdrant_client import models

    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in bounds.values()):
        if not all(math.isfinite(value) for value in bounds.values()):
            raise ConfigError(f"A bound of `{field}` is no finite number. Leave it out where there is none.")
        return models.FieldCondition(key=key, range=models.Range(**bounds))
    if all(isinstance(value, date) for value in bounds.values()):
        return models.FieldCondition(key=key, range=models.DatetimeRange(**{w: _moment(v) for w, v in bounds.items()}))
    kinds = ", ".join(sorted({type(value).__name__ for value in bounds.values()}))
    raise ConfigError(
        f"The bounds of `{field}` are {kinds}. Valid: all of them numbers, or all of them dates or times."
    )


def _moment(value: date) -> datetime:
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def text_of(value: Any) -> Any:
    """A date or time as it is kept in payloads; other values as they are."""
    if isinstance(value, datetime):
        said = (value if value.tzinfo is None else value.astimezone(UTC)).replace(tzinfo=None)
        return said.isoformat(timespec="microseconds") + ("" if value.tzinfo is None else "Z")
    return value.isoformat() if isinstance(value, date) else value
