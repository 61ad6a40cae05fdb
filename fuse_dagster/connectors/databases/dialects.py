"""What differs between the SQL of database systems, as far as reading and writing have to know."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.core.naming import did_you_mean, listing

Marker = Literal["?", "%s", "$1", "@name", "%(name)s"]
Upsert = Literal["on conflict", "on duplicate key", "merge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a system writes names, parameters and upserts.

    Attributes:
        name: As sqlglot calls it.
        opening: The sign before a quoted name.
        closing: The sign after it; within a name it is doubled.
        marker: How the driver's SQL marks a bound value: `?` and `%s` by place, `$1` by number, the others by name.
        upsert: `INSERT ... ON CONFLICT (keys) DO UPDATE`, `INSERT ... ON DUPLICATE KEY UPDATE` or `MERGE`.
        longest_name: How long a name may be, in `name_unit`.
        name_unit: Whether that counts bytes of UTF-8 or signs.
        transactional_ddl: Whether CREATE, ALTER and DROP of tables are part of a transaction and can be rolled back.
        escapes: Whether a backslash within a text in quotes escapes the sign after it.
        first: `limit` writes LIMIT at the end, `top` TOP behind SELECT, `fetch` what the standard says: FETCH FIRST.
    """

    name: str
    opening: str = '"'
    closing: str = '"'
    marker: Marker = "?"
    upsert: Upsert = "on conflict"
    longest_name: int = 63
    name_unit: Literal["bytes", "signs"] = "signs"
    transactional_ddl: bool = True
    escapes: bool = False
    first: Literal["limit", "top", "fetch"] = "limit"

    def quoted(self, name: str) -> str:
        """A name as this SQL writes it in quotes, whatever signs are in it.

        Raises:
            ConfigError: It is empty, too long, or holds a NUL, which no system takes.

        Examples:
            >>> POSTGRES.quoted('a"; DROP TABLE b; --')
            '"a""; DROP TABLE b; --"'
        """
        size = len(name.encode()) if self.name_unit == "bytes" else len(name)
        if not name or "\0" in name or size > self.longest_name:
            msg = (
                f"`{name[:80]!r}` can't be a name here. Valid: 1 to {self.longest_name} {self.name_unit}, without NUL."
            )
            raise ConfigError(msg)
        if self.name == "bigquery" and (set(name) & set("`.\\\n\r")):
            raise ConfigError(
                f"`{name!r}` can't be a name here. Valid: one without dots, backticks, backslashes and new lines."
            )
        return f"{self.opening}{name.replace(self.closing, self.closing * 2)}{self.closing}"

    def path(self, parts: Sequence[str]) -> str:
        """A name of several parts, as of a schema and a table."""
        return ".".join(self.quoted(part) for part in parts)

    def mark(self, number: int) -> str:
        """The marker of the bound value with this number, from 1; those by name are called `p1`, `p2`, ..."""
        return {"?": "?", "%s": "%s", "$1": f"${number}", "@name": f"@p{number}", "%(name)s": f"%(p{number})s"}[
            self.marker
        ]

    def select(self, columns: Sequence[str], source: str, *, where: str = "", limit: int | None = None) -> str:
        """A SELECT of expressions that are SQL already.

        Args:
            columns: What to select.
            source: What follows FROM.
            where: A condition; none where it is empty.
            limit: Rows at the most; None for all.
        """
        first = f"TOP ({int(limit)}) " if limit is not None and self.first == "top" else ""
        text = f"SELECT {first}{', '.join(columns)} FROM {source}"  # noqa: S608 - of quoted names
        text += f" WHERE {where}" if where else ""
        if limit is None or self.first == "top":
            return text
        return f"{text} LIMIT {int(limit)}" if self.first == "limit" else f"{text} FETCH FIRST {int(limit)} ROWS ONLY"


POSTGRES = Dialect(name="postgres", marker="$1", name_unit="bytes")
MYSQL = Dialect(
    name="mysql", opening="`", closing="`", marker="%s", upsert="on duplicate key", longest_name=64,
    transactional_ddl=False, escapes=True,
)  # fmt: skip
MSSQL = Dialect(name="tsql", opening="[", closing="]", upsert="merge", longest_name=128, first="top")
SNOWFLAKE = Dialect(
    name="snowflake", upsert="merge", longest_name=255, transactional_ddl=False, escapes=True
)  # fmt: skip
BIGQUERY = Dialect(
    name="bigquery", opening="`", closing="`", marker="@name", upsert="merge", longest_name=300,
    transactional_ddl=False, escapes=True,
)  # fmt: skip
DUCKDB = Dialect(name="duckdb", marker="$1", longest_name=65_535)
SQLITE = Dialect(name="sqlite", longest_name=65_535)
STANDARD = Dialect(name="", longest_name=128, transactional_ddl=False, first="fetch")
"""SQL as its standard has it, for systems that nothing else is known of."""


def bound(
    dialect: Dialect,
    text: str,
    parameters: Mapping[str, Any],
    *,
    literal: Callable[[Any], str | None] = lambda _: None,
) -> tuple[str, list[Any]]:
    """Put the driver's markers where a text says `:name`, and the values in their order; no text is pasted into it.

    What stands in quotes or comments, and casts as `::int`, stays as it is.

    Args:
        dialect: Of the text.
        text: One statement.
        parameters: Name -> value.
        literal: A number or a time as SQL, and None for whatever else; they are used where all values have one.

    Returns:
        The text, and one value for each marker that goes by its place, or for each name; none where literals are used.

    Raises:
        InputError: The text names a parameter that isn't given, or one is given that it doesn't name.

    Examples:
        >>> bound(POSTGRES, "SELECT ':a', b::int FROM t WHERE c > :a", {"a": 1})
        ("SELECT ':a', b::int FROM t WHERE c > $1", [1])
    """
    values: list[Any] = []
    places: dict[str, int] = {}
    literals = {name: said for name, value in parameters.items() if (said := literal(value)) is not None}
    literals = literals if literals.keys() == parameters.keys() else {}

    def put(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:
            return found[0].replace("%", "%%") if dialect.marker.startswith("%") else found[0]
        if name not in parameters:
            msg = f"The text leaves `:{name}` open, and no such parameter is given. {did_you_mean(name, parameters)}"
            raise InputError(msg)
        if name in literals:
            places[name] = 0
            return literals[name]
        if name not in places or dialect.marker in {"?", "%s"}:
            values.append(parameters[name])
            places[name] = len(values)
        return dialect.mark(places[name])

    said = _pattern(dialect).sub(put, text)
    unused = sorted(parameters.keys() - places.keys())
    if unused:
        msg = f"The parameters {listing(unused)} are given, but the text doesn't name them. Write `:{unused[0]}` in it."
        raise InputError(msg)
    return said, values


def _pattern(dialect: Dialect) -> re.Pattern[str]:
    """What is to be passed over, or else a parameter."""
    escape = r"\\.|" if dialect.escapes else ""
    passed = [
        rf"'(?:{escape}''|[^'])*'",
        rf'"(?:{escape}""|[^"])*"',
        r"--[^\n]*",
        r"/\*[\s\S]*?\*/",
        r"::",
    ]
    if dialect.opening == "`":
        passed += [r"`(?:``|[^`])*`", r"#[^\n]*"]
    if dialect.opening == "[":
        passed.append(r"\[(?:\]\]|[^\]])*\]")
    if dialect.name in {"postgres", "duckdb", "snowflake"}:
        passed += [r"\$(?P<tag>\w*)\$[\s\S]*?\$(?P=tag)\$"]
    if dialect.name == "postgres":
        passed.insert(0, r"(?<!\w)[eE]'(?:\\.|''|[^'])*'")
    if dialect.marker.startswith("%"):
        passed.append("%")
    return re.compile("|".join(passed) + r"|(?<![\w:]):(?P<name>[A-Za-z_]\w*)", re.DOTALL)
