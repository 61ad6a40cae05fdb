"""`fuse read`: the first rows of a Delta table, of files, or of what a connection holds or answers."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from fuse_dagster.app.cli.frame import call_of, examples, output
from fuse_dagster.app.cli.interrupts import ended_at_once
from fuse_dagster.app.cli.output import frame_table
from fuse_dagster.app.cli.places import place
from fuse_dagster.app.values import counted, frame_of

if TYPE_CHECKING:
    from fuse_dagster.app.previewing import Preview, Wanted
    from fuse_dagster.connectors.base import Connector


class _Format(StrEnum):
    DELTA = "delta"
    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"
    EXCEL = "excel"
    AVRO = "avro"
    XML = "xml"
    FIXED = "fixed"


EXAMPLES = examples(
    "fuse read lake silver/airports",
    "fuse read lake/silver/airports --limit 5",
    "fuse read lake/silver/airports --as-of 2024-06-01 --columns icao,name",
    "fuse read landing/airports.csv --where \"country = 'AT' AND elevation > 2000\"",
    "fuse read landing/flights.txt --format fixed -o 'columns=carrier:1-2; number:3-6:int64'",
    'fuse read lake/silver/flights --sql "SELECT carrier, count(*) AS n FROM data GROUP BY 1 ORDER BY 2 DESC"',
    "fuse read shop public.orders --columns id,total --limit 5",
    'fuse read shop --query "SELECT status, count(*) AS n FROM orders WHERE total > 100 GROUP BY 1"',
)


def read(
    context: typer.Context,
    address: Annotated[
        list[str],
        typer.Argument(
            metavar="[CONNECTION] PATH",
            help="Path or URI of a table, a file or a folder of files; or a connection and a name that it knows.",
        ),
    ],
    *,
    columns: Annotated[str | None, typer.Option(help="The columns to show, separated by commas.")] = None,
    where: Annotated[str | None, typer.Option(help="SQL condition that the rows meet.")] = None,
    sql: Annotated[str | None, typer.Option(help="A SELECT over the rows, which it calls `data`.")] = None,
    question: Annotated[
        str | None,
        typer.Option("--query", help="Ask the connection in its own language, as SQL, in place of a name."),
    ] = None,
    as_of: Annotated[str | None, typer.Option(help="What a history held at this date or time (ISO 8601).")] = None,
    version: Annotated[int | None, typer.Option(help="Version of a Delta table.")] = None,
    timestamp: Annotated[
        str | None, typer.Option(help="The version of a Delta table that was current at this date or time.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="How many rows at the most.")] = 20,
    count: Annotated[
        bool, typer.Option("--count", help="Count the rows, also where that means to read all of them.")
    ] = False,
    layout: Annotated[_Format | None, typer.Option("--format", help="How the rows are stored; guessed.")] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="NAME=VALUE", help="An option of the format, as `separator=;`."),
    ] = None,
) -> None:
    """Show the first rows of a Delta table, of files, or of what a connection holds or answers, with columns and types.

    Files are Parquet, CSV, JSON, XML, Excel, Avro or of fixed width. --where and --sql are worked out here; --query
    asks the other side.
    """
    from fuse_dagster.app.asking import first_rows
    from fuse_dagster.app.previewing import Wanted

    wanted = Wanted(
        columns=None if columns is None else [name.strip() for name in columns.split(",")],
        where=where,
        sql=sql,
        version=version,
        timestamp=timestamp,
        as_of=as_of,
        limit=limit,
        count=count,
        options=_options(options or []),
    )
    most = 2 if question is None else 1
    if len(address) > most:
        after = "a path, or a connection and a path" if question is None else "a connection, without a path"
        raise typer.BadParameter(f"it takes {after}; these are {len(address)} words.")
    asked = _connection(context, address, question)
    with ended_at_once():
        if asked is None:
            found = _preview(context, address, wanted, layout)
        elif question is None and _holds_files(asked):
            found = _file(asked, address[-1], wanted, layout)
        elif layout is not None:
            raise typer.BadParameter(f"--format is for files; a `{asked.type}` holds none.")
        else:
            found = first_rows(asked, wanted, name=None if question is not None else address[-1], question=question)
    result = {
        "uri": found.uri,
        "format": found.format,
        "version": found.version,
        "rows_total": found.rows_total,
        "is_all": found.is_all,
        **frame_of(found.rows),
    }
    output(context).answer(result, *frame_table(found.rows), _summary(found))


def _connection(context: typer.Context, address: list[str], question: str | None) -> Connector | None:
    """The connection that is asked for rows; None where the address is that of a table or of files."""
    name = address[0] if len(address) > 1 or question is not None else call_of(context).connection
    if name is None:
        return None
    from fuse_dagster.app.profiles import connection_of
    from fuse_dagster.connectors.lake import Lake

    found = connection_of(name)
    return None if isinstance(found, Lake) and question is None else found


def _preview(context: typer.Context, address: list[str], wanted: Wanted, layout: _Format | None) -> Preview:
    from fuse_dagster.app.previewing import preview
    from fuse_dagster.engines.local.addresses import is_of_spark
    from fuse_dagster.engines.local.files import Format
    from fuse_dagster.orchestration.files import fetched

    where = place(context, address[-1], connection=address[0] if len(address) > 1 else None)
    chosen = None if layout is None else Format(layout.value)
    if where.lake is None or not is_of_spark(where.uri):
        return preview(where.uri, wanted, storage_options=where.options, layout=chosen)
    with fetched(where.lake, where.name) as copy:  # what only its connector opens here
        return replace(preview(str(copy), wanted, storage_options={}, layout=chosen), uri=where.uri)


def _options(said: list[str]) -> dict[str, str | bool | int]:
    found: dict[str, str | bool | int] = {}
    for one in said:
        name, sign, value = one.partition("=")
        if not sign or not name:
            raise typer.BadParameter(f"`{one}` is no option. Valid: `NAME=VALUE`, as `separator=;`.")
        words: dict[str, bool] = {"true": True, "false": False}
        found[name.strip()] = words.get(value.lower(), int(value) if value.isdecimal() else value)
    return found


def _holds_files(connector: Connector) -> bool:
    from fuse_dagster.connectors.base import CanRead, CanReadRows

    return isinstance(connector, CanRead) and not isinstance(connector, CanReadRows)


def _file(connector: Connector, path: str, wanted: Wanted, layout: _Format | None) -> Preview:
    """The first rows of a file that only its connector opens, of a copy on this machine."""
    from fuse_dagster.app.previewing import preview
    from fuse_dagster.engines.local.files import Format
    from fuse_dagster.orchestration.files import fetched

    chosen = None if layout is None else Format(layout.value)
    with fetched(connector, path) as copy:
        return replace(
            preview(str(copy), wanted, storage_options={}, layout=chosen), uri=f"{connector.place.rstrip('/')}/{path}"
        )


def _summary(found: Preview) -> str:
    of = str(found.format) if found.version is None else f"{found.format}, version {found.version}"
    if found.is_all:
        return f"{counted(found.rows.height, 'row')}, all there are ({of})."
    total = "more, not counted (`--count` does)" if found.rows_total is None else f"{found.rows_total:,}"
    return f"First {counted(found.rows.height, 'row')} of {total} ({of})."
