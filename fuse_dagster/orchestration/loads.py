"""Loads as assets: a function returns a source, and what is new in it lands in the asset's table.

The position is kept by the table, so a run that is repeated, retried or killed goes on where the last one that landed
ended, whatever Dagster's own storage says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import dagster as dg

from fuse_dagster.connectors.base import CanListNames
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import listing
from fuse_dagster.ingest.load import LoadResult, load
from fuse_dagster.ingest.source import Source
from fuse_dagster.orchestration.assets import AssetOptions, CommonOptions, Decorator, delta_table
from fuse_dagster.orchestration.declarations import raise_together
from fuse_dagster.orchestration.load_parts import part_of
from fuse_dagster.orchestration.rejecting import batch_name, put_aside
from fuse_dagster.tables import History, WriteMode

if TYPE_CHECKING:
    from fuse_dagster.ingest.drift import DriftPolicy
    from fuse_dagster.ingest.source import Position
    from fuse_dagster.orchestration.declarations import PartitionBy
    from fuse_dagster.orchestration.target import Target

LAST_UPDATED = "dagster/last_updated_timestamp"
"""Where Dagster's own freshness checks look for the time that an asset's data stand for."""

_WORD = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, slots=True)
class Load:
    """A source, and what to make of its drift; an asset may return it in place of the source alone.

    Attributes:
        source: What is read.
        drift: What to make of columns that differ from the table's: `evolve`, `warn` or `refuse`.
    """

    source: Source
    drift: DriftPolicy = "evolve"


def load_of(returned: object) -> Load | None:
    """What an asset returned, where it is a source to be loaded rather than a frame."""
    if isinstance(returned, Load):
        return returned
    return Load(returned) if isinstance(returned, Source) else None


def load_target(target: Target, wanted: Load) -> LoadResult:
    """Load what is new in a source into an asset's table.

    A run of partitions reads their part of the source, and leaves the position alone.

    Args:
        target: The table, and which part of it is written.
        wanted: The source.

    Raises:
        ConfigError: The source does not fit the declaration.
        InputError: The source or its rows are refused; nothing was written.
    """
    if target.spark is not None:
        msg = (
            f"`{target.asset.to_user_string()}` returned a source, which Spark can't load: its writer takes no memory "
            "beside a commit. Give the asset an IO manager without `spark`."
        )
        raise ConfigError(msg)
    source, mode = part_of(target, wanted.source)

    def attempt(options: Mapping[str, str]) -> LoadResult:
        return load(
            source,
            target.uri,
            mode,
            storage_options=options or None,
            full_refresh=target.full_refresh,
            drift=wanted.drift,
            masked=target.declaration.masked,
            on_rejected=lambda rows: put_aside(target, rows, batch_name(target)),
        )

    return target.access.ask(attempt, place=target.uri)


def describe_load(result: LoadResult) -> dict[str, Any]:
    """Describe a load as materialization metadata.

    Args:
        result: What happened.
    """
    found: dict[str, Any] = {
        **{name: _metadata(value) for name, value in result.progress.items()},
        "rows_loaded": result.rows,
        "bytes_loaded": result.bytes,
        "load_seconds": round(result.seconds, 3),
        "drift": "; ".join(result.drift.sentences) or "none",
        "watermark_before": "none" if result.before is None else result.before.said,
        **describe_watermark(result.after),
    }
    if result.lag is not None:
        found["lag_seconds"] = round(result.lag.total_seconds(), 3)
    return found


def describe_watermark(reached: Position | None) -> dict[str, Any]:
    """How far a source was read, and the time that it stands for, as materialization metadata."""
    found: dict[str, Any] = {"watermark_after": "none" if reached is None else reached.said}
    if reached is not None and reached.time is not None:
        found[LAST_UPDATED] = dg.MetadataValue.timestamp(reached.time.astimezone(UTC))
    return found


def _metadata(value: object) -> Any:
    """A value as Dagster shows it: numbers are plotted over the runs."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Mapping):
        return str(value)
    return {str(name): one for name, one in value.items()} if isinstance(value, Mapping) else value


def load_table(
    *,
    mode: WriteMode,
    drift: DriftPolicy = "evolve",
    partition_by: PartitionBy | None = None,
    **asset: Unpack[AssetOptions],
) -> Decorator:
    """Make an asset whose function returns a source; what is new in it lands in the asset's table.

    Args:
        mode: What becomes of the rows.
        drift: What to make of columns that differ from the table's.
        partition_by: With time partitions, the cursor of the source: a partition is then a window of it.
            `OffsetPartitions` need none.
        **asset: What `dagster.asset` takes.

    Returns:
        A decorator for a function that returns a source. Its parameters may be resources.

    Raises:
        ConfigError: Declarations that can't work, all of them, when the module loads.

    Examples:
        >>> from fuse_dagster.ingest import TableSource
        >>> from fuse_dagster.tables import Upsert
        >>> @load_table(mode=Upsert(keys=["id"]), group_name="shop", required_resource_keys={"shop"})
        ... def orders(context: dg.AssetExecutionContext):
        ...     return TableSource(database=context.resources.shop, table="public.orders", cursor="updated_at")
    """
    if drift not in ("evolve", "warn", "refuse"):
        msg = f"`drift` is `{drift}`. Valid: evolve, warn, refuse."
        raise ConfigError(msg)
    asset.setdefault("kinds", {"load"})

    def decorate(function: Callable[..., Any]) -> dg.AssetsDefinition:
        from functools import wraps

        @wraps(function)
        def returning(*arguments: Any, **named: Any) -> Load:
            returned = load_of(function(*arguments, **named))
            if returned is None:
                msg = f"`{function.__name__}` has to return a source, as `TableSource(...)`."
                raise ConfigError(msg)
            return replace(returned, drift=drift)

        # Dagster would check the wrapped annotation against what comes out.
        returning.__annotations__ = {name: kind for name, kind in function.__annotations__.items() if name != "return"}
        asset.setdefault("description", function.__doc__)
        return _declared(function, returning)

    def _declared(function: Callable[..., Any], returning: Callable[..., Any]) -> dg.AssetsDefinition:
        if isinstance(mode, History):
            from dataclasses import fields

            from fuse_dagster.orchestration.assets import history_table

            said = {entry.name: getattr(mode, entry.name) for entry in fields(mode) if entry.name != "effective_at"}
            return history_table(partition_by=partition_by, **said, **asset)(returning)
        del function
        return delta_table(mode=mode, partition_by=partition_by, **asset)(returning)

    return decorate


def load_tables(
    names: Iterable[str] | Path,
    source: Callable[[Any, str], Source],
    *,
    connection: str,
    mode: WriteMode | Callable[[str], WriteMode],
    drift: DriftPolicy = "evolve",
    **asset: Unpack[CommonOptions],
) -> list[dg.AssetsDefinition]:
    """Make one asset per table of a source, in groups that mirror it: `public.orders` is `public/orders` in `public`.

    Nothing is asked of the source: definitions load without a network. The names are given, or stand in a file that
    `discover` writes and the repository keeps, so that a table which comes or goes there is a change that is reviewed.

    Args:
        names: As the source calls them, or the file that they stand in, one a line.
        source: From the connection and a name to what is read.
        connection: Key of the resource that `source` is given.
        mode: What becomes of the rows, for all tables or by name.
        drift: What to make of columns that differ from the tables'.
        **asset: What `dagster.asset` takes; `key_prefix` stands before the asset keys.

    Raises:
        ConfigError: There are no names, two of them make one asset key, or the declaration can't work.
    """
    given = names_in(names) if isinstance(names, Path) else sorted(set(names))
    said = asset.pop("key_prefix", None) or ()
    prefix = [said] if isinstance(said, str) else list(said)
    keys: dict[tuple[str, ...], list[str]] = {}
    for name in given:
        keys.setdefault((*prefix, *(_WORD.sub("_", part) for part in name.split("."))), []).append(name)
    problems = [
        f"{listing(both)} make one asset key, `{'/'.join(key)}`." for key, both in keys.items() if len(both) > 1
    ]
    problems += [] if given else ["There are no names. Give some, or write them to a file with `discover`."]
    raise_together(problems, "load_tables")

    def made(key: tuple[str, ...], name: str) -> dg.AssetsDefinition:
        def read(context: dg.AssetExecutionContext) -> Any:
            return source(getattr(context.resources, connection), name)

        read.__annotations__ = {"context": dg.AssetExecutionContext}  # Dagster reads them, and texts are none to it
        read.__name__ = "__".join(key)
        read.__doc__ = f"What is new in `{name}` of `{connection}`."
        options: Any = {"group_name": key[-2] if len(key) > len(prefix) + 1 else _WORD.sub("_", connection), **asset}
        chosen = mode(name) if callable(mode) else mode
        return load_table(mode=chosen, drift=drift, key=list(key), required_resource_keys={connection}, **options)(read)

    return [made(key, name) for key, (name,) in keys.items()]


def discover(connection: CanListNames, *patterns: str, into: Path) -> list[str]:
    """Ask a source what it holds, and write the names to a file that `load_tables` reads.

    Args:
        connection: The connector.
        *patterns: Which names, as `public.*`.
        into: The file; replaced.

    Returns:
        The names.

    Raises:
        ConfigError: There is nothing of these names; the file stays as it was.
    """
    found = sorted({name for pattern in patterns or ("*",) for name in connection.names(pattern)})
    if not found:
        msg = f"Nothing is called {listing(patterns)} there, or it may not be seen; `{into}` stays as it was."
        raise ConfigError(msg)
    into.write_text("".join(f"{name}\n" for name in found), encoding="utf-8")
    return found


def names_in(file: Path) -> list[str]:
    """The names that a file holds, one a line; what follows a `#` is a comment.

    Raises:
        ConfigError: There is no such file.
    """
    if not file.is_file():
        msg = f"There is no `{file}`. Write the names of the tables to it, one a line, or let `discover` do so."
        raise ConfigError(msg)
    lines = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return sorted({line for line in lines if line})
