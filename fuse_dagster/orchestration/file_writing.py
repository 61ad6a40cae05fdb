"""Which frame goes to which file of an asset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dagster import AssetKey

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import listing
from fuse_dagster.orchestration.file_names import key_of_part, part_of_name
from fuse_dagster.orchestration.partitions import split_key

if TYPE_CHECKING:
    from dagster import OutputContext, PartitionsDefinition


def frames_by_partition(name: str, keys: Sequence[str], data: Any) -> Mapping[str, Any]:
    """Partition -> its frame; "" for an asset without partitions.

    Args:
        name: The asset, for messages.
        keys: The partitions being written; empty without partitioning.
        data: What the asset returned: a frame, or a map from partition key to frame.

    Raises:
        ConfigError: A map is returned where there are no partitions, or for others; or one frame for several.
    """
    if not isinstance(data, Mapping):
        if len(keys) > 1:
            msg = (
                f"`{name}` returned one frame for {len(keys)} partitions, and each is a file of its own. Return a map "
                "from partition key to frame, or run one partition at a time."
            )
            raise ConfigError(msg)
        return {keys[0] if keys else "": data}
    if not keys:
        msg = f"`{name}` returned a map, but has no partitions, so it is one file. Return one frame."
        raise ConfigError(msg)
    if set(data) != set(keys):
        msg = (
            f"`{name}` returned frames for {listing(sorted(data))}, but the partitions being written are "
            f"{listing(keys)}. Return one frame for each of them."
        )
        raise ConfigError(msg)
    return {key: data[key] for key in keys}


def refuse_shared_file(
    context: OutputContext, asset: AssetKey, definition: PartitionsDefinition[str] | None, keys: Sequence[str]
) -> None:
    """Refuse a file that is also that of another asset: partition `b` of `a`, and the asset `a/b`.

    Args:
        context: Its instance knows which assets and partitions were written.
        asset: The asset being written.
        definition: Its partitioning.
        keys: The partitions being written.

    Raises:
        ConfigError: The instance knows the other one.
    """
    instance, path = context.step_context.instance, list(asset.path)
    for key in keys:
        assert definition is not None
        other = AssetKey([*path, *(part_of_name(part) for part in split_key(definition, key))])
        if instance.has_asset_key(other):
            raise _shared(f"The partition `{key}` of `{asset.to_user_string()}`", other)
    for length in range(1, len(path)):
        owner = AssetKey(path[:length])
        # Keys of several dimensions are joined so in Dagster.
        inner = "|".join(key_of_part(part) for part in path[length:])
        if inner in instance.get_materialized_partitions(owner):
            raise _shared(f"The asset `{asset.to_user_string()}`", owner)


def _shared(what: str, other: AssetKey) -> ConfigError:
    return ConfigError(
        f"{what} would be written to a file of `{other.to_user_string()}`, and replace it. Give one of the assets "
        "another key prefix."
    )
