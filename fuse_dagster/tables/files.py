"""Rows of a table's data files with the place they lie at, read column by column as a plan needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
from polars.exceptions import PolarsError

from fuse_dagster.core.errors import FuseError, TableStateError, first_line
from fuse_dagster.core.store_failures import store_error
from fuse_dagster.tables.rows import ROW
from fuse_dagster.tables.view import TableView

MOST_KEPT = 3_000_000
"""Rows above which a column that was compared is let go: memory counts for more than reading it again."""


@dataclass(frozen=True, slots=True)
class FileRows:
    """Rows of some files of a table, numbered over all of them. Nothing is read before it is asked for.

    Attributes:
        view: The opened table.
        schema: The table's columns and types; columns that older files lack read as null.
        paths: The files, as the log names them.
        starts: Number of each file's first row, ascending, one per path, and the number of all rows last.
    """

    view: TableView
    schema: Mapping[str, pl.DataType]
    paths: tuple[str, ...]
    starts: tuple[int, ...]
    _kept: dict[str, pl.Series] = field(default_factory=dict, repr=False, compare=False)

    @property
    def uri(self) -> str:
        """The table, for messages."""
        return self.view.uri

    @property
    def height(self) -> int:
        """Rows of all files together."""
        return self.starts[-1]

    @property
    def frame(self) -> pl.DataFrame:
        """All columns of all rows, and `ROW`."""
        return self.columns([*self.schema])

    def columns(self, names: Sequence[str]) -> pl.DataFrame:
        """Some columns of all rows, and `ROW`.

        Raises:
            TableStateError: A file is gone, damaged, or not of the table's types.
        """
        missing = [name for name in names if name not in self._kept]
        if missing:
            schema = {name: self.schema[name] for name in missing}
            parts = [self._read(number, missing) for number in range(len(self.paths))]
            found = pl.concat(parts) if parts else pl.DataFrame(schema=schema)
            self._kept.update({name: found[name] for name in missing})
        chosen = pl.DataFrame([self._kept[name] for name in names])
        return chosen.with_columns(pl.int_range(0, self.height, dtype=pl.Int64, eager=True).alias(ROW))

    def column(self, name: str) -> pl.Series:
        """One column of all rows, by number; of many rows it is not kept, though their files may be read again."""
        if name in self._kept:
            return self._kept[name]
        parts = [self._read(number, [name])[name] for number in range(len(self.paths))]
        found = pl.concat(parts) if parts else pl.Series(name, [], dtype=self.schema[name])
        if self.height <= MOST_KEPT:
            self._kept[name] = found
        return found

    def holding(self, numbers: Iterable[pl.Series]) -> list[int]:
        """Which files hold these rows, ascending.

        Args:
            numbers: Series of row numbers.
        """
        bounds = pl.Series(self.starts, dtype=pl.Int64)
        hit: set[int] = set()
        for some in numbers:
            if len(some):
                hit |= set((bounds.search_sorted(some.cast(pl.Int64).unique(), side="right") - 1).unique().to_list())
        return sorted(hit)

    def file(self, number: int) -> pl.DataFrame:
        """All columns of one file, and `ROW`."""
        start, end = self.starts[number], self.starts[number + 1]
        rows = pl.int_range(start, end, dtype=pl.Int64, eager=True).alias(ROW)
        missing = [name for name in self.schema if name not in self._kept]
        found = self._read(number, missing) if missing else pl.DataFrame()
        parts = [found[name] if name in missing else self._kept[name][start:end] for name in self.schema]
        return pl.DataFrame(parts).with_columns(rows)

    def part(self, path: str, where: pl.Expr | None = None, names: Sequence[str] | None = None) -> pl.DataFrame:
        """Rows of one file, without numbers; others are not held in memory.

        Args:
            path: The file, as the log names it.
            where: Which rows; all by default.
            names: Which columns; all by default.

        Raises:
            TableStateError: The file is gone, damaged, or not of the table's types.
        """
        schema = {name: self.schema[name] for name in names or self.schema}
        return _read(self.view, path, schema, where)

    def files_with(self, numbers: Sequence[pl.Series]) -> Iterator[pl.DataFrame]:
        """All rows of each file that holds one of these, file by file."""
        return (self.file(number) for number in self.holding(numbers))

    def _read(self, number: int, names: Sequence[str]) -> pl.DataFrame:
        found = _read(self.view, self.paths[number], {name: self.schema[name] for name in names})
        expected = self.starts[number + 1] - self.starts[number]
        if found.height != expected:
            raise TableStateError(
                f"data file `{self.paths[number]}` of `{self.view.uri}` holds {found.height} rows, but the log says "
                f"{expected}; nothing was written. Somebody replaced the file: restore it"
            )
        return found


def read_rows(view: TableView, files: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> FileRows:
    """Number the rows of some files; they are read when they are asked for.

    Args:
        view: The opened table.
        files: Rows of `view.files()` to read.
        schema: The table's columns and types, or those it will have.

    Raises:
        TableStateError: A file without statistics is gone or damaged.
    """
    starts = [0]
    for path, said in zip(files["path"], files["num_records"], strict=True):
        starts.append(starts[-1] + (int(said) if said is not None else _count(view, path)))
    return FileRows(view, schema, tuple(files["path"]), tuple(starts))


def _count(view: TableView, path: str) -> int:
    try:
        return int(_scan(view, path).select(pl.len()).collect().item())
    except (PolarsError, OSError) as error:
        raise _unreadable(view, path, error) from error


def _read(view: TableView, path: str, schema: Mapping[str, pl.DataType], where: pl.Expr | None = None) -> pl.DataFrame:
    try:
        found = _scan(view, path)
        have = found.collect_schema()
        columns = [
            (pl.col(name) if have[name] == dtype else pl.col(name).cast(dtype))
            if name in have
            else pl.repeat(None, pl.len(), dtype=dtype).alias(name)
            for name, dtype in schema.items()
        ]
        chosen = found.select(columns)
        return (chosen if where is None else chosen.filter(where)).collect()
    except (PolarsError, OSError) as error:
        raise _unreadable(view, path, error) from error


def _scan(view: TableView, path: str) -> pl.LazyFrame:
    return pl.scan_parquet(view.locate(path), glob=False, storage_options=view.polars_options)


def _unreadable(view: TableView, path: str, error: Exception) -> FuseError:
    return store_error(error, view.uri) or TableStateError(
        f"data file `{path}` of `{view.uri}` cannot be read: {first_line(error)}. Nothing was written; restore "
        "the file, or an older version of the table"
    )
