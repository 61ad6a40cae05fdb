"""Addresses of tables and files: URIs of stores and paths of this machine, and what polars needs to reach them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fuse_dagster.core.errors import ConfigError

_NUMBERS = frozenset({"max_retries"})
_OF_SPARK = re.compile(r"(dbfs|[a-z][a-z0-9+.-]+(?=:(?:/(?!/)|$))):")

_UNITS = {"ms": 1, "s": 1_000, "sec": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000}
_TIME = re.compile(rf"(\d+(?:\.\d+)?) ?({'|'.join(_UNITS)})")


def is_of_spark(address: str | Path) -> bool:
    """Whether an address is one that only Spark opens, as `dbfs:/a`."""
    return _OF_SPARK.match(str(address)) is not None


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
    """Storage options as polars takes them: numbers where delta-rs wants texts, and times under names of its own.

    Without them polars asks a store that is silent for long, whatever delta-rs was told.

    Examples:
        >>> polars_options({"retry_timeout": "60s", "max_retries": "5"})
        {'retry_timeout': '60s', 'max_retries': 5, 'retry_timeout_ms': 30000}
    """
    said: dict[str, Any] = {name: int(v) if name in _NUMBERS else v for name, v in storage_options.items()}
    length = _TIME.fullmatch(storage_options.get("retry_timeout", "").strip())
    if length:
        # polars opens the store anew after a first round of tries, and makes a second one.
        said["retry_timeout_ms"] = max(1, round(float(length[1]) * _UNITS[length[2]] / 2))
    return said or None
