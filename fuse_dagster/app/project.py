"""The Dagster project in a folder: where its definitions are, and runs of its assets in this process."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import AssetKey

from fuse_dagster.core.errors import ConfigError, FuseError, Terminal
from fuse_dagster.core.naming import did_you_mean, listing

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class RunFailedError(FuseError, RuntimeError, Terminal):
    """A run failed; the message is that of the step that did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Materialized:
    """What a run wrote of one asset.

    Attributes:
        asset: Its key, as `silver/flights`.
        partition: Its partition; None where it has none.
        rows: Rows of its table (or partition) afterwards; None where it does not say.
        version: Delta version afterwards; None where it does not say.
        seconds: Time that the write took; None where it does not say.
    """

    asset: str
    partition: str | None
    rows: int | None
    version: int | None
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a run's check of an asset said."""

    asset: str
    check: str
    passed: bool
    severity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One run.

    Attributes:
        run_id: Under which the instance keeps it.
        partition: The partition that it was for; None for none.
        materialized: What it wrote, in order.
        checks: What its checks said.
    """

    run_id: str
    partition: str | None
    materialized: tuple[Materialized, ...]
    checks: tuple[Checked, ...]


def module_of(folder: Path) -> str:
    """The module with the definitions of the project in a folder, or in one above it.

    Args:
        folder: Where to begin.

    Raises:
        ConfigError: No `pyproject.toml` says it.
    """
    for place in (folder, *folder.parents):
        file = place / "pyproject.toml"
        if file.is_file():
            said = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("dagster", {})
            if "module_name" in said:
                sys.path.insert(0, str(place))
                return str(said["module_name"])
    msg = (
        f"No `pyproject.toml` in `{folder}` or above says where the definitions are. Say it by `--module`, or set "
        "`module_name` in `[tool.dagster]`."
    )
    raise ConfigError(msg)


def load(module: str, folder: Path) -> dg.Definitions:
    """Import the definitions of a project.

    Args:
        module: Name of the module, which holds one `Definitions`.
        folder: Where it is imported from, besides the installed packages.

    Raises:
        ConfigError: There is no such module, or not one `Definitions` in it.
    """
    sys.path.insert(0, str(folder))
    try:
        loaded = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise  # the module is there, and misses another
        msg = f"There is no module `{module}` in `{folder}` or among the installed packages. Correct `--module`."
        raise ConfigError(msg) from error
    found = [value for value in vars(loaded).values() if isinstance(value, dg.Definitions)]
    if len(found) != 1:
        msg = f"`{module}` holds {len(found)} `Definitions`. Have one, as `defs = dg.Definitions(...)`."
        raise ConfigError(msg)
    return found[0]


def chosen(defs: dg.Definitions, selection: str) -> list[AssetKey]:
    """The assets that a selection names, sorted.

    Args:
        defs: The definitions.
        selection: In Dagster's language: `silver/flights`, `group:gold`, `+silver/flights`, `*`.

    Raises:
        ConfigError: It can't be read, or names nothing that can be materialized.
    """
    try:
        found = dg.AssetSelection.from_string(selection).resolve(defs.resolve_asset_graph())
    except dg.DagsterError as error:
        msg = f"The selection `{selection}` can't be resolved: {error}"
        raise ConfigError(msg) from error
    able = [key for key in sorted(found) if _is_ours(defs, key)]
    if not able:
        names = [key.to_user_string() for key in defs.resolve_all_asset_keys()]
        msg = f"The selection `{selection}` names no asset to materialize. {did_you_mean(selection, names)}"
        raise ConfigError(msg)
    return able


def partitions_of(
    defs: dg.Definitions, keys: Sequence[AssetKey], partition: str | None, instance: dg.DagsterInstance
) -> list[str | None]:
    """The partitions that a run each is for: one, the ones of a range `first...last`, or none at all.

    Args:
        defs: The definitions.
        keys: Assets.
        partition: As it was given.
        instance: Where dynamic partitions are kept.

    Raises:
        ConfigError: The assets need a partition and none is given, or the other way round, or there is no such one.
    """
    definitions = {key: defs.resolve_assets_def(key).partitions_def for key in keys}
    parted = [one for one in definitions.values() if one is not None]
    if not parted:
        if partition is None:
            return [None]
        msg = f"None of {listing(key.to_user_string() for key in keys)} has partitions. Leave `--partition` out."
        raise ConfigError(msg)
    known = parted[0].get_partition_keys(dynamic_partitions_store=instance)
    if partition is None:
        shown = listing(known[-5:])
        msg = f"The assets have {len(known)} partitions, so say which by `--partition`. The last ones: {shown}."
        raise ConfigError(msg)
    first, dots, last = partition.partition("...")
    for key in (first, last) if dots else (first,):
        if key not in known:
            msg = f"There is no partition `{key}`. {did_you_mean(key, known)}"
            raise ConfigError(msg)
    return list(known[known.index(first) : known.index(last) + 1]) if dots else [first]


def materialize(
    defs: dg.Definitions, keys: Sequence[AssetKey], partition: str | None, instance: dg.DagsterInstance
) -> Ran:
    """Materialize assets by one run in this process, with their checks.

    Args:
        defs: The definitions.
        keys: Assets.
        partition: The partition, where they have any.
        instance: Where the run is recorded.

    Raises:
        RunFailedError: A step failed.
        ConfigError: The assets can't run together.
    """
    try:
        job = defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            asset_selection=list(keys),
            partition_key=partition,
            instance=instance,
            raise_on_error=False,
            run_config=_QUIET,
        )
    except dg.DagsterError as error:
        msg = f"The run can't start: {error}"
        raise ConfigError(msg) from error
    if not result.success:
        raise RunFailedError(_why(result))
    return Ran(
        run_id=result.run_id,
        partition=partition,
        materialized=tuple(_written(event) for event in result.get_asset_materialization_events()),
        checks=tuple(
            Checked(
                asset=one.asset_key.to_user_string(), check=one.check_name, passed=one.passed,
                severity=one.severity.value,
            )
            for one in result.get_asset_check_evaluations()
        ),
    )  # fmt: skip


def _is_ours(defs: dg.Definitions, key: AssetKey) -> bool:
    return defs.resolve_assets_def(key).is_materializable


def _written(event: dg.DagsterEvent) -> Materialized:
    said = event.step_materialization_data.materialization
    facts: Mapping[str, Any] = {name: value.value for name, value in said.metadata.items()}
    return Materialized(
        asset=said.asset_key.to_user_string(),
        partition=said.partition,
        rows=facts.get("dagster/partition_row_count", facts.get("dagster/row_count")),
        version=facts.get("delta_version"),
        seconds=facts.get("seconds"),
    )


def _why(result: dg.ExecuteInProcessResult) -> str:
    """Find the error that failed a run: Dagster's own wraps what the asset raised."""
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error is not None:
            error = event.step_failure_data.error.cause or event.step_failure_data.error
            return f"Run `{result.run_id}` failed in `{event.step_key}`: {error.message.strip()}"
    return f"Run `{result.run_id}` failed before its first step."
