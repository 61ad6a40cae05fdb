"""Files as the batches of a history, each with the time that its name says."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from fuse_dagster.core.errors import ConfigError, InputError, first_line
from fuse_dagster.core.store_failures import store_error
from fuse_dagster.engines.local.addresses import is_local, normal_uri
from fuse_dagster.engines.local.files import Format, guess, scan_files
from fuse_dagster.engines.local.reading import scan

_CLOCK = re.compile(r"%[HIcXf]")


def time_in_name(path: str, layout: str) -> dt.date:
    """The time that a file's name says.

    Args:
        path: Path or URI of the file.
        layout: How names are made, as `airports_%Y%m%d.csv`: words of `strptime`.

    Returns:
        A date where the layout has no clock, else a time: aware where it has a zone.

    Raises:
        ConfigError: The name is made otherwise.

    Examples:
        >>> time_in_name("landing/airports_20240119.csv", "airports_%Y%m%d.csv")
        datetime.date(2024, 1, 19)
    """
    name = PurePosixPath(path.rstrip("/")).name
    try:
        found = dt.datetime.strptime(name, layout)  # noqa: DTZ007 - whoever applies it asks for a zone
    except ValueError as error:
        msg = f"The name `{name}` is not made as `{layout}`. Valid: words of strptime, as `airports_%Y%m%d.csv`."
        raise ConfigError(msg) from error
    return found if _CLOCK.search(layout) else found.date()


def timed_batches(
    paths: Iterable[str],
    *,
    time_format: str | None,
    types: Mapping[str, pl.DataType],
    storage_options: Mapping[str, str],
) -> Iterator[Any]:
    """Read files one after the other, as `rebuild` takes them.

    Args:
        paths: Paths or URIs of Delta tables or files.
        time_format: How their names say their time; None where a column does.
        types: Column -> type that text files are read with, where their column is there.
        storage_options: As delta-rs takes them.

    Yields:
        Frames, in pairs with their time where names say it.

    Raises:
        ConfigError: A name says no time, or no format.
        StoreError: The store refuses; or `StoreUnavailableError`, where it can't be reached.
        InputError: A file can't be read.
    """
    for path in paths:
        at = None if time_format is None else time_in_name(path, time_format)
        layout = guess(path, storage_options)
        try:
            rows = (
                scan(path, storage_options=storage_options)
                if layout is Format.DELTA
                else scan_files(path, layout, types=types, storage_options=storage_options)
            ).collect()
        except (PolarsError, OSError) as error:
            refused = None if is_local(normal_uri(path)) else store_error(error, path)
            if refused is not None:
                raise refused from error
            msg = f"The batch `{path}` can't be read as {layout}: {first_line(error)}. Nothing was written."
            raise InputError(msg) from error
        yield rows if at is None else (at, rows)
