"""The flight board: real flights played into a database, and loaded while it changes; the files end with the same."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from fuse_dagster.connectors.base import CanAnswer
from fuse_dagster.connectors.local import Local
from fuse_dagster.core.errors import ConfigError, StoreUnavailableError
from fuse_dagster.definitions.demo import server
from fuse_dagster.definitions.demo.board import BOARD, KEYS, LOG, Traffic, events, in_background
from fuse_dagster.definitions.demo.project import demo_definitions
from fuse_dagster.definitions.demo.reporting import arrived
from fuse_dagster.definitions.demo.running import LOAD_BOARD, Done, plan, run
from fuse_dagster.definitions.demo.server import FILE, file_board, flight_board, why_no_server
from fuse_dagster.definitions.demo.settings import Places, board
from fuse_dagster.orchestration.loads import discover, names_in
from fuse_dagster_tests.definitions.conftest import Project
from fuse_dagster_tests.servers.postgres import missing

FLOWN, CANCELLED = 838, 4  # of 1 January 2013, as the file has them


def loaded(project: Project) -> dict[str, Done]:
    return {done.asset: done for done in run(project.defs, LOAD_BOARD, project.instance)}


def lake(project: Project, name: str) -> pl.DataFrame:
    return pl.read_delta(str(project.places.lake / name))


def test_every_flight_of_the_day_is_listed_once_and_ends_once() -> None:
    said = events()
    assert said.filter(op="I").select(KEYS).is_duplicated().sum() == 0
    assert said.filter(op="I").height == FLOWN + CANCELLED
    last = said.unique(KEYS, keep="last")
    assert last.filter(op="D").height == CANCELLED
    assert set(last.filter(pl.col("op") != "D")["status"]) == {"landed", "departed"}  # diverted ones don't land here
    assert said["seq"].to_list() == list(range(1, said.height + 1))
    assert said["batch"].is_sorted()


@pytest.mark.slow
def test_loads_while_the_board_changes_end_with_what_the_files_say(project: Project) -> None:
    shown = file_board(project.places.board)
    with in_background(Traffic(shown)) as playing:
        for _ in range(5):
            playing.tick()
        first = loaded(project)
        playing.finish()
        playing.tick()  # nothing is left
    second, third = loaded(project), loaded(project)
    assert discover(shown, "public.*", into=project.places.board / "names") == [LOG, BOARD]
    with shown.rows(BOARD) as reader:
        there = pl.DataFrame(reader.read_all())
    board_of_the_lake, history = lake(project, "public/flights"), lake(project, "public/flight_changes")
    assert there.sort(KEYS).equals(board_of_the_lake.select(there.columns).sort(KEYS))
    assert there.height == FLOWN
    assert history.select(KEYS).n_unique() == FLOWN + CANCELLED
    assert history.filter("is_current").select(KEYS).sort(KEYS).equals(there.select(KEYS).sort(KEYS))
    log = [done["public/flight_changes"] for done in (first, second, third)]
    assert sum(done.loaded or 0 for done in log) == events().height, "each change came once, the late ones too"
    assert [done.committed for done in third.values()] == [False, False]
    assert third["public/flight_changes"].watermark == second["public/flight_changes"].watermark


def test_a_day_that_was_broken_off_is_played_on(tmp_path: Path) -> None:
    shown = file_board(tmp_path)
    Traffic(shown).begin()
    going_on = Traffic(shown)
    going_on.begin()
    going_on.step()
    with shown.query("SELECT DISTINCT batch AS batch FROM public.flight_changes ORDER BY batch") as found:
        assert found.read_all().column(0).to_pylist() == [0, 1]
    with shown.query("SELECT count(*) AS n FROM public.flight_changes") as found:
        assert found.read_all().column(0).to_pylist() == [events().filter(pl.col("batch") < 2).height]


def test_what_fails_in_the_background_is_raised_at_the_end(tmp_path: Path) -> None:
    shown = file_board(tmp_path)
    with in_background(Traffic(shown)) as playing:
        (tmp_path / FILE).write_bytes(b"no database")
        playing.tick()
        with pytest.raises(StoreUnavailableError):
            playing.finish()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may enter: those of pytest are private."""
    if reason := missing():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="fuse-board-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_the_board_lies_in_a_postgresql_of_its_own_that_runs_while_it_is_used(open_folder: Path) -> None:
    with flight_board(open_folder / "board") as first:
        assert first.type == "postgres"
        with flight_board(open_folder / "board") as second:
            assert second.place == first.place
        Traffic(second).begin()  # the one that left last time did not stop it
        with first.rows(BOARD, limit=1) as reader:
            assert reader.read_all().num_rows == 1
    assert isinstance(first, CanAnswer)
    with pytest.raises(StoreUnavailableError):
        first.answer()
    with flight_board(open_folder / "board") as again:
        assert again.place == first.place, "the position of a load names it"
        assert LOG in again.names()
    assert not why_no_server(open_folder / "board")
    assert (open_folder / "board" / "password").read_text() not in repr(again)


def test_without_postgresql_the_board_lies_in_a_file_and_stays_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(server, "DEBIAN", tmp_path / "nothing")
        changed.setenv("PATH", str(tmp_path))
        assert why_no_server(tmp_path) == "PostgreSQL is not installed here"
        with flight_board(tmp_path) as shown:
            assert shown.place == str(tmp_path / FILE)
    with flight_board(tmp_path) as shown:
        assert shown.place == str(tmp_path / FILE)


def test_a_profile_may_name_the_database(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "fuse.yaml"
    mine.write_text(f"profiles: {{mine: {{connections: {{board: {{type: duckdb, path: {tmp_path / 'a.duckdb'}}}}}}}}}")
    given = board("mine")
    assert given is not None
    assert given.place == str(tmp_path / "a.duckdb")
    with flight_board(tmp_path / "board", given) as shown:
        assert shown is given
    assert board() is None
    mine.write_text("profiles: {mine: {connections: {board: {type: local, root: x}}}}")
    with pytest.raises(ConfigError, match="is a `local`, which is no database"):
        board("mine")
    where = Places(landing=tmp_path, lake=tmp_path / "lake", dagster_home=tmp_path, board=tmp_path / "board")
    assert demo_definitions(where, board=given).resolve_job_def("load_board")
    assert not (tmp_path / "board").exists(), "definitions start and make nothing"


def test_the_names_are_those_that_the_board_has(project: Project) -> None:
    from fuse_dagster.definitions.demo.mirrored import NAMES

    project.play(1)
    assert names_in(NAMES) == list(file_board(project.places.board).names("public.*"))


def test_the_end_says_what_arrived_from_each_source() -> None:
    common: dict[str, Any] = {"updated": 0, "closed": 0, "version": 1, "committed": True, "seconds": 0.1, "where": "x"}
    done = [
        Done(asset="bronze/flights", rows=5, inserted=5, **common),
        Done(asset="public/flights", rows=3, inserted=3, loaded=3, watermark="2013-01-01 00:00:00Z", **common),
        Done(asset="public/flights", rows=4, inserted=1, loaded=2, watermark="2013-01-02 00:00:00Z", **common),
        Done(asset="gold/year_ends", rows=6, inserted=6, **common),
    ]
    console = Console(width=120)
    with console.capture() as captured:
        console.print(arrived(done))
    lines = [line.split() for line in captured.get().splitlines() if "/" in line]
    assert lines == [
        ["files", "bronze/flights", "1", "5", "5"],
        ["public.flights", "public/flights", "2", "5", "4", "2013-01-02", "00:00:00Z"],
    ]


def test_the_board_is_loaded_between_the_months_and_last_before_the_gold_tables(project: Project) -> None:
    jobs = [step.job for step in plan(Local(root=str(project.places.landing)))]
    assert jobs.count("load_board") == 4
    assert jobs[-2:] == ["load_board", "refresh"]
