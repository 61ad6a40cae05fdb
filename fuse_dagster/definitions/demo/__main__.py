"""`make demo`: delivers the data, materializes every asset, and shows what came of it."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from fuse_dagster.connectors.database import Database
from fuse_dagster.connectors.local import Local
from fuse_dagster.core.errors import FuseError
from fuse_dagster.definitions.demo.board import Traffic, in_background
from fuse_dagster.definitions.demo.delivery import deliver
from fuse_dagster.definitions.demo.project import demo_definitions
from fuse_dagster.definitions.demo.reporting import arrived, next_steps, outcome, progress_line
from fuse_dagster.definitions.demo.running import LOAD_BOARD, Done, plan, run
from fuse_dagster.definitions.demo.server import flight_board, why_no_server
from fuse_dagster.definitions.demo.settings import ENGINES, Places, board, engine, instance_settings, lake, places


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo.

    Args:
        arguments: Of the command line; those of the process by default.

    Returns:
        The exit code: 0, or 1 where a run or a check failed.
    """
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=120)
    where = places()
    started = time.monotonic()
    try:
        delivered = deliver(where.landing)
        console.print(f"Landing folder [bold]{where.landing}[/]: {delivered} files delivered.")
        given = board(options.profile)
        defs = demo_definitions(where, lake=lake(where, options.profile), board=given, engine=engine(options.engine))
        with flight_board(where.board, given) as shown:
            console.print(_where_the_board_is(shown, where, given))
            done = _materialize(defs, where, console, Traffic(shown), newest_first=options.reverse)
    except FuseError as error:
        console.print(f"\n[bold red]Failed.[/] {error}", soft_wrap=True)
        return 1
    console.print(outcome(done))
    console.print(arrived(done))
    console.print(next_steps(done, seconds=time.monotonic() - started))
    return 1 if any(item.failures for item in done) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fuse_dagster.definitions.demo", description=__doc__)
    parser.add_argument(
        "--reverse", action="store_true", help="load the airport releases newest first; the history is the same"
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        help="what writes the tables and runs the SQL models: FUSE_DEMO_ENGINE says it, too, and the default is local",
    )
    parser.add_argument(
        "--profile", help="keep the tables where this profile of fuse.yaml says: FUSE_PROFILE says it, too"
    )
    return parser


def _where_the_board_is(shown: Database, where: Places, given: Database | None) -> str:
    """Say in one line what the second source is."""
    if given is not None or not (reason := why_no_server(where.board)):
        return f"Flight board [bold]{shown.place}[/]: a database that changes while this runs."
    return (
        f"Flight board [bold]{shown.place}[/]: DuckDB in place of PostgreSQL, as {reason}. It changes while this runs."
    )


def _materialize(
    defs: dg.Definitions, where: Places, console: Console, traffic: Traffic, *, newest_first: bool
) -> list[Done]:
    where.dagster_home.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(instance_settings(), where.dagster_home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(where.dagster_home)
    steps = plan(Local(root=str(where.landing)), newest_first=newest_first)
    done: list[Done] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    shown = Progress(*columns, TimeElapsedColumn(), console=console)
    last = max(number for number, step in enumerate(steps) if step == LOAD_BOARD)
    with dg.DagsterInstance.get() as instance, in_background(traffic) as playing, shown as bar:
        task = bar.add_task("runs", total=len(steps))
        for number, step in enumerate(steps):
            if number == last:
                playing.finish()
            else:
                playing.tick()  # the board changes while the run goes on
            bar.update(task, description=step.title)
            for item in run(defs, step, instance):
                bar.console.print(progress_line(step, item))
                done.append(item)
            bar.advance(task)
    return done


if __name__ == "__main__":
    sys.exit(main())
