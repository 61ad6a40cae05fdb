"""What must hold of the tables as a whole; of single rows, rules say it before the write."""

import dagster as dg
import polars as pl

from fuse_dagster.definitions.demo.gold import airports_by_country, route_punctuality


@dg.asset_check(asset=airports_by_country, description="Every moment of the spine meets airports.", blocking=True)
def as_of_finds_airports(airports_by_country: pl.DataFrame) -> dg.AssetCheckResult:
    """Fail where the join with the history matches nothing: the moment lies outside of what is known."""
    found = airports_by_country.group_by("as_of").agg(pl.col("airports").sum())
    empty = found.filter(pl.col("airports") == 0)["as_of"].dt.to_string().sort().to_list()
    return dg.AssetCheckResult(
        passed=not empty and not found.is_empty(),
        description=f"No airport holds at {', '.join(empty)}." if empty else None,
        metadata={"moments": found.height, "empty_moments": empty},
    )


@dg.asset_check(asset=route_punctuality, description="Every destination is an airport of today.")
def destinations_are_airports(route_punctuality: pl.DataFrame) -> dg.AssetCheckResult:
    """Warn about destinations that no airport, or more than one, has as its IATA code."""
    unmatched = route_punctuality.filter(pl.col("dest_name").is_null())
    return dg.AssetCheckResult(
        passed=unmatched.is_empty(),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"unmatched": sorted(unmatched["dest"].unique()), "flights": int(unmatched["flights"].sum())},
    )


CHECKS = [as_of_finds_airports, destinations_are_airports]
