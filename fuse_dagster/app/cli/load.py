"""`fuse load`: what is new in a connection, brought to a Delta table in one commit."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fuse_dagster.app.cli import completing
from fuse_dagster.app.cli.declaring import (
    DeleteWhen,
    EffectiveColumn,
    Ignore,
    SequenceBy,
    SourceOption,
    Timezone,
    Track,
    history_of,
    names,
    pairs,
    remembered,
)
from fuse_dagster.app.cli.frame import examples, output
from fuse_dagster.app.cli.output import facts
from fuse_dagster.app.cli.places import Table, place
from fuse_dagster.app.cli.progress import counting
from fuse_dagster.app.hiding import hidden
from fuse_dagster.app.values import counted, size

if TYPE_CHECKING:
    from fuse_dagster.app.cli.places import Place
    from fuse_dagster.ingest import LoadResult
    from fuse_dagster.tables import WriteMode


class _Mode(StrEnum):
    APPEND = "append"
    UPSERT = "upsert"
    OVERWRITE = "overwrite"
    HISTORY = "history"


class _Drift(StrEnum):
    EVOLVE = "evolve"
    WARN = "warn"
    REFUSE = "refuse"


class _Deletes(StrEnum):
    CLOSE = "close"
    IGNORE = "ignore"


EXAMPLES = examples(
    "fuse load shop public.orders lake/bronze/orders --cursor updated_at --lag 5m --mode upsert --keys id",
    "fuse load shop public.orders lake/bronze/orders --cursor day --mode overwrite --window 2024-01-01..2024-02-01",
    'fuse load shop big lake/bronze/big --query "SELECT * FROM orders WHERE total > 100" --cursor id',
    "fuse load api flights lake/bronze/flights --cursor updated_at -o since=updated_since --mode upsert --keys id",
    "fuse load stream orders lake/bronze/orders -o value=json",
    "fuse load landing flights bronze/flights --connection lake -o name={carrier}_{day:%Y%m%d}.csv -o after=move",
    "fuse load shop public.prices lake/silver/prices --cursor updated_at --mode history --keys sku",
    "fuse load shop public.orders lake/bronze/orders --cursor updated_at --mode upsert --keys id --compare-keys",
)


def load(
    context: typer.Context,
    source: Annotated[
        str,
        typer.Argument(
            metavar="CONNECTION", help="The connection that is read.", autocompletion=completing.connections
        ),
    ],
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="What of it: a table, an endpoint, a topic or a folder, `.` for its root."),
    ],
    address: Table,
    *,
    cursor: Annotated[
        str | None, typer.Option(help="The column that grows, of a table, a query or an endpoint.")
    ] = None,
    lag: Annotated[
        str | None, typer.Option(help="How far below the watermark rows may appear late, as 5m; or a number.")
    ] = None,
    question: Annotated[
        str | None, typer.Option("--query", help="SQL in place of a table; NAME is what its position is known by.")
    ] = None,
    mode: Annotated[_Mode, typer.Option(help="What becomes of the rows.")] = _Mode.APPEND,
    keys: Annotated[
        str | None,
        typer.Option(help="Business key, separated by commas. With `append`, rows whose key is there are left out."),
    ] = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Read the source from its start, whatever was read before.")
    ] = False,
    compare_keys: Annotated[
        bool,
        typer.Option("--compare-keys", help="Load nothing: end rows that are gone from the source, by comparing keys."),
    ] = False,
    max_delete_fraction: Annotated[
        float | None,
        typer.Option(
            help="The highest share of keys that may be gone at a time, 0 to 1; 0.5 by default.", show_default=False
        ),
    ] = None,
    drift: Annotated[
        _Drift, typer.Option(help="What to make of columns that differ from the table's.")
    ] = _Drift.EVOLVE,
    window: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FROM..TO",
            help="Only this part of a table, by its cursor; may repeat. The watermark stays where it is.",
        ),
    ] = None,
    states: SourceOption = None,
    deletes: Annotated[
        _Deletes | None,
        typer.Option(
            help="For histories of snapshots: `close` reads the whole source each time, and ends keys that are gone. "
            "`ignore`, the default, reads what is new."
        ),
    ] = None,
    effective_column: EffectiveColumn = None,
    sequence_by: SequenceBy = None,
    delete_when: DeleteWhen = None,
    soft_delete: Annotated[
        str | None, typer.Option(help="For upserts: boolean column that marks deleted rows rather than remove them.")
    ] = None,
    track: Track = None,
    ignore: Ignore = None,
    timezone: Timezone = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="NAME=VALUE", help="A field of the source, as `value=json`."),
    ] = None,
) -> None:
    """Bring what is new in a connection to a Delta table, in one commit together with how far it was read.

    Run it again, and it goes on where the last load ended that landed. What can't be read is put beside the table, into
    one whose name ends in `__rejected`.
    """
    from fuse_dagster.app.loading import Asked, mode_in, source_of, window_of
    from fuse_dagster.app.profiles import connection_of
    from fuse_dagster.ingest import load as bring

    where = place(context, address)
    declared: dict[str, Any] = {
        "keys": keys, "source": states, "deletes": deletes, "effective_column": effective_column,
        "sequence_by": sequence_by, "delete_when": delete_when, "soft_delete": soft_delete, "track": track,
        "ignore": ignore, "timezone": timezone, "max_delete_fraction": max_delete_fraction,
    }  # fmt: skip
    chosen = _mode(mode, declared, where)
    asked = Asked(cursor=cursor or "", lag=lag or "", query=question or "", options=pairs(options, "--option"))
    found, part = source_of(connection_of(source), name, asked), None
    if bool(window) + full_refresh + compare_keys > 1:
        raise typer.BadParameter("--window, --full-refresh and --compare-keys exclude each other; keep one.")
    if compare_keys:
        _compare(context, found, chosen, where, f"compare the keys of {name} of {source} with {where}")
        return
    if window:
        found, part = window_of(found, window)
    with counting(f"load {name} of {source} into {where}") as told:
        result = bring(
            found,
            where.uri,
            mode_in(chosen, part),
            storage_options=where.options or None,
            full_refresh=full_refresh,
            drift=drift.value,
            on_rows=told,
        )
    _answer(context, result, where)


def _compare(context: typer.Context, source: Any, mode: WriteMode, where: Place, doing: str) -> None:
    from fuse_dagster.ingest import reconcile_deletes

    with counting(doing):
        found = reconcile_deletes(source, where.uri, mode, storage_options=where.options or None)
    told = {
        "uri": hidden(where.uri),
        **found.numbers,
        "at": found.at,
        "seconds": found.seconds,
        "written": found.written,
    }
    lines = [(name.replace("_", " "), value) for name, value in found.numbers.items()]
    ended = found.written.closed
    done = "Nothing is gone; nothing had to be written."
    if found.written.version is not None:
        done = f"Ended {counted(ended, 'key')} in version {found.written.version}."
    output(context).answer(told, facts(lines), done)


_FITTING = {
    _Mode.APPEND: {"keys"},
    _Mode.UPSERT: {"keys", "sequence_by", "delete_when", "soft_delete", "max_delete_fraction"},
    _Mode.OVERWRITE: set[str](),
}


def _mode(mode: _Mode, declared: dict[str, Any], where: Place) -> WriteMode:
    """The declaration that the options say.

    Raises:
        typer.BadParameter: An option does not fit the mode, or the mode lacks one.
        ConfigError: The options contradict each other.
    """
    from fuse_dagster.tables import Append, Overwrite, Upsert

    given = {name: value for name, value in declared.items() if value is not None}
    fitting = _FITTING.get(mode, declared.keys() - {"soft_delete"})
    for name in given:
        if name not in fitting:
            option = name.replace("_", "-")
            raise typer.BadParameter(f"`--{option}` does not go with `--mode {mode.value}`; leave it out.")
    if mode is _Mode.HISTORY:
        return _history(given, where)
    if "keys" in given:
        given["keys"] = names(given["keys"])
    if mode is _Mode.UPSERT:
        if not given.get("keys"):
            raise typer.BadParameter("`--mode upsert` knows rows by their key, so say it by `--keys`.")
        return Upsert(**given)
    return Append(once=given.get("keys")) if mode is _Mode.APPEND else Overwrite()


def _history(given: dict[str, Any], where: Place) -> WriteMode:
    """A history; a snapshot without times of its own holds from now on."""
    import datetime as dt
    from dataclasses import replace

    known = remembered(where)
    said = {name: value.value if isinstance(value, StrEnum) else value for name, value in given.items()}
    if known is None and said.get("source") != "changes":
        said.setdefault("deletes", "ignore")  # a load brings what is new, in which absence says nothing
    mode = history_of(said, known)
    if mode.source == "snapshot" and mode.effective_column is None:
        return replace(mode, effective_at=dt.datetime.now(tz=dt.UTC), restatements="forget")
    return mode


def _answer(context: typer.Context, result: LoadResult, where: Place) -> None:
    before, after, written = result.before, result.after, result.written
    told = {
        "uri": hidden(where.uri),
        "rows": result.rows,
        "bytes": result.bytes,
        "rejected": result.rejected,
        "watermark_before": None if before is None else before.said,
        "watermark_after": None if after is None else after.said,
        "watermark_time": None if after is None else after.time,
        "lag_seconds": None if result.lag is None else result.lag.total_seconds(),
        "seconds": result.seconds,
        "drift": result.drift.sentences,
        "progress": result.progress,
        "written": written,
    }
    lines = [
        ("rows", f"{result.rows:,} ({size(result.bytes)})"),
        ("rejected", result.rejected),
        ("watermark before", "none" if before is None else before.said),
        ("watermark after", "none" if after is None else after.said),
        ("inserted", written.inserted),
        ("updated", written.updated),
        ("unchanged", written.unchanged),
        ("closed", written.closed),
        ("deleted", written.deleted),
        ("drift", "; ".join(result.drift.sentences) or "none"),
        *((name.replace("_", " "), _listed(value)) for name, value in result.progress.items()),
    ]
    done = f"Loaded {counted(result.rows, 'row')}"
    done += "; nothing had to be written." if written.version is None else f" in version {written.version}."
    output(context).answer(told, facts(lines), done)
    if result.rejected:
        output(context).note(f"{result.rejected:,} could not be taken; see `{where}__rejected`.")


def _listed(value: object) -> object:
    return ", ".join(f"{name}: {one}" for name, one in value.items()) if isinstance(value, Mapping) else value
