"""`fuse history`: what a history says, and its care."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer

from fuse_dagster.app.cli.frame import examples, group, output
from fuse_dagster.app.cli.interrupts import ended_at_once
from fuse_dagster.app.cli.output import frame_table, table
from fuse_dagster.app.cli.places import Place, Table, place
from fuse_dagster.app.values import counted, frame_of

if TYPE_CHECKING:
    import polars as pl

app = group("Ask histories (SCD2), and care for them.")

Limit = Annotated[int, typer.Option("--limit", "-n", min=0, help="How many rows at the most.")]
Columns = Annotated[str | None, typer.Option(help="The columns to show, separated by commas.")]
Where = Annotated[str | None, typer.Option(help="SQL condition that the rows meet.")]
MOMENT = "A date or time in ISO 8601, as 2024-06-01 or 2024-06-01T12:00:00Z; dates are read in the history's zone."


@app.command("as-of", epilog=examples("fuse history as-of lake/silver/airports 2024-06-01"))
def as_of(
    context: typer.Context,
    address: Table,
    moment: Annotated[str, typer.Argument(help=MOMENT)],
    *,
    columns: Columns = None,
    where: Where = None,
    limit: Limit = 20,
) -> None:
    """Show what a history held at a moment: one row per key that held then."""
    from fuse_dagster.app.histories import moment_in, times_of
    from fuse_dagster.tables import as_of as held

    where_it_is = place(context, address)
    own = times_of(where_it_is.uri, where_it_is.options)
    at = moment_in(moment, own.timezone)
    rows = held(
        where_it_is.uri, at, valid_from=own.valid_from, valid_to=own.valid_to, is_current=own.is_current,
        storage_options=where_it_is.options,
    )  # fmt: skip
    _answer(context, rows, columns=columns, where=where, limit=limit, of=f"as of {at.isoformat()}")


@app.command(epilog=examples("fuse history current lake/silver/airports --where \"country = 'AT'\""))
def current(
    context: typer.Context, address: Table, *, columns: Columns = None, where: Where = None, limit: Limit = 20
) -> None:
    """Show what holds now: one row per key that has not ended."""
    from fuse_dagster.app.histories import times_of
    from fuse_dagster.tables import current as holds

    where_it_is = place(context, address)
    own = times_of(where_it_is.uri, where_it_is.options)
    rows = holds(
        where_it_is.uri, valid_from=own.valid_from, valid_to=own.valid_to, is_current=own.is_current,
        storage_options=where_it_is.options,
    )  # fmt: skip
    _answer(context, rows, columns=columns, where=where, limit=limit, of="as of now")


@app.command(epilog=examples("fuse history changes lake/silver/airports 2024-01-01 --until 2024-07-01"))
def changes(
    context: typer.Context,
    address: Table,
    since: Annotated[str, typer.Argument(help=f"Begin of the span, inclusive. {MOMENT}")],
    *,
    until: Annotated[str | None, typer.Option(help="End of the span, exclusive; by default everything since.")] = None,
    columns: Columns = None,
    where: Where = None,
    limit: Limit = 20,
) -> None:
    """Show what happened to which key in a span of time: inserts, updates and ends."""
    from fuse_dagster.app.histories import declared, moment_in
    from fuse_dagster.tables import changes as happened

    where_it_is = place(context, address)
    mode = declared(where_it_is.uri, where_it_is.options)
    start, end = moment_in(since, mode.timezone), None if until is None else moment_in(until, mode.timezone)
    rows = happened(
        where_it_is.uri, start, end, keys=mode.keys, valid_from=mode.valid_from, valid_to=mode.valid_to,
        is_current=mode.is_current, storage_options=where_it_is.options,
    )  # fmt: skip
    span = f"since {start.isoformat()}" if end is None else f"from {start.isoformat()} until {end.isoformat()}"
    _answer(context, rows, columns=columns, where=where, limit=limit, of=f"changed {span}")


@app.command(epilog=examples("fuse history snapshots lake/silver/airports"))
def snapshots(context: typer.Context, address: Table) -> None:
    """List the snapshots that were applied to a history, as it remembers them."""
    from fuse_dagster.tables import known_snapshots

    where = place(context, address)
    found = known_snapshots(where.uri, storage_options=where.options)
    rows = [(row["effective_at"], ", ".join(row["columns"])) for row in found.iter_rows(named=True)]
    output(context).answer(found, table(["effective at", "columns"], rows), f"{counted(len(rows), 'snapshot')}.")


@app.command(epilog=examples("fuse history foreign lake/silver/airports"))
def foreign(context: typer.Context, address: Table) -> None:
    """List what others committed to a history since its last batch, and whether it was harmless."""
    from fuse_dagster.tables import foreign_changes

    where = place(context, address)
    found = foreign_changes(where.uri, storage_options=where.options)
    rows = [
        (one.version, one.committed_at, one.did.partition(": ")[2], "yes" if one.is_harmless else "no") for one in found
    ]
    harmful = sum(1 for one in found if not one.is_harmless)
    verdict = f"{counted(len(found), 'commit')} by others, {harmful} of them may have changed rows."
    if harmful:
        verdict += (
            " Make the history anew with `fuse history rebuild`, or take its rows for the truth with `adopt --again`."
        )
    output(context).answer(found, table(["version", "committed at", "what", "harmless"], rows), verdict)


@app.command(
    epilog=examples(
        "fuse history retract lake/silver/airports 2024-06-01", "fuse history retract lake/a 2024-06-01 --yes"
    )
)
def retract(
    context: typer.Context,
    address: Table,
    effective_at: Annotated[str, typer.Argument(help=f"The snapshot's time. {MOMENT}")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without it, only look whether it is known.")] = False,
) -> None:
    """Undo one applied snapshot, in one commit: as if it had never been applied.

    Without --yes it only says whether such a snapshot is known.
    """
    from fuse_dagster.app.histories import declared, moment_in
    from fuse_dagster.tables import retract as undo

    where = place(context, address)
    mode = declared(where.uri, where.options)
    at = moment_in(effective_at, mode.timezone)
    if not yes:
        _look(context, where, at)
        return
    done = undo(where.uri, at, mode, storage_options=where.options)
    said = (
        f"Retracted {at.isoformat()} in version {done.version}: {done.inserted} keys came back, "
        f"{done.updated} changed back, {done.closed} stood in it only, {done.unchanged} are as they were."
    )
    output(context).answer(done, said)


def _look(context: typer.Context, where: Place, at: dt.datetime) -> None:
    from fuse_dagster.core.errors import TimeValueError
    from fuse_dagster.tables import known_snapshots

    known = known_snapshots(where.uri, storage_options=where.options)["effective_at"].to_list()
    if at not in known:
        near = sorted(sorted(known, key=lambda one: abs(one - at))[:4])
        msg = (
            f"`{where.uri}` knows no snapshot of `{at.isoformat()}`; the nearest: "
            f"{', '.join(one.isoformat() for one in near) or 'none'}. `fuse history snapshots` lists all."
        )
        raise TimeValueError(msg)
    said = f"Would retract the snapshot of {at.isoformat()}. Nothing was done; add `--yes` to do it."
    output(context).answer({"version": None, "effective_at": at, "known": True}, said)


def _answer(
    context: typer.Context, rows: pl.LazyFrame, *, columns: str | None, where: str | None, limit: int, of: str
) -> None:
    from fuse_dagster.app.cli.declaring import names
    from fuse_dagster.app.narrowing import narrow

    kept = None if columns is None else names(columns)
    with ended_at_once():
        shown, total = narrow(rows, columns=kept, where=where, limit=limit, of="The history")
    said = f"{counted(total, 'row')}, {of}."
    if shown.height < total:
        said = f"First {shown.height:,} of {said}"
    output(context).answer({"rows_total": total, **frame_of(shown)}, *frame_table(shown), said)
