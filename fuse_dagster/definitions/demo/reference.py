"""What a plane and a carrier are: small tables that change by whole rows."""

from __future__ import annotations

import polars as pl

from fuse_dagster.definitions.demo.parsing import PROVENANCE, typed

MISSING = ("", "NA")

PLANE: dict[str, type[pl.DataType] | pl.DataType] = {
    "tailnum": pl.String,
    "year": pl.Int32,
    "type": pl.String,
    "manufacturer": pl.String,
    "model": pl.String,
    "engines": pl.Int32,
    "seats": pl.Int32,
    "speed": pl.Int32,
    "engine": pl.String,
}

CARRIER: dict[str, type[pl.DataType] | pl.DataType] = {"carrier": pl.String, "name": pl.String}


def typed_planes(raw: pl.DataFrame) -> pl.DataFrame:
    """Type the planes. Where a row stood is left out: a new file with the same planes changes nothing."""
    return typed(raw, PLANE, missing=MISSING).drop(PROVENANCE)


def typed_carriers(raw: pl.DataFrame) -> pl.DataFrame:
    """Type the carriers, like the planes."""
    return typed(raw, CARRIER, missing=MISSING).drop(PROVENANCE)
