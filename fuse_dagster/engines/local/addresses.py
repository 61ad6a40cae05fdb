"""Addresses of tables and files: URIs of stores and paths of this machine, and what polars needs to reach them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NUMBERS = frozenset({"max_retries"})


def normal_uri(address: str | Path) -> str:
    """A URI as it is, without a trailing slash; a local path made absolute, `file://` taken off."""
    text = str(address).removeprefix("file://").rstrip("/")
    return text if "://" in text else str(Path(text).absolute())


def is_local(uri: str) -> bool:
    """Whether it is a path of this machine, rather than a URI of a store."""
    return "://" not in uri


def polars_options(storage_options: Mapping[str, str]) -> dict[str, Any] | None:
    """Storage options as polars takes them: where delta-rs wants a text, it wants a number."""
    return {name: int(v) if name in _NUMBERS else v for name, v in storage_options.items()} or None
