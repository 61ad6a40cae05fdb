"""`fuse history adopt` and `rebuild`: what changes a whole history is looked at first, and done on `--yes`."""

from __future__ import annotations

import datetime as dt
from dataclasses import fields
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from fuse_dagster.app.cli.declaring import (
    DeleteWhen,
    EffectiveColumn,
    Ignore,
    Keys,
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
from fuse_dagster.app.cli.output import facts, frame_table
from fuse_dagster.app.cli.places import Table, place
from fuse_dagster.app.cli.progress import steps
from fuse_dagster.app.values import span

if TYPE_CHECKING:
    import polars as pl
    from rich.console import RenderableType

    from fuse_dagster.app.cli.places import Place
    from fuse_dagster.tables import RebuildResult

Yes = Annotated[bool, typer.Option("--yes", help="Do it. Without it, only say what would become of the table.")]


ADOPT_EXAMPLES = examples(
    "fuse history adopt lake/a --keys icao --rename start=valid_from --rename end=valid_to --ends 9999-12-31",
    "fuse history adopt lake/a --keys icao --yes",
)
REBUILD_EXAMPLES = examples(
    "fuse history rebuild lake/airports landing/*.csv --time-format airports_%Y%m%d.csv",
    "fuse history rebuild lake/fares feed/*.parquet --effective-column changed_at --yes",
)


class _Closed(StrEnum):
    LEFT = "left"
    BOTH = "both"


def adopt(
    context: typer.Context,
    address: Table,
    *,
    keys: Keys = None,
    source: SourceOption = None,
    effective_column: EffectiveColumn = None,
    sequence_by: SequenceBy = None,
    delete_when: DeleteWhen = None,
    track: Track = None,
    ignore: Ignore = None,
    timezone: Timezone = None,
    rename: Annotated[
        list[str] | None, typer.Option(help="`old=new`: a column's name in the history; may repeat.")
    ] = None,
    drop: Annotated[str | None, typer.Option(help="Columns that are not taken over, separated by commas.")] = None,
    ends: Annotated[str | None, typer.Option(help="The end of open versions besides null, as 9999-12-31.")] = None,
    closed_intervals: Annotated[
        _Closed, typer.Option(help="`left`: an end no longer belongs to its version. `both`: it does.")
    ] = _Closed.LEFT,
    step: Annotated[str | None, typer.Option(help="For `both`: from an end to the next start, as 1d or 1us.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also a history of ours, whose rows as they are become the truth.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Take over a table with versions that another tool wrote: from then on it is a history like any other.

    Without --yes it checks all rows and reports, and writes nothing.
    """
    from fuse_dagster.tables import adopt as take_over

    where = place(context, address)
    said = {
        "keys": keys, "source": source, "effective_column": effective_column, "sequence_by": sequence_by,
        "delete_when": delete_when, "track": track, "ignore": ignore, "timezone": timezone,
    }  # fmt: skip
    report = take_over(
        where.uri,
        history_of(said, remembered(where) if again else None),
        rename=pairs(rename, "--rename"),
        drop=[] if drop is None else names(drop),
        ends="null" if ends is None else _date(ends),
        closed_intervals=closed_intervals.value,
        step=None if step is None else _span(step),
        again=again,
        dry_run=not yes,
        storage_options=where.options,
    )
    counts = [(field.name.replace("_", " "), getattr(report, field.name)) for field in fields(report)[1:]]
    done = f"Adopted in version {report.version}." if yes else "Nothing was written; add `--yes` to adopt it."
    output(context).answer(report, facts(counts), done)


def rebuild(
    context: typer.Context,
    address: Table,
    batches: Annotated[list[str], typer.Argument(metavar="BATCH", help="All batches: files or Delta tables.")],
    *,
    time_format: Annotated[
        str | None, typer.Option(help="How the names of the batches say their time, as airports_%Y%m%d.csv.")
    ] = None,
    keys: Keys = None,
    source: SourceOption = None,
    effective_column: EffectiveColumn = None,
    sequence_by: SequenceBy = None,
    delete_when: DeleteWhen = None,
    track: Track = None,
    ignore: Ignore = None,
    timezone: Timezone = None,
    yes: Yes = False,
) -> None:
    """Make a history anew from all of its batches, in one commit, and show how it differs from what the table held.

    What is missing among the batches is gone afterwards. Without --yes nothing is written: look at the difference
    first. What the table remembers of its declaration need not be said again. Columns of text files are read in the
    types of the table.
    """
    from fuse_dagster.app.batches import timed_batches
    from fuse_dagster.tables import rebuild as make_anew

    where = place(context, address)
    said = {
        "keys": keys, "source": source, "effective_column": effective_column, "sequence_by": sequence_by,
        "delete_when": delete_when, "track": track, "ignore": ignore, "timezone": timezone,
    }  # fmt: skip
    mode = history_of(said, remembered(where))
    found = timed_batches(
        steps(batches, "read"), time_format=time_format, types=_types(where), storage_options=where.options
    )
    result = make_anew(where.uri, found, mode, dry_run=not yes, storage_options=where.options)
    output(context).answer(_plain(result), *_difference(result, done=yes))


def _types(where: Place) -> dict[str, pl.DataType]:
    from fuse_dagster.tables.view import open_view

    return dict(open_view(where.uri, where.options).schema())


def _plain(result: RebuildResult) -> dict[str, object]:
    found = {field.name: getattr(result, field.name) for field in fields(result)}
    return {**found, "is_equal": result.is_equal}


def _difference(result: RebuildResult, *, done: bool) -> list[RenderableType]:
    shown: list[RenderableType] = [
        facts(
            [
                ("batches", result.batches),
                ("versions afterwards", result.rows_total),
                ("only in the table", result.only_in_table),
                ("only in the batches", result.only_in_rebuilt),
                ("schema changes", "; ".join(result.schema_changes) or "none"),
                ("memory", result.memory_problem or "fits the rows"),
                ("forgotten snapshots", ", ".join(at.isoformat() for at in result.forgotten) or "none"),
            ]
        )
    ]
    for title, frame in (
        ("Only in the table:", result.table_examples),
        ("Only in the batches:", result.rebuilt_examples),
    ):
        if frame.height:
            shown += [title, *frame_table(frame)]
    if done:
        shown.append("Nothing differed." if result.version is None else f"Rebuilt in version {result.version}.")
    else:
        shown.append("Nothing was written; add `--yes` to rebuild it.")
    return shown


def _date(text: str) -> dt.date:
    try:
        value = dt.datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"`--ends` takes a date or time in ISO 8601, as 9999-12-31; this is `{text}`."
        raise typer.BadParameter(msg) from error
    return value.date() if len(text) <= len("9999-12-31") else value


def _span(text: str) -> dt.timedelta:
    found = span(text)
    if found is None:
        msg = f"`--step` takes a number and us, ms, s, m, h or d, as 1d; this is `{text}`."
        raise typer.BadParameter(msg)
    return found
