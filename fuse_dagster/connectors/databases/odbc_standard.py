"""A system behind an ODBC driver, of which nothing else is known: the standard's SQL, and the driver's types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Any, ClassVar

from fuse_dagster.connectors.database import TableColumn
from fuse_dagster.connectors.databases.dialects import STANDARD, Dialect
from fuse_dagster.connectors.databases.odbc import Plan
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import listing

_SIZED = ("char", "binary", "decimal", "numeric", "number")


class AnyByOdbc:
    """What is known of it: nothing but what ODBC itself tells."""

    dialect: ClassVar[Dialect] = STANDARD
    attributes: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def begin(self, connection: Any, *, writing: bool, seconds: float) -> None:
        """Nothing: what is changed is never committed."""

    def tables(self, connection: Any) -> Iterator[tuple[str, ...]]:
        """Yield schemas, or catalogs where there are none, and names, by ODBC's catalog functions."""
        with connection.cursor() as cursor:
            found = cursor.tables().fetchall()
        for catalog, schema, name, kind, *_ in found:
            if str(kind).upper() in {"TABLE", "VIEW", "BASE TABLE"}:
                yield (schema or catalog, name) if schema or catalog else (name,)

    def described(self, connection: Any, parts: Sequence[str]) -> Sequence[TableColumn]:
        """The columns of a table; without a schema that of the only one of this name.

        Raises:
            ConfigError: There are several.
        """
        import pyodbc

        escape = connection.getinfo(pyodbc.SQL_SEARCH_PATTERN_ESCAPE) or ""
        name = _literally(parts[-1], escape)
        with connection.cursor() as cursor:  # some drivers look through the search path alone, unless told where
            found = cursor.columns(table=name).fetchall()
            if len(parts) > 1:
                found += cursor.columns(table=name, schema=_literally(parts[0], escape)).fetchall()
        found = list(dict.fromkeys(map(tuple, found)))
        found = [one for one in found if one[2] == parts[-1] and (len(parts) == 1 or parts[0] in {one[0], one[1]})]
        places = sorted({(one[0], one[1]) for one in found}, key=str)
        if len(places) > 1:
            where = listing(str(schema or catalog) for catalog, schema in places)
            raise ConfigError(f"`{parts[-1]}` stands in several schemas: {where}. Name one, as `schema.table`.")
        keys: dict[str, int] = {}
        with connection.cursor() as cursor, suppress(pyodbc.Error):  # drivers may not have it: then no key is known
            for catalog, schema in places:
                keys = {one[3]: one[4] for one in cursor.primaryKeys(parts[-1], catalog=catalog, schema=schema)}
        return [
            TableColumn(name=one[3], type=_word(one[5], one[6], one[8]), nullable=one[10] != 0, key=keys.get(one[3], 0))
            for one in found
        ]

    def planned(self, connection: Any, text: str, values: Sequence[Any], declared: Mapping[str, str]) -> Plan:  # noqa: ARG002
        """The text itself."""
        return Plan(text, None)

    def kind(self, state: str, said: str, number: int) -> str | None:  # noqa: ARG002 - asked by others
        """Nothing more than the SQLSTATE."""
        return None


def _word(name: str, size: int | None, scale: int | None) -> str:
    """A type with its size, as `decimal(10,2)`."""
    if not size or not any(part in name.lower() for part in _SIZED) or "(" in name:
        return name
    return f"{name}({size},{scale})" if scale is not None and "char" not in name.lower() else f"{name}({size})"


def _literally(name: str, escape: str) -> str:
    """A name as a pattern that fits it; without a sign to escape with it may fit others, too."""
    if not escape:
        return name
    return "".join(escape + sign if sign in {"_", "%", escape} else sign for sign in name)
