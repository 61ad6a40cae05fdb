"""The dialect of a CSV file, told from its first lines: by DuckDB's sniffer, and refused where two could be meant."""

from __future__ import annotations

import csv
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from fuse_dagster.core.errors import InputError, first_line

if TYPE_CHECKING:
    from fuse_dagster.engines.local.files.delimited import Delimited

_SEPARATORS = ",;\t|"
_EMPTY = "(empty)"


def found_in(start: bytes, options: Delimited, file: str) -> Delimited:
    """The options with what is not declared detected.

    Args:
        start: The first bytes of the file, UTF-8.
        options: What is declared; None for what is not.
        file: What it is called, for messages.

    Raises:
        InputError: Several dialects fit, or none.
    """
    if None not in (options.separator, options.quote, options.escape, options.header):
        return options
    text = start.decode(errors="ignore")
    lines = text if len(start) < 2**15 else text[: text.rfind("\n") + 1] or text
    separator, quote, escape, header, skip = _sniffed(lines, options, file)
    rivals = _rivals(lines, skip, options.quote if options.quote is not None else quote or '"')
    if options.separator is None:
        if separator not in rivals and len(rivals) == 1 and separator not in lines.splitlines()[skip]:
            separator = rivals[0]
        elif len(rivals) > 1 or (rivals and rivals != [separator]):
            msg = (
                f"The columns of `{file}` may be separated by any of {rivals or [separator]}. "
                'Declare which, as by `separator=";"`.'
            )
            raise InputError(msg)
    return replace(
        options,
        separator=separator if options.separator is None else options.separator,
        quote=(quote or '"') if options.quote is None else options.quote,
        escape=("" if escape == quote else escape) if options.escape is None else options.escape,
        header=header if options.header is None else options.header,
        skip=options.skip or skip,
    )


def _sniffed(text: str, options: Delimited, file: str) -> tuple[str, str, str, bool, int]:
    """Separator, quote, escape, whether there is a header, lines before it: as DuckDB tells them."""
    declared = {
        "delim": options.separator,
        "quote": options.quote,
        "escape": options.escape,
        "header": options.header,
        "comment": options.comment or None,
    }
    said = "".join(f", {name} = ${name}" for name, value in declared.items() if value is not None)
    values = {name: value for name, value in declared.items() if value is not None}
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as session:
        path = Path(folder, "sample.csv")
        path.write_text(text, encoding="utf-8", newline="")
        try:
            row = session.execute(
                f"SELECT Delimiter, Quote, Escape, HasHeader, SkipRows FROM sniff_csv($path{said})",  # noqa: S608 - names are ours
                {"path": str(path), **values},
            ).fetchall()[0]
        except duckdb.Error as error:
            why = first_line(error).replace(str(path), file)
            raise InputError(f"The dialect of `{file}` can't be told: {why}. Declare it.") from error
    delimiter, quote, escape = ("" if sign == _EMPTY else sign for sign in row[:3])
    return delimiter or ",", quote, escape, bool(row[3]), int(row[4])


def _rivals(text: str, skip: int, quote: str) -> list[str]:
    """The separators by which the lines have several columns, nearly always as many."""
    found = []
    for separator in _SEPARATORS:
        lines = text.splitlines(keepends=True)[skip:]
        try:
            widths = [len(record) for record in csv.reader(lines, delimiter=separator, quotechar=quote) if record]
        except csv.Error:
            continue
        (width, count), *_ = Counter(widths).most_common(1) or [(0, 0)]
        if width > 1 and widths[0] == width and count >= 0.6 * len(widths):
            found.append(separator)
    return found
