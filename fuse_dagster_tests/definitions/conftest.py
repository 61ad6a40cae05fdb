"""A project of one's own per test: a small landing folder of real rows, a lake, a Dagster instance."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from fuse_dagster.definitions.demo.board import Traffic
from fuse_dagster.definitions.demo.delivery import SHIPPED
from fuse_dagster.definitions.demo.partitions import RELEASES
from fuse_dagster.definitions.demo.project import demo_definitions
from fuse_dagster.definitions.demo.running import CONSOLE
from fuse_dagster.definitions.demo.server import file_board
from fuse_dagster.definitions.demo.settings import Places
from fuse_dagster.orchestration.io_manager import DeltaTables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fuse_dagster.connectors.lake import Lake

OLD = 1_500_000_000
"""A time of modification long ago, in seconds since the epoch: nobody is still writing the file."""


def shipped_lines(name: str, keep: Callable[[int, str], bool]) -> list[str]:
    """Header and some rows of a shipped file; `keep` is asked with the row number (1 is the first) and the line."""
    with pa.OSFile(str(SHIPPED / f"{name}.zst")) as file, pa.CompressedInputStream(file, "zstd") as stream:
        header, *rows = stream.read().decode().splitlines()
    return [header, *(row for number, row in enumerate(rows, start=1) if keep(number, row))]


def in_scope(_: int, row: str) -> bool:
    """The airports of a few regions, among them New York's, Kyiv's and Austria's."""
    return row.startswith(('"KE', '"KJ', '"KL', '"UK', '"LO'))


@dataclass(frozen=True, kw_only=True)
class Project:
    """The demo on a small landing folder."""

    places: Places
    defs: dg.Definitions
    instance: dg.DagsterInstance

    def land(self, name: str, content: list[str] | bytes) -> Path:
        """Put a file into the landing folder, complete and long finished."""
        path = self.places.landing / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else ("\n".join(content) + "\n").encode())
        os.utime(path, (OLD, OLD))
        return path

    def land_release(self, release: str) -> list[str]:
        """Land the airports in scope of a real release, and return its lines."""
        lines = shipped_lines(f"airports/airports_{release}.csv", in_scope)
        self.land(f"airports/airports_{release}.csv", lines)
        return lines

    def land_the_rest(self) -> None:
        """Land some real flights of two months, and the small tables."""
        for month, rows in (("01", range(1, 400)), ("05", range(11_900, 12_000))):
            name = f"flights/flights_2013-{month}.csv"
            self.land(name, shipped_lines(name, lambda number, _, rows=rows: number in rows))
        self.land(
            "weather/weather_2013.csv", shipped_lines("weather/weather_2013.csv", lambda number, _: number < 1_020)
        )
        for name in ("planes/planes.csv", "carriers/carriers.csv"):
            self.land(name, shipped_lines(name, lambda _, __: True))

    def play(self, steps: int = 2) -> None:
        """Play some hours on a flight board in a file of DuckDB, at times that are always the same."""
        traffic = Traffic(file_board(self.places.board), lambda step: datetime(2026, 1, 1, step, tzinfo=UTC))
        for _ in range(steps):
            traffic.step()

    def run(self, job: str, partition: str | None = None) -> dg.ExecuteInProcessResult:
        """Run a job, and return what became of it, a failure too."""
        if job == "load_release" and partition:
            self.instance.add_dynamic_partitions(RELEASES.name or "", [partition])
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=partition, raise_on_error=False, run_config=CONSOLE
        )

    def state(self) -> dict[str, tuple[int, list[str]]]:
        """Version and files of every table in the lake."""
        tables = {}
        for log in sorted(self.places.lake.rglob("_delta_log")):
            table = DeltaTable(str(log.parent))
            files = sorted(str(path.relative_to(log.parent)) for path in log.parent.rglob("*") if path.is_file())
            tables[str(log.parent.relative_to(self.places.lake))] = (table.version(), files)
        return tables


@contextmanager
def open_project(root: Path) -> Iterator[Project]:
    """Open the project in a folder, or make one there; its runs are recorded in memory."""
    places = Places(landing=root / "landing", lake=root / "lake", dagster_home=root / "home", board=root / "board")
    with dg.DagsterInstance.ephemeral() as instance:
        yield Project(places=places, defs=demo_definitions(places), instance=instance)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with open_project(tmp_path / "project") as opened:
        yield opened


@pytest.fixture
def another_project(tmp_path: Path) -> Iterator[Project]:
    with open_project(tmp_path / "another") as opened:
        yield opened


RUNS = (
    ("load_release", "20210425"),
    ("load_release", "20260905"),
    ("load_month", "2013-01-01"),
    ("load_board", None),
    ("refresh", None),
)


def materialized(project: Project, lake: Lake) -> dict[str, pl.DataFrame]:
    """All tables of the project in a lake, after every run."""
    for release in ("20210425", "20260905"):
        project.land_release(release)
    project.land_the_rest()
    project.play()
    for job, partition in RUNS:
        result = project.run(job, partition)
        assert result.success, why(result)
    tables = DeltaTables(lake=lake)
    keys = [spec.key for spec in project.defs.resolve_all_asset_specs()]
    return {key.to_user_string(): tables.read(key).collect() for key in keys}


def why(result: dg.ExecuteInProcessResult) -> str:
    """The message of the error that failed a run."""
    assert not result.success, "the run should have failed"
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error is not None:
            return (event.step_failure_data.error.cause or event.step_failure_data.error).message
    raise AssertionError("no step failed")
