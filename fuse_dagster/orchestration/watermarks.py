"""Whether a load's data are fresh, by how far its source was read rather than by when it ran."""

# Dagster reads the annotations of the function made here, so they are not postponed.
from datetime import UTC, datetime, timedelta

import dagster as dg

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.orchestration.declarations import sole_asset
from fuse_dagster.orchestration.loads import LAST_UPDATED


def watermark_check(
    asset: dg.AssetsDefinition,
    *,
    stale_after: timedelta,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
    name: str = "watermark_is_fresh",
) -> dg.AssetChecksDefinition:
    """Check how long ago the last event was that a load has seen.

    A run that finds nothing new is a success, so Dagster's own freshness, which goes by the run, stays green while a
    source has stopped. This check goes by the watermark of the last materialization.

    Args:
        asset: An asset made with `load_table`, whose source has a cursor of times.
        stale_after: How old the watermark may be.
        severity: `WARN` for what someone should look at, `ERROR` for what is wrong.
        name: Tells several checks of one asset apart.

    Raises:
        ConfigError: The time is not above zero, or `asset` makes several assets.

    Examples:
        >>> from fuse_dagster import load_table
        >>> from fuse_dagster.tables import Append
        >>> @load_table(mode=Append(), required_resource_keys={"shop"})
        ... def orders(context: dg.AssetExecutionContext):
        ...     return ...
        >>> check = watermark_check(orders, stale_after=timedelta(hours=2))
    """
    key, _ = sole_asset(asset, None)
    if stale_after <= timedelta(0):
        msg = f"`stale_after` is `{stale_after}`. Give a time above zero."
        raise ConfigError(msg)

    @dg.asset_check(asset=key, name=name, description=f"The watermark is at most {stale_after} old.")
    def look(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        event = context.instance.get_latest_materialization_event(key)
        found = None if event is None or event.asset_materialization is None else event.asset_materialization.metadata
        said = None if found is None else found.get(LAST_UPDATED)
        if said is None or not isinstance(said.value, float | int):
            return dg.AssetCheckResult(
                passed=False, severity=severity, description="The last materialization has no watermark that is a time."
            )
        at = datetime.fromtimestamp(said.value, tz=UTC)
        age = datetime.now(tz=UTC) - at
        return dg.AssetCheckResult(
            passed=age <= stale_after,
            severity=severity,
            description=f"The source was read up to {at:%Y-%m-%d %H:%M:%S} UTC, {age} ago.",
            metadata={"age_seconds": age.total_seconds(), "watermark": dg.MetadataValue.timestamp(at)},
        )

    return look
