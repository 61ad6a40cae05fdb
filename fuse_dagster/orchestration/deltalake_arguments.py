"""Arguments of dagster-deltalake's IO managers, taken over, so that its users move by changing an import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fuse_dagster.connectors.deltalake_configs import StorageConfig, connector_of
from fuse_dagster.orchestration.declarations import raise_together

SCHEMA = "public"
"""Folder of the tables whose keys are one word."""

_BY_ASSET = (
    "`{}` is said of assets here, each for itself: by `@delta_table(mode=...)`, or by `write` in its metadata. Valid "
    "for all: `overwrite`."
)
_REFUSED = {
    "schema": "It puts assets of every prefix into one folder, where two of one name overwrite each other. Leave it "
    "out, and give the assets `key_prefix=[{!r}]`; the tables stay where they are.",
    "table_config": "dagster-deltalake never applied it. Set the table's properties once, with `DeltaTable.alter`.",
    "custom_metadata": "Commits carry the metadata of this package. Leave it out; runs are found by what they report.",
    "writer_properties": "Files are written by settings that were measured. Leave it out.",
}
_OWN = ("root_uri", "storage_options", "client_options", "mode", "overwrite_schema", "writer_engine", *_REFUSED)
"""`overwrite_schema` and `writer_engine` are taken and left out: a table replaced whole gets the columns that come."""


def taken_over(data: Mapping[str, Any]) -> dict[str, Any]:
    """Say the arguments of an IO manager in our own words.

    Args:
        data: Keyword arguments: `lake`, which may be a storage of dagster-deltalake; or its IO manager's own, which are
            `root_uri` and `storage_options`, with the rest.

    Returns:
        The arguments with a connector as `lake`. Of `root_uri`, tables lie where dagster-deltalake left them.

    Raises:
        ConfigError: An argument has no counterpart: all of them at once, with what to do instead.
    """
    theirs = {name: data[name] for name in _OWN if name in data}
    ours = {name: value for name, value in data.items() if name not in theirs}
    if not theirs:
        if isinstance(lake := ours.get("lake"), StorageConfig):
            ours["lake"] = connector_of(lake)
        return ours
    problems = [f"`{name}`: {_REFUSED[name].format(theirs[name])}" for name in _REFUSED if theirs.get(name)]
    mode = getattr(theirs.get("mode"), "value", theirs.get("mode")) or "overwrite"
    if mode != "overwrite":
        problems.append(f"`mode`: {_BY_ASSET.format(mode)}")
    if "lake" in ours:
        problems.append("`lake`: `root_uri` and `storage_options` say where tables lie. Give these, or `lake`.")
    if "storage_options" not in theirs:
        problems.append("`storage_options`: It belongs to `root_uri`. Give it, or `lake` in place of both.")
    raise_together(problems, "arguments of dagster-deltalake")
    lake = connector_of(
        theirs["storage_options"],
        theirs.get("root_uri", ""),
        client_options=theirs.get("client_options"),
        schema_folder=SCHEMA,
    )
    return {**ours, "lake": lake}
