"""`fuse run` and `fuse ui` on a small project in a folder of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from fuse_dagster.app.cli import exits
from fuse_dagster.app.envelope import Kind
from fuse_dagster_tests.app.cli.conftest import Fuse
from fuse_dagster_tests.docs.pages import ROOT

PROJECT = """
import dagster as dg
import polars as pl

from fuse_dagster import DeltaIOManager, Local, history_table

RELEASES = dg.StaticPartitionsDefinition(["20240101", "20240201", "20240301"])


@dg.asset
def stations() -> pl.DataFrame:
    return pl.DataFrame({"station": ["north", "south"]})


@dg.asset
def high(stations: pl.DataFrame) -> pl.DataFrame:
    return stations.head(1)


@history_table(keys=["icao"], partitions_def=RELEASES, effective_format="%Y%m%d")
def airports(context: dg.AssetExecutionContext) -> pl.DataFrame:
    return pl.DataFrame({"icao": ["EDDB"], "name": [context.partition_key]})


@dg.asset
def broken() -> pl.DataFrame:
    raise ValueError("no route to store?sig=CANARY")


@dg.asset_check(asset="high")
def has_two(high: pl.DataFrame) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=high.height == 2)


defs = dg.Definitions(
    assets=[stations, high, airports, broken],
    asset_checks=[has_two],
    resources={"io_manager": DeltaIOManager(lake=Local(root="lake"))},
)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder: with definitions, and a pyproject.toml that says where they are."""
    (tmp_path / "station_project.py").write_text(PROJECT, encoding="utf-8")
    said = '[tool.dagster]\nmodule_name = "station_project"\n'
    (tmp_path / "pyproject.toml").write_text(said, encoding="utf-8")
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # the program adds to it
    yield tmp_path
    sys.modules.pop("station_project", None)


def test_a_selection_is_materialized_and_told(fuse: Fuse, project: Path) -> None:
    said = fuse("run", "stations", "--json")
    [run] = said.result["runs"]
    [written] = run["materialized"]
    assert (written["asset"], written["rows"], written["version"]) == ("stations", 2, 0)
    assert pl.read_delta(project / "lake" / "stations").height == 2
    assert "recorded nowhere" in said.err


def test_a_range_of_partitions_is_a_run_each_and_is_recorded(
    fuse: Fuse, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(project / "home"))
    words = ["run", "airports", "-p", "20240101...20240201", "--json"]
    said = fuse(*words)
    assert [run["partition"] for run in said.result["runs"]] == ["20240101", "20240201"]
    assert "run 2/2: 20240201" in said.err
    assert "recorded nowhere" not in said.err
    assert list((project / "home").rglob("*.db"))


def test_a_check_that_fails_ends_with_an_error(fuse: Fuse, project: Path) -> None:
    said = fuse("run", "+high")
    assert said.code == exits.CODES[Kind.FAILED]
    assert "2 assets materialized by 1 run, 1 check failed." in said.out
    machine = json.loads(fuse("run", "+high", "--json").out)
    assert (machine["ok"], machine["result"]["checks_failed"]) == (False, 1)


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        (["airports"], Kind.CONFIG, "20240301"),
        (["airports", "-p", "20240401"], Kind.CONFIG, "no partition `20240401`"),
        (["stations", "-p", "20240101"], Kind.CONFIG, "Leave `--partition` out"),
        (["statoins"], Kind.CONFIG, "statoins"),
        (["stations", "-m", "nowhere.defs"], Kind.CONFIG, "no module `nowhere.defs`"),
        (["broken"], Kind.FAILED, "ValueError: no route to store?sig=***"),
    ],
)
def test_what_can_not_run_says_why(fuse: Fuse, project: Path, words: list[str], kind: Kind, says: str) -> None:
    said = fuse("run", *words, "--json")
    assert said.error["kind"] == kind
    assert says in said.error["message"]
    assert "CANARY" not in said.out + said.err


def test_a_folder_without_a_project_says_how_to_name_one(fuse_process: Fuse, tmp_path: Path) -> None:
    said = fuse_process("run", cwd=tmp_path)  # a process of its own, whose folder has no project above it
    assert (said.code, "--module" in said.err) == (exits.CODES[Kind.CONFIG], True)


def test_the_web_ui_needs_its_package(fuse: Fuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dagster_webserver", None)
    said = fuse("ui")
    assert said.code == exits.CODES[Kind.MISSING_EXTRA]
    assert 'pip install "fuse-dagster[demo]"' in said.err


@pytest.mark.slow
def test_the_web_ui_opens_and_closes(project: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "fuse_dagster.app.cli", "ui", "--port", str(port)]
    env = os.environ | {"PYTHONPATH": str(ROOT), "DAGSTER_HOME": str(project / "home")}
    log = (project / "log").open("wb")
    running = subprocess.Popen(command, cwd=project, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        answer = b""
        for _ in range(400):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5) as response:
                    answer = response.read()
                break
            except (urllib.error.URLError, OSError):
                assert running.poll() is None, (project / "log").read_text(encoding="utf-8")
                time.sleep(0.5)
        assert "dagster_webserver_version" in json.loads(answer)
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(timeout=120) == exits.OK
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        log.close()
