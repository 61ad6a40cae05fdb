"""Reads a landed file as it is: every column text, every row with the name, hash and row number it came from."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from dataclasses import dataclass
from typing import Protocol

import polars as pl
import pyarrow as pa
from pyarrow import csv as arrow_csv

from fuse_dagster.connectors.base import CanList, CanRead, Entry
from fuse_dagster.core.errors import InputError

SUFFIX = r"\.csv(\.gz|\.zst)?"

COMPRESSION = {".gz": "gzip", ".zst": "zstd"}


class Landing(CanList, CanRead, Protocol):
    """Any connector that lists and reads files can be the landing folder."""


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What a supplier delivers into one folder, and which file names count.

    Attributes:
        folder: Folder below the landing folder.
        pattern: Regular expression of a whole file name; its group `part` is the partition key, if it has one.
        example: A file name as it should be, for messages.
    """

    folder: str
    pattern: str
    example: str

    def part_of(self, entry: Entry) -> str | None:
        """Return the partition key in a file's name, or None for a file that does not belong to this feed."""
        found = re.fullmatch(f"{self.folder}/{self.pattern}", entry.path)
        return found.groupdict().get("part", "") if found else None

    def find(self, landing: Landing, part: str = "") -> Entry:
        """Find the one file of a partition.

        Raises:
            InputError: There is no such file, or more than one.
        """
        found = [entry for entry in landing.list(self.folder) if self.part_of(entry) == part]
        if len(found) != 1:
            what = f"{len(found)} files" if found else "no file"
            names = "".join(f", `{entry.path}`" for entry in found)
            raise InputError(
                f"{what} for `{part or self.folder}` in the landing folder{names}; exactly one is needed, named like "
                f"`{self.folder}/{self.example}`. Deliver it, or remove the others, and re-run."
            )
        return found[0]

    def read(self, landing: Landing, part: str = "") -> pl.DataFrame:
        """Read the one file of a partition: `find`, then `read_landed`."""
        return read_landed(landing, self.find(landing, part))


AIRPORTS = Feed(folder="airports", pattern=rf"airports_(?P<part>\d{{8}}){SUFFIX}", example="airports_20260905.csv.zst")
FLIGHTS = Feed(
    folder="flights", pattern=rf"flights_(?P<part>\d{{4}}-\d{{2}}){SUFFIX}", example="flights_2013-01.csv.zst"
)
PLANES = Feed(folder="planes", pattern=rf"planes{SUFFIX}", example="planes.csv.zst")
CARRIERS = Feed(folder="carriers", pattern=rf"carriers{SUFFIX}", example="carriers.csv.zst")
WEATHER = Feed(folder="weather", pattern=rf"weather_2013{SUFFIX}", example="weather_2013.csv.zst")


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes, as hexadecimal text."""
    return hashlib.sha256(content).hexdigest()


def read_landed(landing: Landing, entry: Entry) -> pl.DataFrame:
    """Read one CSV file, plain or compressed with gzip or Zstandard, without interpreting a single value.

    Args:
        landing: Where the file lies.
        entry: The file.

    Returns:
        Its columns as text, then `_file_name`, `_file_size` (bytes), `_file_modified` (UTC), `_file_hash` (SHA-256) and
        `_row_number` (1 is the first row after the header). All of them come from the file, none from the clock.

    Raises:
        InputError: The file is empty, damaged or cut off, or a row does not have the columns of the header.
    """
    with landing.open(entry.path) as file:
        content = file.read()
    return _parse(content, entry).with_columns(
        pl.lit(entry.path).alias("_file_name"),
        pl.lit(len(content), pl.Int64).alias("_file_size"),
        pl.lit(entry.modified, pl.Datetime("us", "UTC")).alias("_file_modified"),
        pl.lit(sha256(content)).alias("_file_hash"),
        pl.int_range(1, pl.len() + 1, dtype=pl.Int64).alias("_row_number"),
    )


def _parse(content: bytes, entry: Entry) -> pl.DataFrame:
    """Read text columns with Arrow's reader: it refuses a row that lacks a field, where others fill it."""
    try:
        text = _unpacked(content, entry)
        header = next(csv.reader(io.StringIO(text.partition(b"\n")[0].decode())), [])
        table = arrow_csv.read_csv(
            pa.BufferReader(text),
            # One thread, so that the error for a bad row has its number.
            read_options=arrow_csv.ReadOptions(use_threads=False),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.large_string()), strings_can_be_null=False
            ),
        )
    except OSError as error:
        raise InputError(_refusal(entry, f"is damaged or cut off ({error})")) from error
    except ValueError as error:  # Arrow's own, and text that is not UTF-8
        what = "cannot be read as CSV" if content else "is empty: not even a header"
        raise InputError(_refusal(entry, f"{what} ({error})")) from error
    if table.num_rows == 0:
        raise InputError(_refusal(entry, "has a header and no rows"))
    return pl.DataFrame(table)


def _unpacked(content: bytes, entry: Entry) -> bytes:
    for suffix, compression in COMPRESSION.items():
        if entry.path.endswith(suffix):
            with pa.input_stream(pa.BufferReader(content), compression=compression) as stream:
                return bytes(stream.read())
    return content


def _refusal(entry: Entry, what: str) -> str:
    return (
        f"`{entry.path}` ({entry.size:,} bytes) {what}. Nothing was loaded from it; "
        "ask the supplier for the file again, put it in its place in the landing folder and re-run."
    )
