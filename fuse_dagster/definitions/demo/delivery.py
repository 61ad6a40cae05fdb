"""The supplier: copies the shipped files into the landing folder, the way a careful supplier does."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

SHIPPED = Path(__file__).parent.parent / "data"


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """One file of `definitions/data`, as its `manifest.json` describes it.

    Attributes:
        file: Path below the data folder, and below the landing folder once delivered.
        rows: Rows in it, header not counted.
        bytes: Compressed size.
        modified: When the supplier wrote it (UTC).
    """

    file: str
    rows: int
    bytes: int
    modified: datetime


def shipped() -> Iterator[Shipped]:
    """List the files that the demo brings along, in the order of the manifest."""
    for entry in json.loads((SHIPPED / "manifest.json").read_text(encoding="utf-8")):
        yield Shipped(
            file=entry["file"],
            rows=entry["rows"],
            bytes=entry["bytes"],
            modified=datetime.fromisoformat(entry["modified"]),
        )


def deliver(landing: Path) -> int:
    """Copy every shipped file that is not in the landing folder yet.

    Each file arrives whole: it is written under a name that no reader looks at and renamed when complete. It keeps the
    supplier's time of modification, which bronze stores, so that two deliveries of one file load as the same rows.

    Args:
        landing: The landing folder, created where absent.

    Returns:
        How many files were copied; 0 when everything was there.
    """
    copied = 0
    for item in shipped():
        target = landing / item.file
        if target.exists() and target.stat().st_size == item.bytes:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        arriving = target.with_name(f".{target.name}.part")
        shutil.copyfile(SHIPPED / item.file, arriving)
        os.utime(arriving, (item.modified.timestamp(), item.modified.timestamp()))
        arriving.replace(target)
        copied += 1
    return copied
