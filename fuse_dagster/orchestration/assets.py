"""Asset decorators: the body is a function that returns a frame; what becomes of the frame is declared beside it."""

# Dagster reads the annotations of what is decorated, not of these functions, so postponing them is safe.
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import dagster as dg

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.orchestration.declarations import (
    COLUMNS,
    LINEAGE,
    PARTITION_BY,
    PARTITION_EXPR,
    WRITE,
    Declaration,
    raise_together,
    write_declaration,
)
from fuse_dagster.orchestration.effective import EffectiveFunction, effective_problems, name_function
from fuse_dagster.orchestration.partitions import dimensions
from fuse_dagster.tables import History, Overwrite, WriteMode

if TYPE_CHECKING:
    from fuse_dagster.core.columns import Column
    from fuse_dagster.orchestration.declarations import Lineage, PartitionBy

KIND = "deltalake"
_MOST_KINDS = 3


class CommonOptions(TypedDict, total=False):
    """What `dagster.asset` takes besides a name, and these decorators hand on."""

    key: Any
    key_prefix: Any
    ins: Mapping[str, dg.AssetIn] | None
    deps: Any
    metadata: Mapping[str, Any] | None
    tags: Mapping[str, str] | None
    description: str | None
    config_schema: Any
    required_resource_keys: Any
    resource_defs: Mapping[str, object] | None
    hooks: Any
    io_manager_def: object | None
    io_manager_key: str | None
    dagster_type: dg.DagsterType | None
    partitions_def: dg.PartitionsDefinition[str] | None
    op_tags: Mapping[str, Any] | None
    group_name: str | None
    output_required: bool
    automation_condition: Any
    freshness_policy: Any
    backfill_policy: dg.BackfillPolicy | None
    retry_policy: dg.RetryPolicy | None
    code_version: str | None
    check_specs: Sequence[dg.AssetCheckSpec] | None
    owners: Sequence[str] | None
    kinds: Any
    pool: str | None


class AssetOptions(CommonOptions, total=False):
    """What `dagster.asset` takes, and these decorators hand on."""

    name: str | None


class HistoryOptions(AssetOptions, total=False):
    """What `fuse_dagster.tables.History` takes besides its keys, and what `dagster.asset` takes."""

    source: Any
    effective_column: str | None
    sequence_by: str | None
    delete_when: str | None
    deletes: Any
    track: Sequence[str] | None
    ignore: Sequence[str]
    overwrite_columns: Sequence[str]
    max_delete_fraction: float | None
    max_update_fraction: float | None
    allow_empty: bool
    restatements: Any
    on_correction: Any
    late: Any
    missing_column: Any
    null_keys: Any
    retrack: Any
    timezone: str | None
    schema: Any
    valid_from: str
    valid_to: str
    is_current: str
    durable_key: str | None
    surrogate_key: str | None


Decorator = Callable[[Callable[..., Any]], dg.AssetsDefinition]


def delta_table(
    *,
    mode: WriteMode | None = None,
    partition_by: PartitionBy | None = None,
    columns: Mapping[str, Column] | None = None,
    lineage: Lineage | None = None,
    **asset: Unpack[AssetOptions],
) -> Decorator:
    """Make an asset whose returned frame becomes a Delta table.

    Args:
        mode: `Overwrite` (the default: of the asset's partition, or of the table), `Append` or `Upsert`. The batches of
            `Append(once="batch")` are named by their partition, or, without partitions, by the root run.
        partition_by: Column that decides which rows belong to a Dagster partition; for multi partitions a map from
            dimension to column.
        columns: What to say about the columns: description, key, mask.
        lineage: Column -> the (asset key, column) pairs it comes from. Under `*`, pairs of an asset key and `*` take in
            the columns of the same name.
        **asset: What `dagster.asset` takes.

    Returns:
        A decorator for a function that returns a frame.

    Raises:
        ConfigError: Declarations that can't work, all of them, when the module loads.

    Examples:
        >>> import polars as pl
        >>> from fuse_dagster.tables import Upsert
        >>> @delta_table(mode=Upsert(keys=["tailnum"]), group_name="silver")
        ... def planes() -> pl.DataFrame:
        ...     return pl.DataFrame({"tailnum": ["N10156"], "seats": [55]})
    """
    problems: list[str] = []
    if isinstance(mode, History):
        problems.append("A history is declared with `history_table`, which knows where its times come from.")
        mode = None
    declared = Declaration(
        mode=mode or Overwrite(),
        partition_by=partition_by,
        columns=columns or {},
        lineage=lineage or {},
    )
    return _decorator("delta_table", declared, problems, asset)


def history_table(
    *,
    keys: Sequence[str],
    effective_format: str | EffectiveFunction | None = None,
    partition_by: PartitionBy | None = None,
    columns: Mapping[str, Column] | None = None,
    lineage: Lineage | None = None,
    **options: Unpack[HistoryOptions],
) -> Decorator:
    """Make an asset whose returned frames become a history (SCD2): every version of every key, in any order of arrival.

    The function returns what the source says, and nothing more. A partition is a batch, not a slice: time partitions
    hold from their start; the keys of static and dynamic ones are read by `effective_format`; without partitions the
    run's own time counts. Over several partitions in one run, the function returns a map from partition key to frame,
    or `partition_by` names the column that says whose batch a row is.

    Args:
        keys: Business key, one or more columns.
        effective_format: How a static or dynamic partition key is read as a time: a format of strptime, or a function
            at the top level of a module from the key to a date or time.
        partition_by: Column that says whose batch a row is, for runs over several partitions.
        columns: What to say about the columns: description, key, mask.
        lineage: As in `delta_table`.
        **options: What `fuse_dagster.tables.History` takes, and what `dagster.asset` takes.

    Returns:
        A decorator for a function that returns a frame.

    Raises:
        ConfigError: Declarations that can't work, all of them, when the module loads.

    Examples:
        >>> import polars as pl
        >>> releases = dg.StaticPartitionsDefinition(["20240119", "20250204"])
        >>> @history_table(keys=["icao"], partitions_def=releases, effective_format="%Y%m%d")
        ... def airport_history() -> pl.DataFrame:
        ...     return pl.DataFrame({"icao": ["EDDB"], "name": ["Brandenburg"]})
    """
    problems: list[str] = []
    names = {entry.name for entry in fields(History)} - {"keys", "effective_at"}
    settings = {name: value for name, value in options.items() if name in names}
    asset = {name: value for name, value in options.items() if name not in names}
    mode = _history(keys, settings, problems)
    function = None
    if effective_format is not None and not isinstance(effective_format, str):
        function, effective_format = _named(effective_format, problems), None
    declared = Declaration(
        mode=mode,
        partition_by=partition_by,
        columns=columns or {},
        lineage=lineage or {},
        effective_format=effective_format,
        effective_function=function,
    )
    if not problems:
        problems += effective_problems(declared, asset.get("partitions_def"))  # type: ignore[arg-type]
    return _decorator("history_table", declared, problems, asset)


def declare(declared: Declaration, asset: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Turn a declaration into arguments for `dagster.asset`, and note what can't work.

    Args:
        declared: What is declared about the table.
        asset: Arguments for `dagster.asset`.
        problems: Takes what is found wrong.
    """
    unknown = sorted(asset.keys() - AssetOptions.__annotations__.keys())
    problems += [f"`{name}` is no option. {did_you_mean(name, _all_options(declared))}" for name in unknown]
    problems += _partition_problems(declared, asset.get("partitions_def"))
    said = dict(asset.get("metadata") or {})
    ours = {WRITE, PARTITION_BY, PARTITION_EXPR, COLUMNS, LINEAGE} & said.keys()
    problems += [f"`metadata` holds `{name}`, which the decorator sets. Take it out." for name in sorted(ours)]
    kinds = set(asset.get("kinds") or ())
    if len(kinds | {KIND}) <= _MOST_KINDS:
        kinds.add(KIND)
    return {**asset, "metadata": {**said, **write_declaration(declared)}, "kinds": kinds}


def _decorator(word: str, declared: Declaration, problems: list[str], asset: Mapping[str, Any]) -> Decorator:
    arguments = declare(declared, asset, problems)

    def decorate(function: Callable[..., Any]) -> dg.AssetsDefinition:
        raise_together(problems, f"@{word} on `{function.__name__}`")
        made = dg.asset(**arguments)(function)
        assert isinstance(made, dg.AssetsDefinition)
        return made

    return decorate


def _history(keys: Sequence[str], settings: Mapping[str, Any], problems: list[str]) -> History:
    try:
        return History(keys=keys, **settings)
    except ConfigError as error:
        problems.append(str(error))
        return History(keys=["?"])


def _named(function: EffectiveFunction, problems: list[str]) -> str | None:
    try:
        return name_function(function)
    except ConfigError as error:
        problems.append(str(error))
        return None


def _partition_problems(declared: Declaration, definition: dg.PartitionsDefinition[str] | None) -> list[str]:
    if definition is None:
        return [] if declared.partition_by is None else ["`partition_by` is there, but the asset has no partitions."]
    problems = declared.partition_problems()
    if declared.partition_by is None and not declared.has_slices:
        return problems
    try:
        dimensions(definition, declared.partition_by)
    except ConfigError as error:
        problems.append(str(error))
    return problems


def _all_options(declared: Declaration) -> set[str]:
    names = set(AssetOptions.__annotations__) | {"partition_by", "columns", "lineage"}
    return names | (
        HistoryOptions.__annotations__.keys() | {"keys", "effective_format"} if declared.history else {"mode"}
    )
