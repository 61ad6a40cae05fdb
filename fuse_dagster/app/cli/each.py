"""One verb for several tables: what fails for one does not stop the others, and the exit code tells."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import typer

from fuse_dagster.app.cli import exits
from fuse_dagster.app.cli.frame import output
from fuse_dagster.app.cli.places import Place, place
from fuse_dagster.app.cli.progress import steps
from fuse_dagster.app.envelope import Kind, kind_of, message, refused

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[T]):
    """What came of one table.

    Attributes:
        table: As it was named on the command line.
        report: What was done; None where it failed.
        error: Why it failed; None where it did not.
    """

    table: str
    report: T | None = None
    error: Exception | None = None

    def told(self, **facts: object) -> dict[str, object]:
        """What a machine reads: the report and `facts`, or the error."""
        if self.error is not None:
            return {"table": self.table, "error": refused(self.error)["error"]}
        return {"table": self.table, **facts, "report": self.report}


def each(
    context: typer.Context, addresses: Sequence[str], doing: str, run: Callable[[Place], T]
) -> tuple[list[Outcome[T]], list[T]]:
    """Do something with every table.

    Args:
        context: Of the verb.
        addresses: The tables; the error of a single one is raised as it is.
        doing: What is done, for the progress.
        run: What to do with one.

    Returns:
        What came of each, and the reports of those that went well.
    """
    if len(addresses) == 1:
        report = run(place(context, addresses[0]))
        return [Outcome(table=addresses[0], report=report)], [report]
    found: list[Outcome[T]] = []
    done: list[T] = []
    for address in steps(addresses, doing):
        try:
            report = run(place(context, address))
        except Exception as error:  # harmless to the others: it is said with its table, and decides the exit code
            logger.debug("`%s` failed", address, exc_info=True)
            found.append(Outcome(table=address, error=error))
        else:
            done.append(report)
            found.append(Outcome(table=address, report=report))
    return found, done


def end(context: typer.Context, outcomes: Sequence[Outcome[T]]) -> None:
    """Say what failed; the exit code is that of its kind, or 1 where it is of several."""
    failed = [(one.table, one.error) for one in outcomes if one.error is not None]
    if not failed:
        return
    out = output(context)
    for table, error in () if out.as_json else failed:
        out.note(f"Error: `{table}`: {message(error)}")
    kinds = {kind_of(error) for _, error in failed}
    raise typer.Exit(exits.CODES[kinds.pop() if len(kinds) == 1 else Kind.FAILED])
