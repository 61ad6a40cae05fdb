"""`fuse read`: the first rows of a Delta table or of files."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from fuse_dagster.app.cli.frame import examples, output
from fuse_dagster.app.cli.interrupts import ended_at_once
from fuse_dagster.app.cli.output import frame_table
from fuse_dagster.app.cli.places import place
from fuse_dagster.app.values import counted, frame_of

if TYPE_CHECKING:
    from fuse_dagster.app.previewing import Preview


class _Format(StrEnum):
    DELTA = "delta"
    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"
    EXCEL = "excel"
    AVRO = "avro"


EXAMPLES = examples(
    "fuse read lake silver/airports",
    "fuse read lake/silver/airports --limit 5",
    "fuse read lake/silver/airports --as-of 2024-06-01 --columns icao,name",
    "fuse read landing/airports.csv --where \"country = 'AT' AND elevation > 2000\"",
    'fuse read lake/silver/flights --sql "SELECT carrier, count(*) AS n FROM data GROUP BY 1 ORDER BY 2 DESC"',
)


def read(
    context: typer.Context,
    address: Annotated[
        list[str],
        typer.Argument(
            metavar="[CONNECTION] PATH",
            help="Path or URI of a table, a file or a folder of files; or a name below a connection.",
        ),
    ],
    *,
    columns: Annotated[str | None, typer.Option(help="The columns to show, separated by commas.")] = None,
    where: Annotated[str | None, typer.Option(help="SQL condition that the rows meet.")] = None,
    sql: Annotated[str | None, typer.Option(help="A SELECT over the rows, which it calls `data`.")] = None,
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
) -> None:
    """Show the first rows of a Delta table, or of Parquet, CSV, JSON, Excel or Avro files, with columns and types."""
    from fuse_dagster.app.previewing import Wanted, preview
    from fuse_dagster.engines.local.addresses import is_of_spark
    from fuse_dagster.engines.local.files import Format
    from fuse_dagster.orchestration.files import fetched

    wanted = Wanted(
        columns=None if columns is None else [name.strip() for name in columns.split(",")],
        where=where,
        sql=sql,
        version=version,
        timestamp=timestamp,
        as_of=as_of,
        limit=limit,
        count=count,
    )
    if len(address) > 2:
        msg = f"it takes a path, or a connection and a path; these are {len(address)} words."
        raise typer.BadParameter(msg)
    where_it_is = place(context, address[-1], connection=address[0] if len(address) > 1 else None)
    chosen = None if layout is None else Format(layout.value)
    with ended_at_once():
        if where_it_is.lake is not None and is_of_spark(where_it_is.uri):  # what only its connector opens here
            with fetched(where_it_is.lake, where_it_is.name) as copy:
                found = replace(preview(str(copy), wanted, storage_options={}, layout=chosen), uri=where_it_is.uri)
        else:
            found = preview(where_it_is.uri, wanted, storage_options=where_it_is.options, layout=chosen)
    result = {
        "uri": found.uri,
        "format": found.format,
        "version": found.version,
        "rows_total": found.rows_total,
        "is_all": found.is_all,
        **frame_of(found.rows),
    }
    output(context).answer(result, *frame_table(found.rows), _summary(found))


def _summary(found: Preview) -> str:
    of = str(found.format) if found.version is None else f"{found.format}, version {found.version}"
    if found.is_all:
        return f"{counted(found.rows.height, 'row')}, all there are ({of})."
    total = "more, not counted (`--count` does)" if found.rows_total is None else f"{found.rows_total:,}"
    return f"First {counted(found.rows.height, 'row')} of {total} ({of})."
