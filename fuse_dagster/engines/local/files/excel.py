"""Excel workbooks: cells that hold text, a 64-bit float, a truth value, or a float that is shown as a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, BinaryIO

import polars as pl

from fuse_dagster.core.errors import ConfigError, InputError, MissingExtraError, first_line
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.engines.local.files.casting import as_types

if TYPE_CHECKING:
    from fuse_dagster.engines.local.files.layouts import ExcelOptions

MOST_ROWS = 1_048_576
MOST_COLUMNS = 16_384
EXACT = 2**53
"""Whole numbers beyond it are not exact in a cell."""

_INSTALL = 'Excel needs the package `{}`. Install it with: pip install "fuse-dagster[excel]"'


class _Exact(float):
    """A number that is written with all of its digits: a cell holds them, where the writer would round to 16."""

    def __format__(self, _: str) -> str:
        return repr(float(self))


def read_excel(data: bytes, options: ExcelOptions, types: Mapping[str, pl.DataType], file: str) -> pl.DataFrame:
    """Read one sheet.

    Args:
        data: The workbook.
        options: Which sheet.
        types: Column -> type, where it is known.
        file: What it is called, for messages.

    Raises:
        ConfigError: There is no such sheet.
        InputError: It is no workbook, the sheet names a column twice or not at all, or a value is not of its type.
        MissingExtraError: The package that reads Excel is not installed.
    """
    try:
        import fastexcel
    except ModuleNotFoundError as error:
        raise MissingExtraError(_INSTALL.format("fastexcel")) from error
    # It warns of each column without a value, which is none of anybody's business.
    logging.getLogger("fastexcel.types.dtype").setLevel(logging.ERROR)
    try:
        book = fastexcel.read_excel(data)
        sheet: str | int = options.sheet or 0
        if options.sheet and options.sheet not in book.sheet_names:
            msg = f"`{file}` has no sheet `{options.sheet}`. {did_you_mean(options.sheet, book.sheet_names)}"
            raise ConfigError(msg)
        top = book.load_sheet(sheet, header_row=None, n_rows=1, dtypes="string").to_polars()
        names = _names(top, file) if options.header else [f"column_{place + 1}" for place in range(top.width)]
        if not options.header and len(types) == top.width:
            names = list(types)
        if not names and types:
            return pl.DataFrame(schema=dict(types))
        texts: Any = {place: "string" for place, name in enumerate(names) if types.get(name) == pl.String}
        header: int | None = 0 if options.header else None
        loaded = book.load_sheet(sheet, header_row=header, schema_sample_rows=None, dtypes=texts or None).to_polars()
    except fastexcel.FastExcelError as error:
        msg = f"`{file}` can't be read as excel: {first_line(error)}. Repair it, or say its format."
        raise InputError(msg) from error
    frame = loaded.rename(dict(zip(loaded.columns, names, strict=True)))
    known = {name: dtype for name, dtype in types.items() if name in frame.columns}
    return as_types(_plainer(frame, set(known)).lazy(), known).collect()


def write_excel(frames: Iterator[pl.DataFrame], names: list[str], file: BinaryIO, options: ExcelOptions) -> None:
    """Write one sheet, row by row: memory does not grow with the rows.

    Args:
        frames: The rows, in parts.
        names: The columns.
        file: Where the workbook goes; it has to be able to seek.
        options: The sheet's name.

    Raises:
        ConfigError: No header is asked for.
        InputError: There are too many rows or columns, or the last row has no value.
        MissingExtraError: The package that writes Excel is not installed.
    """
    try:
        import xlsxwriter
    except ModuleNotFoundError as error:
        raise MissingExtraError(_INSTALL.format("XlsxWriter")) from error
    if not options.header:
        msg = "`header` is false, but a sheet begins with its first value, so columns could move. Leave `header` out."
        raise ConfigError(msg)
    if len(names) > MOST_COLUMNS:
        msg = f"There are {len(names):,} columns, and a sheet has {MOST_COLUMNS:,}. Write fewer, or Parquet."
        raise InputError(msg)
    book = xlsxwriter.Workbook(file, {"constant_memory": True, "in_memory": False})
    try:
        formats = {kind: book.add_format({"num_format": text}) for kind, text in _SHOWN.items()}
        sheet = book.add_worksheet(options.sheet or None)
        for place, name in enumerate(names):
            sheet.write_string(0, place, name)
        row, has_value = 1, True
        for frame in frames:
            for values in frame.iter_rows():
                if row >= MOST_ROWS:
                    msg = f"There are more rows than the {MOST_ROWS:,} of a sheet. Write fewer, or Parquet."
                    raise InputError(msg)
                has_value = _write_row(sheet, row, values, formats)
                row += 1
        if not has_value:
            msg = "The last row is null in every column, and a sheet ends with its last value. Leave the row out."
            raise InputError(msg)
    finally:
        book.close()


_SHOWN = {"date": "yyyy-mm-dd", "datetime": "yyyy-mm-dd hh:mm:ss.000"}


def _write_row(sheet: Any, row: int, values: tuple[Any, ...], formats: Mapping[str, Any]) -> bool:
    has_value = False
    for place, value in enumerate(values):
        if value is None:
            continue
        has_value = True
        if isinstance(value, str):
            sheet.write_string(row, place, value)
        elif isinstance(value, bool):
            sheet.write_boolean(row, place, value)
        elif isinstance(value, float):
            sheet.write_number(row, place, _Exact(value))
        elif isinstance(value, datetime):
            sheet.write_datetime(row, place, value, formats["datetime"])
        elif isinstance(value, date):
            sheet.write_datetime(row, place, value, formats["date"])
        else:
            sheet.write_number(row, place, value)
    return has_value


def _names(top: pl.DataFrame, file: str) -> list[str]:
    names = ["" if value is None else str(value) for value in (top.row(0) if top.height else ())]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if not names or repeated or "" in names:
        what = f"names columns twice: {repeated}" if repeated else "has unnamed columns" if names else "has no header"
        msg = f"The sheet of `{file}` {what}. Name each column in the first row, or read it with `header: false`."
        raise InputError(msg)
    return names


def _plainer(frame: pl.DataFrame, known: set[str]) -> pl.DataFrame:
    """Whole numbers as such, whole days as dates: a cell itself does not tell them apart."""
    changed = []
    for name, dtype in frame.schema.items():
        column = frame[name]
        if name in known or column.null_count() == frame.height:
            continue
        if dtype.is_float() and column.is_finite().all() and (column == column.round()).all():
            if (column.abs() <= EXACT).all():
                changed.append(pl.col(name).cast(pl.Int64))
        elif isinstance(dtype, pl.Datetime) and (column.dt.truncate("1d") == column).all():
            changed.append(pl.col(name).cast(pl.Date))
    return frame.with_columns(changed)
