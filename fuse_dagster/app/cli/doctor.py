"""`fuse doctor`: whether this machine has what is needed."""

from __future__ import annotations

import typer

from fuse_dagster.app.cli import exits
from fuse_dagster.app.cli.frame import examples, output
from fuse_dagster.app.cli.output import table
from fuse_dagster.app.envelope import Kind
from fuse_dagster.app.values import counted

EXAMPLES = examples("fuse doctor", "fuse doctor --json")


def doctor(context: typer.Context) -> None:
    """Look whether this machine has what is needed, and say what to do about each thing that is amiss.

    `note`: absent, and only some need it. `fail`: wrong; the exit code is then 1. Nothing is changed.
    """
    from fuse_dagster.app.doctoring import examine
    from fuse_dagster.app.findings import Status

    found = list(examine())
    failed = [one for one in found if one.status is Status.FAIL]
    rows = [(one.status, one.what, one.found, one.do) for one in found]
    verdict = f"{counted(len(failed), 'thing')} to put right." if failed else "All is well."
    output(context).answer(found, table(["", "what", "found", "what to do"], rows), verdict, ok=not failed)
    if failed:
        raise typer.Exit(exits.CODES[Kind.FAILED])
