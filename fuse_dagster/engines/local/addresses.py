"""Addresses of tables and files: URIs of stores and paths of this machine, and what polars needs to reach them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fuse_dagster.core.errors import ConfigError

_NUMBERS = frozenset({"max_retries"})
_OF_SPARK = re.compile(r"(dbfs|[a-z][a-z0-9+.-]+(?=:(?:/(?!/)|$))):")


def refuse_addresses_of_spark(table: str | Path) -> None:
    """Refuse `dbfs:/...` and its like, which delta-rs takes for the name of a local folder, and would make it.

    Raises:
        ConfigError: It is an address with a scheme and without `//`, or one of `dbfs`.
    """
    scheme = _OF_SPARK.match(str(table))
    if scheme is None:
        return
    msg = f"`{table}` is an address that only Spark opens (`{scheme[1]}:`). Nothing was read or written."
    if scheme[1] != "dbfs":
        raise ConfigError(f"{msg} Give a path of this machine, or an address with `://` such as `s3://` or `abfss://`.")
    raise ConfigError(
        f"{msg} Commits need a store that takes a file only where there is none of that name, and files of a "
        "Databricks workspace are none, neither by its API nor as a cluster mounts them: two writers would lose each "
        "other's rows. Keep the table in the cloud's own storage (`adls`, `s3`, `gcs`), let Spark on Databricks write "
        "it as a table of Unity Catalog, or develop with a `stand_in` folder."
    )


def normal_uri(address: str | Path) -> str:
    """A URI as it is, without a trailing slash; a local path made absolute, `file://` taken off.

    Raises:
        ConfigError: It is an address that only Spark opens, as `dbfs:/a`.
    """
    refuse_addresses_of_spark(address)
    text = str(address).removeprefix("file://").rstrip("/")
    return text if "://" in text else str(Path(text).absolute())


def is_local(uri: str) -> bool:
    """Whether it is a path of this machine, rather than a URI of a store."""
    return "://" not in uri


def polars_options(storage_options: Mapping[str, str]) -> dict[str, Any] | None:
    """Storage options as polars takes them: where delta-rs wants a text, it wants a number."""
    return {name: int(v) if name in _NUMBERS else v for name, v in storage_options.items()} or None
