"""What `fuse doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What a finding means."""

    OK = "ok"
    NOTE = "note"
    """Something is absent that only some need."""
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: What it is.
        status: Whether it is as it should be.
        found: What is there.
        do: What to do about it; "" where it is well.
    """

    what: str
    status: Status
    found: str
    do: str = ""
