"""`fuse profiles` and `fuse connections`: what fuse.yaml says, and whether it works."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from fuse_dagster.app.cli import completing, exits
from fuse_dagster.app.cli.frame import examples, group, output
from fuse_dagster.app.cli.output import table
from fuse_dagster.app.envelope import kind_of
from fuse_dagster.app.values import counted

profiles = group("The profiles of fuse.yaml.")
connections = group("The connections of a profile.")


@profiles.callback()
def _profiles() -> None:
    """Look at the profiles of fuse.yaml."""


@profiles.command("show", epilog=examples("fuse profiles show", "fuse profiles show --profile prod --json"))
def show_profile(context: typer.Context) -> None:
    """Show a profile as it is resolved: every field, where its value came from, secrets masked.

    The profile is that of --profile, else of FUSE_PROFILE, else the file's default.
    """
    from fuse_dagster.app.profiles import profile

    found = profile()
    rows = [{"field": row.name, "value": row.value, "from": str(row.origin)} for row in found.rows()]
    said = f"Profile `{found.name}` of {found.file}" + (", in production." if found.production else ".")
    output(context).answer(
        {
            "profile": found.name,
            "file": found.file,
            "production": found.production,
            "fields": rows,
            "warnings": found.warnings,
        },
        table(["field", "value", "from"], [tuple(row.values()) for row in rows]),
        said,
    )


@profiles.command("schema", epilog=examples("fuse profiles schema > fuse.schema.json", "fuse profiles schema --json"))
def show_schema(context: typer.Context) -> None:
    """Write the JSON Schema of fuse.yaml, with every connector that is installed, for editors.

    Name the file in the first line of fuse.yaml: # yaml-language-server: $schema=fuse.schema.json
    """
    from fuse_dagster.connectors.profile_schema import profile_schema

    schema = profile_schema()
    output(context).answer(schema, json.dumps(schema, indent=2, ensure_ascii=False))


@connections.command("list", epilog=examples("fuse connections list", "fuse connections list --profile prod"))
def list_connections(context: typer.Context) -> None:
    """List the connections of a profile, and where each leads."""
    from fuse_dagster.app.profiles import profile

    found = profile()
    rows = [
        {"connection": name, "type": connector.type, "root": connector.place}
        for name, connector in found.connections.items()
    ]
    output(context).answer(
        {"profile": found.name, "connections": rows, "warnings": found.warnings},
        table(["connection", "type", "root"], [tuple(row.values()) for row in rows]),
        f"{counted(len(rows), 'connection')} in profile `{found.name}`.",
    )


@connections.command(
    "test", epilog=examples("fuse connections test lake", "fuse connections test lake --write --profile prod")
)
def try_connection(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="CONNECTION", help="A connection of the profile.", autocompletion=completing.connections
        ),
    ],
    *,
    write: Annotated[
        bool, typer.Option("--write", help="Write a small file, too, read it and remove it again.")
    ] = False,
) -> None:
    """Try whether a connection works: its secrets, its settings, and the store's answer.

    Each step says how long it took, and the one that fails what to check. Nothing is written without --write.
    """
    from fuse_dagster.app.profiles import connection_of, tried

    steps = list(tried(connection_of(name), write=write))
    failed = next((step.error for step in steps if step.error is not None), None)
    rows = [("ok" if step.ok else "fail", step.what, round(step.seconds, 3)) for step in steps]
    verdict = f"`{name}` works." if failed is None else steps[-1].said
    told = [{"what": one.what, "ok": one.ok, "seconds": one.seconds, "said": one.said} for one in steps]
    output(context).answer(
        {"connection": name, "steps": told}, table(["", "step", "seconds"], rows), verdict, ok=failed is None
    )
    if failed is not None:
        raise typer.Exit(exits.CODES[kind_of(failed)])
