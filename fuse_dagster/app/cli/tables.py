"""`fuse tables`: what a table is, what happened to it, and its maintenance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from fuse_dagster.app.cli.each import Outcome, each, end
from fuse_dagster.app.cli.frame import examples, group, output
from fuse_dagster.app.cli.output import facts, table
from fuse_dagster.app.cli.places import Table, Tables, place
from fuse_dagster.app.cli.progress import steps
from fuse_dagster.app.values import counted, size

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fuse_dagster.tables import Compaction, Vacuumed

app = group("Look at Delta tables, and maintain them.")

UNKNOWN = "?"


@app.command("list", epilog=examples("fuse tables list lake", "fuse tables list lake/silver --json"))
def list_tables(
    context: typer.Context,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Path or URI of a folder.")] = ".",
) -> None:
    """List the Delta tables below a folder, with rows, files and bytes."""
    from fuse_dagster.app.looking import look, tables_below
    from fuse_dagster.core.errors import TableStateError
    from fuse_dagster.engines.local.addresses import normal_uri

    where = place(context, folder)
    out, root = output(context), normal_uri(where.uri)
    seen, broken = [], []
    for uri in steps(list(tables_below(where.uri, where.options)), "look at"):
        try:
            seen.append(look(uri, where.options))
        except TableStateError as error:
            broken.append({"uri": uri, "error": str(error)})
    rows = [
        (
            _below(root, one.uri),
            "history" if one.is_history else "table",
            one.version,
            one.rows,
            one.files,
            size(one.bytes),
        )
        for one in seen
    ]
    shown: list[RenderableType] = [table(["table", "kind", "version", "rows", "files", "size"], rows)]
    if not rows:
        shown = [f"No Delta table below `{root}`."]
    shown += [f"Damaged: {one['error']}" for one in broken]
    out.answer({"folder": root, "tables": seen, "damaged": broken}, *shown)


@app.command(
    epilog=examples("fuse tables show lake/silver/airports", "fuse tables show s3://lake/silver/airports --json")
)
def show(context: typer.Context, address: Table) -> None:
    """Show a table: version, rows, files, bytes, columns and properties."""
    from fuse_dagster.app.looking import look

    where = place(context, address)
    seen = look(where.uri, where.options)
    pairs: list[tuple[str, object]] = [
        ("table", seen.uri),
        ("kind", "history (SCD2)" if seen.is_history else "table"),
        ("version", seen.version),
        ("changed at", UNKNOWN if seen.changed_at is None else seen.changed_at),
        ("rows", UNKNOWN if seen.rows is None else seen.rows),
        ("files", seen.files),
        ("size", size(seen.bytes)),
    ]
    if seen.partition_columns:
        pairs.append(("partitioned by", ", ".join(seen.partition_columns)))
    pairs += list(seen.properties.items())
    columns = [
        (one["name"], one["type"], "" if one["nullable"] else "not null", one["comment"] or "") for one in seen.columns
    ]
    output(context).answer(seen, facts(pairs), table(["column", "type", "", "comment"], columns))


@app.command(epilog=examples("fuse tables history lake/silver/airports --limit 5"))
def history(
    context: typer.Context,
    address: Table,
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many versions at the most.")] = 20,
) -> None:
    """List the versions that a table's log knows, newest first.

    What held at a moment in a history table is another question: see `fuse history as-of`.
    """
    from fuse_dagster.app.looking import commits

    where = place(context, address)
    found = commits(where.uri, where.options, limit=limit)
    rows = [(one.version, one.committed_at, one.operation, "yes" if one.is_ours else "", one.by) for one in found]
    output(context).answer(found, table(["version", "committed at", "operation", "by fuse", "program"], rows))


@app.command(epilog=examples("fuse tables compact lake/silver/airports --dry-run", "fuse tables compact lake/a lake/b"))
def compact(
    context: typer.Context,
    addresses: Tables,
    *,
    cluster_by: Annotated[
        list[str] | None, typer.Option(help="Column to put rows in order by; may be repeated. A history has its keys.")
    ] = None,
    rows_per_file: Annotated[int | None, typer.Option(help="Rows of a full file of a clustered table.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Merge small files into full ones, in one commit per table that changes no row.

    A table that can't be compacted does not stop the others; the exit code tells.
    """
    from fuse_dagster.tables import compact as run
    from fuse_dagster.tables.new_files import ROWS_PER_FILE

    full = ROWS_PER_FILE if rows_per_file is None else rows_per_file
    outcomes, done = each(
        context,
        addresses,
        "compact",
        lambda where: run(
            where.uri, cluster_by=cluster_by or None, rows_per_file=full, storage_options=where.options, dry_run=dry_run
        ),
    )
    verb = "would be compacted" if dry_run else "compacted"
    headings = ["table", "result", "files before", "after", "merged", "rows moved", "version", "seconds"]
    output(context).answer(
        [one.told(dry_run=dry_run) for one in outcomes],
        table(headings, [_compacted(one, verb) for one in outcomes]),
        f"{sum(1 for report in done if report.files_removed)} of {len(outcomes)} {verb}{_failed(outcomes)}.",
        ok=len(done) == len(outcomes),
    )
    end(context, outcomes)


@app.command(
    epilog=examples("fuse tables vacuum lake/silver/airports", "fuse tables vacuum lake/silver/airports --yes")
)
def vacuum(
    context: typer.Context,
    addresses: Tables,
    *,
    retention_hours: Annotated[
        int | None, typer.Option(help="How long removed files stay; by default, and at the least, as the table says.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove the files. Without it they are only listed.")] = False,
) -> None:
    """List the files that no version within the retention needs; with --yes, remove them for good.

    A table that can't be looked at does not stop the others; the exit code tells.
    """
    from fuse_dagster.tables import vacuum as run

    outcomes, done = each(
        context,
        addresses,
        "vacuum",
        lambda where: run(where.uri, retention_hours=retention_hours, dry_run=not yes, storage_options=where.options),
    )
    files = [(one.table, name) for one in outcomes if one.report is not None for name in _files(one.report)]
    total = f"{counted(len(files), 'file')}, {size(sum(report.bytes for report in done))}"
    shown: list[RenderableType] = [table(["table", "file"], files)] if files and not yes else []
    if len(outcomes) > 1:
        shown.append(table(["table", "result", "files", "size"], [_vacuumed(one, yes=yes) for one in outcomes]))
    failed = _failed(outcomes)
    if yes:
        shown.append(f"Removed {total}{failed}.")
    else:
        shown.append(f"Would remove {total}{failed}. Nothing was removed; add `--yes` to do it.")
    output(context).answer([one.told() for one in outcomes], *shown, ok=len(done) == len(outcomes))
    end(context, outcomes)


def _compacted(one: Outcome[Compaction], verb: str) -> tuple[object, ...]:
    report = one.report
    if report is None:
        return (one.table, "failed", "", "", "", "", "", "")
    version = "" if report.version is None else report.version
    moved = report.files_before, report.files_after, report.files_removed, report.rows
    result = verb if report.files_removed else "nothing to do"
    return (one.table, result, *moved, version, round(report.seconds, 2))


def _vacuumed(one: Outcome[Vacuumed], *, yes: bool) -> tuple[object, ...]:
    if one.report is None:
        return (one.table, "failed", "", "")
    count = len(_files(one.report))
    result = "nothing to do" if not count else "removed" if yes else "would be removed"
    return (one.table, result, count, size(one.report.bytes))


def _files(report: Vacuumed) -> tuple[str, ...]:
    return (*report.files, *report.memory_files)


def _failed(outcomes: Sequence[Outcome[Compaction]] | Sequence[Outcome[Vacuumed]]) -> str:
    count = sum(1 for one in outcomes if one.error is not None)
    return f"; {counted(count, 'table')} failed" if count else ""


def _below(root: str, uri: str) -> str:
    return uri.removeprefix(f"{root}/") if uri != root else "."
