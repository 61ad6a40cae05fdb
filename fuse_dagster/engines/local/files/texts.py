"""Text as values of types: told from all values, or declared; nothing that text says is lost on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from fuse_dagster.core.errors import InputError
from fuse_dagster.engines.local.files.parts import BadRow, Part
from fuse_dagster.engines.local.files.types import type_text

_DIGITS = 15  # that a 64-bit float keeps
_PATTERNS: Mapping[str, str] = {
    # No leading zeros or plus signs, which codes and telephone numbers have; no `-0`, which would lose its sign.
    "int": r"^(0|-?[1-9]\d{0,17})$",
    "float": r"^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,2})?$",
    "boolean": r"^(true|false|True|False|TRUE|FALSE)$",
    "date": r"^\d{4}-\d{2}-\d{2}$",
    "naive": r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?$",
    "aware": r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:?\d{2})$",
}
_TYPES: Mapping[str, pl.DataType] = {
    "int": pl.Int64(),
    "float": pl.Float64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "naive": pl.Datetime("us"),
    "aware": pl.Datetime("us", "UTC"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Forms:
    """How numbers and times are written.

    Attributes:
        decimal: The sign before a fraction.
        thousands: The sign between groups of three digits; "" where there is none.
        times: Column -> how its dates or times are written, as `%d.%m.%Y`; ISO 8601 where nothing is said.
    """

    decimal: str = "."
    thousands: str = ""
    times: Mapping[str, str] = field(default_factory=dict)


PLAIN = Forms()
"""Numbers as `1234.5`, dates as `2024-06-01`."""


def numeral(text: pl.Expr, forms: Forms) -> pl.Expr:
    """Numbers as a program writes them; what is no number in these forms stays as it is, and then is none."""
    if (forms.decimal, forms.thousands) == (".", ""):
        return text
    point, group = _escaped(forms.decimal), _escaped(forms.thousands)
    whole = rf"(\d{{1,3}}({group}\d{{3}})+|\d+)" if forms.thousands else r"\d+"
    fits = text.str.contains(rf"^[+-]?{whole}({point}\d+)?([eE][+-]?\d+)?$")
    bare = text.str.replace_all(forms.thousands, "", literal=True) if forms.thousands else text
    read = bare.str.replace(forms.decimal, ".", literal=True)
    # A point that means nothing here must not be read as one.
    return pl.when(fits).then(read).otherwise(pl.concat_str(pl.lit("~"), text))


def as_type(name: str, wanted: pl.DataType, forms: Forms = PLAIN) -> pl.Expr:
    """A column of text as a type: null where the text is none of it.

    Args:
        name: The column.
        wanted: The type.
        forms: How numbers and times are written.
    """
    text = pl.col(name)
    how = forms.times.get(name)
    found: pl.Expr
    match wanted:
        case pl.Boolean():
            small = text.str.to_lowercase()
            found = pl.when(small.is_in(["true", "1"])).then(True).when(small.is_in(["false", "0"])).then(False)
        case pl.Date():
            found = text.str.to_date(how or "%Y-%m-%d", strict=False, exact=True)
        case pl.Time():
            found = text.str.to_time(how or "%H:%M:%S%.f", strict=False)
        case pl.Datetime():
            found = _moment(text, wanted, how)
        case pl.Decimal():
            number = numeral(text, forms)
            kept = number.str.contains(rf"^[+-]?\d+(\.\d{{0,{wanted.scale}}}0*)?$")
            found = pl.when(kept).then(number).cast(wanted, strict=False)
        case _ if wanted.is_numeric():
            found = numeral(text, forms).cast(wanted, strict=False)
        case _:
            found = text.cast(wanted, strict=False)
    return found


def _moment(text: pl.Expr, wanted: pl.Datetime, how: str | None) -> pl.Expr:
    unit = wanted.time_unit
    if wanted.time_zone is None:
        return (
            text.str.to_datetime(how, time_unit=unit, strict=False)
            if how
            else text.str.replace(" ", "T", literal=True).str.to_datetime(
                "%Y-%m-%dT%H:%M:%S%.f", time_unit=unit, strict=False
            )
        )
    iso = text.str.replace(" ", "T", literal=True).str.replace("Z$", "+00:00")
    found = iso.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", time_unit=unit, strict=False)
    if how:
        found = text.str.to_datetime(
            how, time_unit=unit, strict=False, time_zone=None if "%z" in how or "%#z" in how else "UTC"
        )
    return found.dt.convert_time_zone(wanted.time_zone)


def typed(
    part: Part, types: Mapping[str, pl.DataType], file: str, *, forms: Forms = PLAIN, reject: bool = False
) -> Part:
    """Text columns as the types that they are declared to have, where they are there.

    Args:
        part: Rows of a file.
        types: Column -> type.
        file: What it is called, for messages.
        forms: How numbers and times are written.
        reject: Take rows with a wrong value out, rather than refusing the file.

    Raises:
        InputError: A value is none of its type.
    """
    rows = part.rows
    wanted = {name: types[name] for name, dtype in rows.schema.items() if name in types and dtype == pl.String}
    changed = {name: dtype for name, dtype in wanted.items() if dtype != pl.String}
    if not changed or not rows.height:
        return Part(
            rows.with_columns(pl.col(name).cast(dtype) for name, dtype in changed.items()), part.numbers, part.bad
        )
    read = rows.with_columns(as_type(name, dtype, forms).alias(name) for name, dtype in changed.items())
    lost = {name: (read[name].is_null() & rows[name].is_not_null()) for name in changed}
    lost = {name: mask for name, mask in lost.items() if mask.any()}
    if not lost:
        return Part(read, part.numbers, part.bad)
    bad: dict[int, BadRow] = {}
    for name, mask in lost.items():
        for number, value in zip(part.numbers.filter(mask), rows[name].filter(mask), strict=True):
            why = f"`{name}` is `{value}`, which is no {type_text(types[name])}"
            bad.setdefault(number, BadRow(number, str(value), why))
    if not reject:
        shown = "; ".join(f"row {row.number}: {row.why}" for row in list(bad.values())[:3])
        msg = f"`{file}` holds values that are not of their type ({len(bad):,} rows; {shown}). Repair it, or the type."
        raise InputError(msg)
    keep = ~part.numbers.is_in(list(bad))
    return Part(read.filter(keep), part.numbers.filter(keep), (*part.bad, *bad.values()))


class Telling:
    """Tells the types of text columns from all of their values, seen in parts.

    A column is of a type where every value is exactly that, and would be written so again: `007`, `+43`, 16 digits with
    a fraction and mixtures stay text. One without any value has no type.
    """

    def __init__(self, forms: Forms = PLAIN) -> None:
        self._forms = forms
        self._left: dict[str, set[str]] = {}
        self._seen: set[str] = set()

    def see(self, frame: pl.DataFrame) -> None:
        """Look at some rows; columns that are no text are left alone."""
        texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
        if not texts or not frame.height:
            return
        for name in texts:
            self._left.setdefault(name, set(_PATTERNS))
        asked = {f"{kind}\0{name}": self._all_are(name, kind) for name in texts for kind in self._left[name]}
        filled = {f"?\0{name}": pl.col(name).is_not_null().any() for name in texts if name not in self._seen}
        answers = frame.select(**asked, **filled).row(0, named=True) if asked or filled else {}
        for said, answer in answers.items():
            kind, _, name = said.partition("\0")
            if kind == "?":
                if answer:
                    self._seen.add(name)
            elif answer is False:
                self._left[name].discard(kind)

    def types(self, known: Mapping[str, pl.DataType] | None = None) -> dict[str, pl.DataType | None]:
        """Column -> type; None for one without any value.

        Args:
            known: Column -> type that was told before, which is kept where all values are of it.
        """
        return {name: self._type(name, left, (known or {}).get(name)) for name, left in self._left.items()}

    def _type(self, name: str, left: set[str], known: pl.DataType | None) -> pl.DataType | None:
        if name not in self._seen:
            return None
        fitting = [_TYPES[kind] for kind in _PATTERNS if kind in left]
        return known if known is not None and known in [*fitting, pl.String()] else (*fitting, pl.String())[0]

    def _all_are(self, name: str, kind: str) -> pl.Expr:
        text = numeral(pl.col(name), self._forms) if kind in {"int", "float"} else pl.col(name)
        fits = text.str.contains(_PATTERNS[kind])
        if kind == "float":
            digits = text.str.replace("[eE].*", "").str.replace_all("[^0-9]", "").str.strip_chars_start("0")
            fits = fits & (digits.str.len_bytes() <= _DIGITS)
        elif kind in {"date", "naive", "aware"}:
            fits = fits & as_type(name, _TYPES[kind]).is_not_null()
        return (fits | text.is_null()).all()


def _escaped(sign: str) -> str:
    return f"\\{sign}" if sign and not sign.isalnum() and not sign.isspace() else sign
