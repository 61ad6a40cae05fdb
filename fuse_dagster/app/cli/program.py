"""The program itself: its global options and its groups of verbs."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import fuse_dagster
from fuse_dagster.app.cli import (
    care,
    completing,
    connectors,
    doctor,
    history,
    load,
    profiles,
    project,
    read,
    spark,
    tables,
)
from fuse_dagster.app.cli.frame import SETTINGS, Call, Root
from fuse_dagster.app.cli.logs import LogFormat, LogLevel, set_up
from fuse_dagster.app.cli.output import Output

app = typer.Typer(
    cls=Root,
    name="fuse",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
)


def _version(value: bool) -> None:  # noqa: FBT001 - typer's way to say a flag
    if value:
        sys.stdout.write(f"fuse_dagster {fuse_dagster.__version__}\n")
        raise typer.Exit


@app.callback()
def global_options(
    context: typer.Context,
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Answer with one JSON document: a result or an error.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    log_format: Annotated[LogFormat, typer.Option(help="How log lines are written to stderr.")] = LogFormat.HUMAN,
    log_level: Annotated[LogLevel, typer.Option(help="The lowest level that is written.")] = LogLevel.WARNING,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Profile of fuse.yaml; else FUSE_PROFILE, else the file's default.", autocompletion=completing.profiles
        ),
    ] = None,
    connection: Annotated[
        str | None,
        typer.Option(
            help="Connection of the profile: tables are then names below it.", autocompletion=completing.connections
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it, and stop.")
    ] = False,
) -> None:
    """Look at Delta tables and histories, care for them, and run the project that writes them.

    Global options may also stand behind the verb. Results go to stdout, all else to stderr.
    """
    del version
    set_up(log_format, log_level)
    if profile is not None:
        os.environ["FUSE_PROFILE"] = profile  # also for what this process imports or starts
    context.obj = Call(output=Output(as_json=as_json, debug=debug), connection=connection)


app.command(epilog=read.EXAMPLES)(read.read)
app.command(epilog=load.EXAMPLES)(load.load)
app.add_typer(tables.app, name="tables")
app.add_typer(history.app, name="history")
history.app.command(epilog=care.ADOPT_EXAMPLES)(care.adopt)
history.app.command(epilog=care.REBUILD_EXAMPLES)(care.rebuild)
app.command(epilog=project.RUN_EXAMPLES)(project.run)
app.command(epilog=project.UI_EXAMPLES)(project.ui)
app.add_typer(profiles.profiles, name="profiles")
app.add_typer(profiles.connections, name="connections")
app.add_typer(connectors.app, name="connectors")
app.add_typer(spark.app, name="spark")
app.command(epilog=doctor.EXAMPLES)(doctor.doctor)


def main() -> None:
    """Run the command line with the arguments of this process."""
    app(prog_name="fuse")
