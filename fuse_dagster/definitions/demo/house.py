"""What all assets of the demo have in common: who owns them, how they are tagged, how their columns are described."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from fuse_dagster.core.columns import Column
from fuse_dagster.orchestration.assets import KIND
from fuse_dagster.orchestration.declarations import Declaration, Lineage, write_declaration
from fuse_dagster.sql.lineage import column_lineage

OWNER = "team:data-platform"

FRESH_EVERY_DAY = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=26))
"""For what the schedule builds every morning: a warning two hours after a missed morning, a failure at noon."""


def layer(name: str, *, kinds: Collection[str] = (), **tags: str) -> dict[str, Any]:
    """Return the arguments that every asset of a layer takes.

    Args:
        name: The layer, which is also the asset group.
        kinds: Badges in the asset graph, besides that of Delta.
        tags: Further tags.
    """
    return {
        "group_name": name,
        "owners": [OWNER],
        "tags": {"layer": name, "domain": "aviation"} | tags,
        "kinds": {KIND, *kinds},
    }


def mirrored(connection: str) -> dict[str, Any]:
    """Return the arguments that every table takes which mirrors one of a database.

    Args:
        connection: The resource that it is read from.
    """
    return {
        "owners": [OWNER],
        "tags": {"layer": "bronze", "domain": "aviation", "source": connection},
        "io_manager_key": "loads",  # Spark writes no loads
    }


def described(*words: Mapping[str, str], keys: Collection[str] = (), **more: str) -> dict[str, Column]:
    """Describe the columns of a table.

    Args:
        words: Column to description; see `words`.
        keys: Columns of the business key.
        more: Further columns, by keyword.
    """
    every = {name: text for part in (*words, more) for name, text in part.items()}
    return {name: Column(description=text, key=name in keys) for name, text in every.items()}


def table_out(
    key: dg.AssetKey | Sequence[str],
    description: str,
    *,
    columns: Mapping[str, Column],
    lineage: Lineage,
    partition_by: str | None = None,
    **asset: Any,
) -> dg.AssetOut:
    """Declare one table of a multi-asset, as `delta_table` does for an asset of one.

    Args:
        key: The asset.
        description: What the table holds.
        columns: Its columns.
        lineage: Where they come from.
        partition_by: The column that decides which rows belong to a partition.
        asset: Further arguments of `dagster.AssetOut`.
    """
    declared = Declaration(partition_by=partition_by, columns=columns, lineage=lineage)
    return dg.AssetOut(key=key, description=description, metadata=write_declaration(declared), **asset)


def traced(sql: str, **tables: tuple[str, Collection[str]]) -> Lineage:
    """Read the column lineage of an asset that runs SQL from that SQL.

    Args:
        sql: The SELECT.
        tables: Name in the SQL -> the asset it stands for, and the asset's columns.
    """
    found = column_lineage(sql, {name: list(columns) for name, (_, columns) in tables.items()})
    return {column: [(tables[table][0], source) for table, source in sources] for column, sources in found.items()}
