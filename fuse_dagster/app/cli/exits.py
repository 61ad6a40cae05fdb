"""Exit codes: one per kind of error, so that a script can tell them apart without reading."""

from __future__ import annotations

from typing import Final

from fuse_dagster.app.envelope import Kind

OK: Final = 0
INTERRUPTED: Final = 130

CODES: Final = {
    Kind.FAILED: 1,
    Kind.USAGE: 2,
    Kind.CONFIG: 3,
    Kind.INPUT: 4,
    Kind.NOT_FOUND: 5,
    Kind.TRANSIENT: 6,
    Kind.STATE: 7,
    Kind.OUTCOME_UNKNOWN: 8,
    Kind.MISSING_EXTRA: 9,
    Kind.SECRET: 10,
    Kind.STORE: 11,
}
"""Kind of error -> exit code."""
