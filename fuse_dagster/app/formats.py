"""Files of rows, opened lazily by the format that their name or content tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import polars as pl

from fuse_dagster.app.looking import NotThereError
from fuse_dagster.core.errors import ConfigError, TableNotFoundError
from fuse_dagster.core.naming import listing
from fuse_dagster.engines.local.reading import open_table
from fuse_dagster.tables.view import TableView, is_local, normal_uri


class Format(StrEnum):
    """How rows are stored."""

    DELTA = "delta"
    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"


_ENDS = {
    ".parquet": Format.PARQUET,
    ".pq": Format.PARQUET,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".json": Format.JSON,
    ".ndjson": Format.NDJSON,
    ".jsonl": Format.NDJSON,
}
_PACKED = (".gz", ".zst")
_INFERRED = 10_000  # rows from which the types of a text file are told


def guess(address: str, storage_options: Mapping[str, str]) -> Format:
    """Say in which format the rows at an address are.

    Args:
        address: URI or path: a file by its ending, a folder by its log or by the files in it.
        storage_options: As delta-rs takes them.

    Raises:
        NotThereError: There is no such file or folder on this machine, or nothing to read in it.
        TableNotFoundError: It is a folder in a store, and no Delta table.
        TableStateError: It is a Delta table that can't be opened.
        ConfigError: Its ending tells no format, or files of several formats lie in it.
    """
    uri = normal_uri(address)
    ending = _by_ending(uri)
    if is_local(uri):
        return _guess_here(Path(uri), ending, storage_options)
    if ending is not None:
        return ending
    try:
        open_table(uri, storage_options=storage_options)
    except TableNotFoundError as error:
        msg = f"There is no Delta table at `{uri}`, and its name tells no other format. Say it by `--format`."
        raise TableNotFoundError(msg) from error
    return Format.DELTA


def scan_files(
    address: str,
    layout: Format,
    *,
    types: Mapping[str, Any] | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> pl.LazyFrame:
    """Open a file, or all files of a folder, lazily.

    Args:
        address: URI or path.
        layout: Its format; not Delta.
        types: Column -> polars type, for text files: read so rather than guessed.
        storage_options: As delta-rs takes them.

    Returns:
        The rows; text files get the types that their first 10,000 rows have.
    """
    uri = normal_uri(address)
    options = TableView(uri, storage_options or {}, None).polars_options
    if layout is Format.JSON:
        return _scan_json(uri, options)
    files = str(Path(uri) / "**" / f"*.{layout}*") if is_local(uri) and Path(uri).is_dir() else uri
    if layout is Format.CSV:
        return _scan_csv(files, types or {}, options)
    if layout is Format.NDJSON:
        return pl.scan_ndjson(files, infer_schema_length=_INFERRED, storage_options=options)
    return pl.scan_parquet(files, storage_options=options)


def _guess_here(path: Path, ending: Format | None, storage_options: Mapping[str, str]) -> Format:
    if path.is_file():
        if ending is None:
            msg = f"The ending of `{path}` tells no format. Say it by `--format`; valid: {listing(_FILES)}."
            raise ConfigError(msg)
        return ending
    if not path.is_dir():
        msg = f"There is nothing at `{path}`. Correct the path."
        raise NotThereError(msg)
    if (path / "_delta_log").is_dir():
        open_table(path, storage_options=storage_options)
        return Format.DELTA
    found = {kind for file in path.rglob("*") if (kind := _by_ending(file.name)) is not None}
    if len(found) == 1:
        return found.pop()
    if not found:
        msg = f"There is no Delta table and no file to read in `{path}`. Valid: files that end in {listing(_ENDS)}."
        raise NotThereError(msg)
    msg = f"`{path}` holds files of several formats: {listing(sorted(found))}. Name a file, or choose by `--format`."
    raise ConfigError(msg)


def _by_ending(name: str) -> Format | None:
    bare = name.partition("?")[0].lower()
    for packed in _PACKED:
        bare = bare.removesuffix(packed)
    return next((kind for ending, kind in _ENDS.items() if bare.endswith(ending)), None)


def _scan_json(uri: str, options: dict[str, Any] | None) -> pl.LazyFrame:
    """An array of objects is read whole; objects one a line are read as they are needed."""
    if not is_local(uri) or Path(uri).is_dir():
        files = uri if not is_local(uri) else str(Path(uri) / "**" / "*.json*")
        return pl.scan_ndjson(files, infer_schema_length=_INFERRED, storage_options=options)
    with Path(uri).open("rb") as file:
        first = file.readline().strip()
    try:
        is_lines = isinstance(json.loads(first), dict)
    except ValueError:
        is_lines = False
    return pl.scan_ndjson(uri, infer_schema_length=_INFERRED) if is_lines else pl.read_json(uri).lazy()


def _scan_csv(files: str, types: Mapping[str, Any], options: dict[str, Any] | None) -> pl.LazyFrame:
    def opened(known: Mapping[str, Any]) -> pl.LazyFrame:
        return pl.scan_csv(
            files,
            separator="\t" if ".tsv" in files.lower() else ",",
            infer_schema_length=_INFERRED,
            try_parse_dates=True,
            schema_overrides=known,
            storage_options=options,
        )

    found = opened({})
    if not types:
        return found
    names = set(found.collect_schema().names())
    return opened({name: dtype for name, dtype in types.items() if name in names and not dtype.is_nested()})


_FILES = [kind for kind in Format if kind is not Format.DELTA]
