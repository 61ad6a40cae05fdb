"""`fuse run` and `fuse ui`: the Dagster project in the current folder."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fuse_dagster.app.cli import exits
from fuse_dagster.app.cli.frame import examples, output
from fuse_dagster.app.cli.output import table
from fuse_dagster.app.cli.progress import steps
from fuse_dagster.app.envelope import Kind
from fuse_dagster.app.values import counted

if TYPE_CHECKING:
    from fuse_dagster.app.project import Ran

Module = Annotated[
    str | None,
    typer.Option(
        "--module", "-m", help="Module with the definitions; else what pyproject.toml says in [tool.dagster]."
    ),
]
RUN_EXAMPLES = examples(
    "fuse run silver/flights --partition 2013-01",
    'fuse run "group:gold" -m my_project.definitions',
    "fuse run bronze/airports+ --partition 20240101...20240601 --json",
)
UI_EXAMPLES = examples("fuse ui", "fuse ui --port 3001 -m my_project.definitions")


def run(
    context: typer.Context,
    selection: Annotated[str, typer.Argument(help="Assets, in Dagster's selection language.")] = "*",
    *,
    partition: Annotated[
        str | None, typer.Option("--partition", "-p", help="A partition, or a range as first...last: a run each.")
    ] = None,
    module: Module = None,
) -> None:
    """Materialize assets of the project in this process, and show what each wrote.

    Runs are recorded in DAGSTER_HOME, where that is set. The first run that fails ends it. A check that fails is an
    error, a check that warns is not.
    """
    import dagster as dg

    from fuse_dagster.app.project import chosen, load, materialize, module_of, partitions_of

    out, here = output(context), Path.cwd()
    defs = load(module or module_of(here), here)
    keys = chosen(defs, selection)
    kept = bool(os.environ.get("DAGSTER_HOME"))
    with dg.DagsterInstance.get() if kept else dg.DagsterInstance.ephemeral() as instance:
        wanted = partitions_of(defs, keys, partition, instance)
        done = [materialize(defs, keys, one, instance) for one in steps(wanted, "run")]
    if not kept:
        out.note("`DAGSTER_HOME` is not set, so this run is recorded nowhere. The tables are written all the same.")
    _answer(context, done)


def ui(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the web UI.")] = 3000,
    host: Annotated[str, typer.Option(help="Address that it listens on.")] = "127.0.0.1",
    module: Module = None,
) -> None:
    """Open the Dagster web UI on the project, by `dagster dev`, until Ctrl-C.

    Without --module it loads the workspace.yaml of the current folder, or what its pyproject.toml says.
    """
    from fuse_dagster.core.errors import MissingExtraError

    if find_spec("dagster_webserver") is None:
        msg = 'The web UI needs the package `dagster-webserver`. Install it with: pip install "fuse-dagster[demo]"'
        raise MissingExtraError(msg)
    command = [sys.executable, "-m", "dagster", "dev", "--port", str(port), "--host", host]
    command += ["-m", module] if module else []
    # `dagster dev` looks for its companions on the path.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    try:
        code = subprocess.run(command, env=os.environ | {"PATH": path}, check=False).returncode  # noqa: S603 - our own words
    except KeyboardInterrupt:
        code = exits.OK
    raise typer.Exit(exits.OK if code == 0 else exits.CODES[Kind.FAILED])


def _answer(context: typer.Context, done: list[Ran]) -> None:
    out = output(context)
    written = [one for run in done for one in run.materialized]
    checks = [one for run in done for one in run.checks]
    failed = [one for one in checks if not one.passed and one.severity == "ERROR"]
    rows = [
        (one.asset, one.partition or "", one.rows, one.version, None if one.seconds is None else round(one.seconds, 2))
        for one in written
    ]
    shown = [table(["asset", "partition", "rows", "version", "seconds"], rows)]
    if checks:
        shown.append(
            table(
                ["check", "of", "outcome"],
                [(one.check, one.asset, _outcome(one.passed, one.severity)) for one in checks],
            )
        )
    summary = f"{counted(len(written), 'asset')} materialized by {counted(len(done), 'run')}"
    said = f"{summary}, {counted(len(failed), 'check')} failed."
    out.answer({"runs": done, "checks_failed": len(failed)}, *shown, said, ok=not failed)
    if failed:
        raise typer.Exit(exits.CODES[Kind.FAILED])


def _outcome(passed: bool, severity: str) -> str:  # noqa: FBT001 - what a check says
    return "passed" if passed else ("failed" if severity == "ERROR" else "warned")
