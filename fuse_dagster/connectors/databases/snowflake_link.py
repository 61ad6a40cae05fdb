"""How rows get into Snowflake: Parquet files in a stage of the session, and one COPY that takes them in."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.databases.fitting import Fit, fitted, schema_of
from fuse_dagster.connectors.databases.links import Link
from fuse_dagster.core.errors import InputError, StoreError

if TYPE_CHECKING:
    import pyarrow as pa

FILE_BYTES = 128 * 1024 * 1024
"""Bytes of Arrow data that make one file; Snowflake takes several in at once."""
_PARSED = {"variant": "", "object": "::OBJECT", "array": "::ARRAY"}
_FORMAT = "TYPE = PARQUET BINARY_AS_TEXT = FALSE USE_LOGICAL_TYPE = TRUE"


class SnowflakeLink(Link):
    """A session that loads by COPY.

    Each CREATE commits what is open, so that all of them come before the first row.
    """

    def begin(self) -> None:
        """Make the stage, which goes with the session."""
        self.stage = f"_FUSE_{secrets.token_hex(8).upper()}"
        self.run(f"CREATE TEMPORARY STAGE {self.quoted(self.stage)}")

    def load(self, parts: Sequence[str], batches: Iterator[pa.RecordBatch], fits: Sequence[Fit]) -> int:
        """Append batches; a file of them at a time lies on the disk here.

        Raises:
            InputError: A column is of a type that rows can't be loaded into.
            StoreError: Another number of rows arrived than was sent.
        """
        values = ", ".join(_value(number, fit) for number, fit in enumerate(fits, start=1))
        folder = f"@{self.quoted(self.stage)}/{secrets.token_hex(8)}"
        total = 0
        with TemporaryDirectory(prefix="fuse_") as place:
            for file, rows in _files(Path(place), fitted(batches, fits), fits):
                # Of the file's path here, which may hold any sign, nothing is in the statement.
                with closing(self.connection.cursor()) as cursor, file.open("rb") as content:
                    text = f"PUT 'file://{file.name}' {folder} AUTO_COMPRESS = FALSE OVERWRITE = TRUE"
                    cursor.execute(text, file_stream=content)
                file.unlink()
                total += rows
        if total:
            names = self.listed([fit.name for fit in fits])
            self._copy(
                f"COPY INTO {self.path(parts)} ({names}) FROM (SELECT {values} FROM {folder}) "  # noqa: S608 - quoted
                f"FILE_FORMAT = ({_FORMAT}) ON_ERROR = ABORT_STATEMENT",
                total,
            )
        return total

    def drop(self, table: str) -> None:
        """Leave a temporary table to the end of the session: DROP would commit."""

    def _copy(self, text: str, sent: int) -> None:
        with closing(self.connection.cursor()) as cursor:
            cursor.execute(text)
            names = [column.name.lower() for column in cursor.description]
            rows = cursor.fetchall()
        arrived = sum(int(row[names.index("rows_loaded")]) for row in rows) if "rows_loaded" in names else 0
        if arrived != sent:
            raise StoreError(
                f"Snowflake took {arrived} of {sent} rows. Nothing is committed. Run this again, and look at "
                "COPY_HISTORY where it happens twice."
            )

    def _execute(self, cursor: Any, text: str, values: Sequence[Any]) -> None:
        cursor.execute(text, list(values) or None)


def _value(number: int, fit: Fit) -> str:
    """The SQL that makes a column's value of that in the file, whose columns have names of ours."""
    kind = fit.word.partition("(")[0].strip().lower()
    if kind in _PARSED:
        return f"PARSE_JSON($1:c{number}::TEXT){_PARSED[kind]}"
    if fit.kind.family == "other":
        raise InputError(
            f"The column `{fit.name}` of the table is of the type {fit.word}, into which rows are not loaded. Leave it "
            "out, or write to a column of text and convert it in Snowflake."
        )
    return f"$1:c{number}::{fit.word}"


def _files(place: Path, batches: Iterator[pa.RecordBatch], fits: Sequence[Fit]) -> Iterator[tuple[Path, int]]:
    """Parquet files with some rows each, and how many."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    given = schema_of(fits)
    schema = pa.schema([field.with_name(f"c{number}") for number, field in enumerate(given, start=1)])
    writer, rows, size, number = None, 0, 0, 0
    file = place / "0.parquet"
    try:
        for batch in batches:
            writer = writer or pq.ParquetWriter(file, schema, compression="snappy")
            writer.write_batch(batch.rename_columns(schema.names))
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if size >= FILE_BYTES:
                writer.close()
                yield file, rows
                writer, rows, size, number = None, 0, 0, number + 1
                file = place / f"{number}.parquet"
    finally:
        if writer is not None:
            writer.close()
    if rows:
        yield file, rows


__all__ = ["SnowflakeLink"]
