"""Expectations as Dagster asset checks, over the table as it lies on disk."""

# Dagster reads the annotations of the function made here, so they are not postponed.
from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.orchestration.declarations import raise_together, sole_asset
from fuse_dagster.orchestration.metadata import preview
from fuse_dagster.quality.expectations import Expectation, Outcome, history_invariants


def table_checks(
    asset: dg.AssetsDefinition,
    *expectations: Expectation,
    key: dg.AssetKey | None = None,
    blocking: bool = False,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
    name: str = "checks",
    pool: str | None = None,
) -> dg.AssetChecksDefinition:
    """Check an asset's table after each materialization, whole: all partitions of it, all versions of a history.

    Each expectation is a check of its own in the UI, with the number of rows that break it and ten of them; masked
    columns are masked. They share one step, which reads the table through the asset's IO manager.

    Args:
        asset: The asset.
        *expectations: What must hold; see `fuse_dagster.quality.expectations`.
        key: Which asset of a multi-asset; not needed for one.
        blocking: Whether assets downstream wait for these checks, and don't run where one fails.
        severity: `WARN` for what someone should look at, `ERROR` for what is wrong.
        name: Tells several calls for one asset apart.
        pool: Concurrency pool of the step.

    Returns:
        The checks, for `Definitions(asset_checks=[...])`.

    Raises:
        ConfigError: There is no expectation, two have one name, or `asset` makes several assets and `key` names none
            of them.

    Examples:
        >>> from fuse_dagster import delta_table
        >>> from fuse_dagster.quality.expectations import not_null, unique
        >>> @delta_table()
        ... def planes() -> pl.DataFrame:
        ...     return pl.DataFrame({"tailnum": ["N10156"]})
        >>> checks = table_checks(planes, not_null("tailnum"), unique("tailnum"))
        >>> sorted(spec.name for spec in checks.check_specs)
        ['not_null_tailnum', 'unique_tailnum']
    """
    chosen, declared = sole_asset(asset, key)
    by_name = {expectation.name: expectation for expectation in expectations}
    problems = [] if expectations else ["There is no expectation. Give at least one."]
    if len(by_name) < len(expectations):
        problems.append("Two expectations have one name. A check needs a name of its own.")
    raise_together(problems, f"checks of `{chosen.to_user_string()}`")
    specs = [
        dg.AssetCheckSpec(each.name, asset=chosen, description=each.description, blocking=blocking)
        for each in expectations
    ]

    @dg.multi_asset_check(
        name="__".join([*chosen.path, name]).replace("-", "_").replace(".", "_"),
        specs=specs,
        ins={"table": dg.AssetIn(chosen)},
        can_subset=True,
        pool=pool,
    )
    def look(context: dg.AssetCheckExecutionContext, table: pl.LazyFrame) -> Iterator[dg.AssetCheckResult]:
        for check in sorted(context.selected_asset_check_keys):
            outcome = by_name[check.name].evaluate(table)
            yield dg.AssetCheckResult(
                asset_key=chosen,
                check_name=check.name,
                passed=outcome.passed,
                severity=severity,
                description=outcome.said,
                metadata=_described(outcome, declared.masked),
            )

    return look


def history_checks(
    asset: dg.AssetsDefinition, *, blocking: bool = False, name: str = "history_checks", pool: str | None = None
) -> dg.AssetChecksDefinition:
    """Check the invariants of a history: one open version per key, no overlap, nothing empty, neighbours that differ.

    `tables.write` keeps them; these checks tell when somebody else wrote to the table.

    Args:
        asset: An asset made with `history_table`.
        blocking: Whether assets downstream wait for these checks, and don't run where one fails.
        name: Tells several calls for one asset apart.
        pool: Concurrency pool of the step.

    Raises:
        ConfigError: The asset is no history.
    """
    key, declared = sole_asset(asset)
    if declared.history is None:
        msg = (
            f"`{key.to_user_string()}` is no history, so it has no versions to check. Declare it with `history_table`."
        )
        raise ConfigError(msg)
    return table_checks(asset, *history_invariants(declared.history), blocking=blocking, name=name, pool=pool)


def _described(outcome: Outcome, masked: frozenset[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": outcome.rows, "violations": outcome.violations}
    if outcome.samples.height:
        found["samples"] = dg.MetadataValue.md(preview(outcome.samples, masked))
    return found
