"""What `write` and the IO manager cost over `write_deltalake`, for a plain append of a million rows."""

from __future__ import annotations

import resource
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import polars as pl
from deltalake import write_deltalake

from fuse_dagster import DeltaIOManager, Local
from fuse_dagster.tables import Append, write
from fuse_dagster_tests.benchmarks.batches import snapshot

ROWS = 1_000_000


def overhead(rounds: int, rows: int = ROWS) -> dict[str, float]:
    """Median CPU seconds by way; the IO manager's are those between the asset's return and the end of its step.

    Args:
        rounds: How often each way appends, to a table that has rows already.
        rows: Rows of the frame.
    """
    frame = snapshot(rows, 0)
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[], float]] = {
            "write_deltalake": lambda: _timed(lambda: write_deltalake(f"{folder}/plain", frame, mode="append")),
            "tables.write(Append())": lambda: _timed(lambda: write(f"{folder}/ours", frame, Append())),
            "DeltaIOManager, in a run": _through_dagster(frame, Path(folder, "lake")),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds + 2):
            for name, way in ways.items():
                seconds = way()
                if number > 1:  # the first one makes the table, the next is a warm-up
                    found[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in found.items()}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _timed(call: Callable[[], object]) -> float:
    before = _cpu()
    call()
    return _cpu() - before


def _through_dagster(frame: pl.DataFrame, root: Path) -> Callable[[], float]:
    """A materialization whose IO manager is measured from inside: a subclass that looks at the clock."""
    seconds: list[float] = []

    class Timed(DeltaIOManager):
        def handle_output(self, context: dg.OutputContext, obj: object) -> None:
            seconds.append(_timed(lambda: super(Timed, self).handle_output(context, obj)))

    @dg.asset(metadata={"write": "append"})
    def airports() -> pl.DataFrame:
        return frame

    def materialize() -> float:
        manager = Timed(lake=Local(root=str(root)))
        assert dg.materialize([airports], resources={"io_manager": manager}).success
        return seconds[-1]

    return materialize
