"""Damaged tables: each write says what is wrong and what to do, and leaves every byte as it found it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fuse_dagster.core.errors import TableStateError
from fuse_dagster_tests.tables.faults.feeds import FEEDS
from fuse_dagster_tests.tables.faults.places import Place
from fuse_dagster_tests.tables.faults.test_storage import FILLED, check_goes_on, check_untouched, fill

HISTORIES = ["snapshots", "changes"]
READING = [*HISTORIES, "upserts"]


def check_damage(place: Place, name: str, *, says: str) -> None:
    """The next batch is refused with these words; the table stays as it is."""
    before = place.digests()
    for _ in range(2):
        with pytest.raises(TableStateError, match=says):
            place.apply(FEEDS[name], FILLED)
        check_untouched(place, before)


@pytest.mark.parametrize("name", READING)
@pytest.mark.parametrize("left", [0, 0.5, 0.95])
def test_a_truncated_data_file(disk_place: Place, name: str, left: float) -> None:
    fill(disk_place, name)
    files = [Path(disk_place.uri, path) for path in disk_place.live()]
    kept = {file: file.read_bytes() for file in files}
    for file, content in kept.items():
        file.write_bytes(content[: int(len(content) * left)])
    check_damage(disk_place, name, says="restore")
    for file, content in kept.items():
        file.write_bytes(content)
    check_goes_on(disk_place, name, FILLED)


@pytest.mark.parametrize("name", READING)
def test_a_data_file_that_is_gone(disk_place: Place, name: str, tmp_path: Path) -> None:
    fill(disk_place, name)
    for path in disk_place.live():
        shutil.move(Path(disk_place.uri, path), tmp_path / path)
    check_damage(disk_place, name, says="restore")
    for path in disk_place.live():
        shutil.move(tmp_path / path, Path(disk_place.uri, path))
    check_goes_on(disk_place, name, FILLED)


def lose_all(memory: Path) -> None:
    shutil.rmtree(memory)


def lose_manifest(memory: Path) -> None:
    newest(memory, facts=False).unlink()


def lose_segment(memory: Path) -> None:
    newest(memory, facts=True).unlink()


def cut_manifest(memory: Path) -> None:
    file = newest(memory, facts=False)
    file.write_bytes(file.read_bytes()[:-20])


def cut_segment(memory: Path) -> None:
    file = newest(memory, facts=True)
    file.write_bytes(file.read_bytes()[:-20])


def newest(memory: Path, *, facts: bool) -> Path:
    return max((f for f in memory.iterdir() if ("facts" in f.name) == facts), key=lambda f: f.stat().st_mtime_ns)


LOSSES: list[Callable[[Path], None]] = [lose_all, lose_manifest, lose_segment, cut_manifest, cut_segment]


@pytest.mark.parametrize("name", HISTORIES)
@pytest.mark.parametrize("lose", LOSSES)
def test_a_history_that_has_lost_its_memory(
    disk_place: Place, name: str, lose: Callable[[Path], None], tmp_path: Path
) -> None:
    if name == "snapshots" and "segment" in lose.__name__:
        return  # snapshots say nothing about single keys
    fill(disk_place, name)
    memory = Path(disk_place.uri, "_fuse")
    shutil.copytree(memory, tmp_path / "backup")
    lose(memory)
    check_damage(disk_place, name, says="memory .*rebuild.*backup")
    shutil.rmtree(memory, ignore_errors=True)
    shutil.copytree(tmp_path / "backup", memory)
    check_goes_on(disk_place, name, FILLED)


FUTURE: dict[str, dict[str, Any]] = {
    "versions": {"minReaderVersion": 99, "minWriterVersion": 99},
    "writer version": {"minReaderVersion": 1, "minWriterVersion": 99},
    "reader feature": {
        "minReaderVersion": 3, "minWriterVersion": 7,
        "readerFeatures": ["ofTomorrow"], "writerFeatures": ["ofTomorrow"],
    },
    "writer feature": {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["ofTomorrow"]},
}  # fmt: skip


@pytest.mark.parametrize("name", list(FEEDS))
@pytest.mark.parametrize("protocol", list(FUTURE))
def test_a_table_that_a_newer_writer_has_upgraded(disk_place: Place, name: str, protocol: str) -> None:
    fill(disk_place, name)
    entry = Path(disk_place.uri, "_delta_log", f"{FILLED:020d}.json")
    commit = {"timestamp": 1, "operation": "SET TBLPROPERTIES", "operationParameters": {}}
    entry.write_text(json.dumps({"commitInfo": commit}) + "\n" + json.dumps({"protocol": FUTURE[protocol]}) + "\n")
    check_damage(disk_place, name, says=r"(ofTomorrow|99|[Pp]rotocol|[Ff]eature)")
    entry.unlink()
    check_goes_on(disk_place, name, FILLED)


@pytest.mark.parametrize("name", list(FEEDS))
@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", b'{"add": 3}'], ids=["empty", "cut", "binary", "wrong"]
)
def test_a_log_whose_newest_entry_is_damaged(disk_place: Place, name: str, content: bytes) -> None:
    fill(disk_place, name)
    entry = Path(disk_place.uri, "_delta_log", f"{FILLED - 1:020d}.json")
    kept = entry.read_bytes()
    entry.write_bytes(content)
    check_damage(disk_place, name, says="_delta_log")
    entry.write_bytes(kept)
    check_goes_on(disk_place, name, FILLED)


@pytest.mark.parametrize("name", list(FEEDS))
def test_a_log_folder_that_is_empty(disk_place: Place, name: str, tmp_path: Path) -> None:
    fill(disk_place, name)
    log = Path(disk_place.uri, "_delta_log")
    shutil.move(log, tmp_path / "log")
    log.mkdir()
    check_damage(disk_place, name, says="_delta_log")
    log.rmdir()
    shutil.move(tmp_path / "log", log)
    check_goes_on(disk_place, name, FILLED)


@pytest.mark.parametrize("name", HISTORIES)
def test_a_history_whose_log_was_removed(disk_place: Place, name: str, tmp_path: Path) -> None:
    fill(disk_place, name)
    log = Path(disk_place.uri, "_delta_log")
    shutil.move(log, tmp_path / "log")
    check_damage(disk_place, name, says="_delta_log")
    shutil.move(tmp_path / "log", log)
    check_goes_on(disk_place, name, FILLED)
