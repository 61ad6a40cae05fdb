"""What the demo says on the terminal: a line per asset while it runs, a table at the end, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from fuse_dagster.definitions.demo.running import Done, Step
from fuse_dagster.engines.local.addresses import is_local


def progress_line(step: Step, done: Done) -> str:
    """Say what one materialization did, in one line with rich's markup."""
    part = f" [dim]{step.partition}[/]" if step.partition else ""
    counts = ((done.inserted, "inserted"), (done.updated, "updated"), (done.closed, "closed"))
    changes = ", ".join(f"{count:,} {word}" for count, word in counts if count) or "written"
    what = f"{changes} [dim](version {done.version})[/]" if done.committed else "[dim]nothing to commit[/]"
    said = [f" [yellow]check {name} warns[/]" for name in done.warnings]
    said += [f" [red]check {name} failed[/]" for name in done.failures]
    return f"[green]✓[/] {done.asset}{part}: {what}{''.join(said)}"


def outcome(done: Sequence[Done]) -> Table:
    """Build the table of all assets, in the order in which they were first materialized.

    Args:
        done: What every materialization reported; those of the partitions of one asset add up.

    Returns:
        A table for rich's console.
    """
    table = Table(
        title="\nWhat lies in the lake now", title_justify="left", box=None, pad_edge=False, header_style="bold"
    )
    table.add_column("asset", no_wrap=True)
    for name in ("rows", "inserted", "updated", "closed", "version", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("where", style="dim", overflow="fold")
    for asset in dict.fromkeys(item.asset for item in done):
        parts = [item for item in done if item.asset == asset]
        last = parts[-1]
        table.add_row(
            asset,
            f"{last.rows:,}",
            *(f"{sum(getattr(item, name) for item in parts):,}" for name in ("inserted", "updated", "closed")),
            str(last.version),
            f"{sum(item.seconds for item in parts):.1f}",
            nearby(last.where),
        )
    return table


def arrived(done: Sequence[Done]) -> Table:
    """Build the table of what came from each source.

    Args:
        done: What every materialization reported.

    Returns:
        A table for rich's console: the landing folder, then each table of the flight board.
    """
    table = Table(
        title="\nWhat arrived from each source", title_justify="left", box=None, pad_edge=False, header_style="bold"
    )
    for name in ("source", "into"):
        table.add_column(name, no_wrap=True)
    for name in ("runs", "rows brought", "rows there"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("read up to", style="dim")
    for asset in dict.fromkeys(item.asset for item in done):
        parts = [item for item in done if item.asset == asset]
        loads = [item.loaded for item in parts if item.loaded is not None]
        if loads:
            source, brought = asset.replace("/", "."), sum(loads)
        elif asset.startswith("bronze/"):
            source, brought = "files", sum(item.inserted + item.updated for item in parts)
        else:
            continue
        row = (str(len(parts)), f"{brought:,}", f"{parts[-1].rows:,}", parts[-1].watermark)
        table.add_row(source, asset, *row)
    return table


def next_steps(done: Sequence[Done], *, seconds: float) -> str:
    """Say how it went and what to type next, with rich's markup."""
    commits = sum(item.committed for item in done)
    failures = [f"{item.asset}: {name}" for item in done for name in item.failures]
    warned = dict.fromkeys(f"{item.asset}: {name}" for item in done for name in item.warnings)
    lines = [
        f"\n{commits} commits" if commits else "\nNothing had changed, so nothing was committed",
        f", in {seconds:.0f} seconds. ",
        f"[red]Checks failed: {', '.join(failures)}.[/]" if failures else "No check failed.",
        f" [yellow]Warnings: {', '.join(warned)}; the rows are in the quarantine beside it.[/]" if warned else "",
        "\n\n[bold]What next[/]",
        "\n  [cyan]make ui[/]     all of this in the Dagster web UI, at http://localhost:3000",
        "\n  [cyan]make demo[/]   once more: nothing has changed, so nothing is committed",
    ]
    history = next((item.where for item in done if item.asset == "silver/airport_history"), None)
    if history is not None and is_local(history):
        code = (
            f"import polars as pl; pl.read_delta('{nearby(history)}').filter(icao='UKBB').sort('valid_from').glimpse()"
        )
        lines.append(f'\n  [cyan].venv/bin/python -c "{code}"[/]')
        lines.append("\n              one airport's history: Kyiv Boryspil, whose time zone got another name")
    return "".join(lines)


def nearby(path: str) -> str:
    """Shorten a path to what one can type from here."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
