"""Names of files as patterns: which are meant, and what they say in columns."""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import lru_cache
from typing import Any

import polars as pl

from fuse_dagster.core.errors import ConfigError, InputError

_FIELD = re.compile(r"\{(?P<name>[^{}:]+)(?::(?P<form>[^{}]+))?\}")
_OF_DAYS = set("aAdbBmyYjUwWuVGx%")


class NamePattern:
    """What the name of a file says, as `{carrier}_{day:%Y%m%d}.csv`.

    `{name}` is text without a slash, `{name:int}` a whole number, `{name:%Y%m%d}` a date, or a time where the form has
    hours. Everything else stands for itself. A pattern with a slash is of the path below the folder.

    Raises:
        ConfigError: It has no field, one twice, or a form that is none.

    Examples:
        >>> NamePattern("{carrier}_{day:%Y%m%d}.csv").read("in/AA_20240229.csv")
        {'carrier': 'AA', 'day': datetime.date(2024, 2, 29)}
    """

    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self._forms: dict[str, str] = {}
        parts, last = [], 0
        for found in _FIELD.finditer(pattern):
            name, form = found["name"].strip(), found["form"] or ""
            if name in self._forms or (form and form != "int" and "%" not in form):
                forms = "`{n}`, `{n:int}`, `{n:%Y%m%d}`"
                msg = f"`{pattern}` has `{name}` twice, or in a form that is none. Valid: {forms}."
                raise ConfigError(msg)
            self._forms[name] = form
            parts += [re.escape(pattern[last : found.start()]), r"(-?\d+)" if form == "int" else "([^/]+?)"]
            last = found.end()
        rest = pattern[last:]
        if not self._forms or set("{}") & set(_FIELD.sub("", pattern)):
            msg = f"`{pattern}` has no field, or an open brace. Valid: `{{carrier}}_{{day:%Y%m%d}}.csv`."
            raise ConfigError(msg)
        self._regex = re.compile("".join(parts) + re.escape(rest))

    @property
    def types(self) -> dict[str, pl.DataType]:
        """Column -> type."""
        return {name: _type(form) for name, form in self._forms.items()}

    def read(self, path: str) -> dict[str, Any]:
        """Column -> value, of a file.

        Args:
            path: Its name below the folder.

        Raises:
            InputError: The name does not follow the pattern, or says a day that is none.
        """
        name = path if "/" in self.text else path.rpartition("/")[2]
        found = self._regex.fullmatch(name)
        if found is None:
            msg = f"The name of `{path}` does not follow `{self.text}`. Rename it, or leave it out by `exclude`."
            raise InputError(msg)
        return {
            column: _value(text, form, path)
            for (column, form), text in zip(self._forms.items(), found.groups(), strict=True)
        }


def _type(form: str) -> pl.DataType:
    if form in {"", "int"}:
        return pl.Int64() if form else pl.String()
    return pl.Date() if _is_of_days(form) else pl.Datetime("us", "UTC" if "%z" in form else None)


def _is_of_days(form: str) -> bool:
    return set(re.findall(r"%(.)", form)) <= _OF_DAYS


def _value(text: str, form: str, path: str) -> str | int | date | datetime:
    try:
        if form in {"", "int"}:
            return int(text) if form else text
        found = datetime.strptime(text, form)  # noqa: DTZ007 - a form without `%z` is of wall time
    except ValueError as error:
        raise InputError(f"The name of `{path}` says `{text}`, which is no `{form}`. Correct it.") from error
    if found.strftime(form) != text and len(found.strftime(form)) != len(text):
        raise InputError(f"The name of `{path}` says `{text}`, which `{form}` would not write so. Correct it.")
    return found.date() if _is_of_days(form) else found


@lru_cache(maxsize=256)
def glob_regex(pattern: str) -> re.Pattern[str]:
    """A pattern of paths as a regular expression: `*` and `?` stop at slashes, `**` does not.

    Examples:
        >>> bool(glob_regex("in/**/*.csv").fullmatch("in/a/b.csv")), bool(glob_regex("*.csv").fullmatch("a/b.csv"))
        (True, False)
    """
    parts: list[str] = []
    for piece in re.split(r"(\*\*/|\*\*|\*|\?)", pattern):
        match piece:
            case "**/":
                parts.append("(?:.*/)?")
            case "**":
                parts.append(".*")
            case "*":
                parts.append("[^/]*")
            case "?":
                parts.append("[^/]")
            case _:
                parts.append(re.escape(piece))
    return re.compile("".join(parts))
