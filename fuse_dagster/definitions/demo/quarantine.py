"""Puts impossible rows aside, with their reasons, before the good ones are written; no row is lost in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import polars as pl

from fuse_dagster.core.errors import InputError
from fuse_dagster.definitions.demo.parsing import PROVENANCE
from fuse_dagster.quality.rules import Rule, split

NOTHING_REJECTED = "nothing_rejected"
"""Name of the check that warns where rows were put aside."""


def without_copies(rows: pl.DataFrame) -> pl.DataFrame:
    """Keep the first of rows that agree in everything but where they stood in the file."""
    said = [name for name in rows.columns if name not in PROVENANCE]
    return rows.unique(said, keep="first", maintain_order=True)


def sort_out(
    rows: pl.DataFrame, rules: Sequence[Rule], *, asset: dg.AssetKey, drop: Sequence[str] = ()
) -> Iterator[dg.Output[pl.DataFrame] | dg.AssetCheckResult]:
    """Split a batch into the rows to keep and the rows to put aside.

    Args:
        rows: The batch, typed.
        rules: What must hold of every row.
        asset: The asset of the rows to keep, for its check.
        drop: Columns that only the quarantine keeps.

    Yields:
        The output `quarantine`, which is thereby written first; the output `valid`; and the result of the check, a
        warning where something was rejected.

    Raises:
        InputError: Valid, rejected and duplicate rows together are not the batch: nothing may be written then.
    """
    distinct = without_copies(rows)
    parts = split(distinct, rules)
    counts = {
        "rows_in": rows.height,
        "rejected": parts.rejected.height,
        "duplicates": rows.height - distinct.height,
    }
    if parts.valid.height + counts["rejected"] + counts["duplicates"] != rows.height:
        said = f"{parts.valid.height} valid rows and {counts}"
        raise InputError(
            f"rows were lost or made while sorting out `{asset.to_user_string()}`: {said}; nothing was written"
        )
    broken: dict[str, Any] = {rule: count for rule, count in parts.violations.items() if count}
    yield dg.Output(parts.rejected, output_name="quarantine")
    yield dg.Output(parts.valid.drop(drop), output_name="valid", metadata={**counts, "violations": broken})
    yield dg.AssetCheckResult(
        check_name=NOTHING_REJECTED,
        asset_key=asset,
        passed=parts.rejected.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        description=", ".join(f"{rule}: {count}" for rule, count in broken.items()) or None,
        metadata={**counts, "violations": broken},
    )
