"""Files that have landed are moved or deleted; what is written or killed in that moment is neither lost nor doubled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from fuse_dagster import Local
from fuse_dagster.core.errors import ConfigError, FuseError
from fuse_dagster.ingest import load
from fuse_dagster.ingest.landing import LandingFiles
from fuse_dagster.tables import Append, Overwrite
from fuse_dagster_tests.ingest.landing.folders import Folder, Table

BOTH = pytest.mark.parametrize("after", ["move", "delete"])


def landing(connector: type[Local], folder: Folder, **options: Any) -> LandingFiles:
    return LandingFiles(connector=connector(root=str(folder.root)), **{"settle": 0, **options})


class Late(Local):
    """A folder in which somebody writes a file anew in the moment in which it is put away, and sets its time back."""

    def move(self, path: str, to: str) -> None:
        place = Path(self.uri(*path.split("/")))
        if "~aside-" not in path and "2" not in place.read_text():
            time = place.stat().st_mtime_ns
            place.write_text("id\n2\n")
            os.utime(place, ns=(time, time))
        super().move(path, to)


class Dying(Local):
    """A folder whose store is gone once files have got the name under which they are put away."""

    def move(self, path: str, to: str) -> None:
        if "~aside-" in path:
            raise OSError(path)
        super().move(path, to)

    def delete(self, path: str) -> None:
        raise OSError(path)


class LateAndDying(Late, Dying):
    """Both."""


@BOTH
@pytest.mark.parametrize("connector", [Late, LateAndDying])
def test_what_is_written_while_the_old_file_is_put_away_is_loaded_next(
    folder: Folder, after: str, connector: type[Local]
) -> None:
    folder.put("a.csv", "id\n1\n")
    folder.put("b.csv", "id\n3\n")
    table = Table()
    table.load(landing(connector, folder, after=after, include=("a.csv",)))
    assert [name.partition("~aside-")[0] for name in folder.names()] == ["a", "b.csv"]
    source = folder.source(after=after, name="{name}.csv", metadata=("path",), marker="{name}.done")
    table.load(source)
    assert [row["id"] for row in table.rows] == [1, 2]
    assert (table.rows[1]["name"], table.rows[1]["_file_path"]) == ("a", "a.csv")
    assert folder.names() == (["_done/a.csv", "b.csv"] if after == "move" else ["b.csv"])


@BOTH
def test_a_load_that_ends_while_it_puts_away_leaves_files_that_the_next_one_knows(folder: Folder, after: str) -> None:
    folder.put("a.csv", "id\n1\n")
    folder.put("b.csv", "id\n1,2\n")
    table = Table()
    with pytest.raises(FuseError, match="The next load tries again"):
        table.load(landing(Dying, folder, after=after))
    assert "~aside-" in folder.names()[0]
    taken = table.load(folder.source(after=after, marker="{name}.done"))
    assert taken.rows.is_empty()
    assert taken.rejected.is_empty()
    assert folder.names() == (["_done/a.csv", "_failed/b.csv"] if after == "move" else ["b.csv"])


def test_a_file_that_is_put_away_waits_as_long_as_any_other_where_somebody_writes_it(folder: Folder) -> None:
    folder.put("a.csv", "id\n1\n")
    table = Table()
    with pytest.raises(FuseError):
        table.load(landing(Dying, folder, after="move"))
    assert "may still grow" in table.load(folder.source(after="move", settle=60.0)).reading.notes[0]


def test_no_file_takes_the_place_of_another_among_those_that_are_done(folder: Folder, tmp_path: Path) -> None:
    source, table = folder.source(after="move"), tmp_path / "table"
    folder.put("a.csv", "id\n1\n")
    load(landing(Late, folder, after="move"), table, Append())  # 2 waits under another name
    for number in (3, 4):
        folder.put("a.csv", f"id\n{number}\n")
        os.utime(folder.root / "a.csv", (1e9, 1e9))
        load(source, table, Append())
    folder.put("a.csv", "id\n1\n")
    load(source, table, Append())
    contents = sorted((folder.root / name).read_text() for name in folder.names())
    assert contents == [f"id\n{number}\n" for number in (1, 2, 3, 4)]
    assert all(name.startswith("_done/a") for name in folder.names())
    load(source, table, Append(), full_refresh=True)
    assert sorted(pl.read_delta(str(table))["id"].to_list()) == [1, 2, 3, 4]


@BOTH
def test_what_replaces_by_name_ends_as_the_last_that_came(folder: Folder, tmp_path: Path, after: str) -> None:
    mode, table = Overwrite(replace_keys=["_file_path"]), tmp_path / "table"
    options: dict[str, Any] = {"after": after, "same_name": "replace", "metadata": ("path",)}

    def held() -> list[tuple[int, str]]:
        return pl.read_delta(str(table)).select("id", "_file_path").rows()

    folder.put("a.csv", "id\n1\n")
    load(landing(LateAndDying, folder, **options), table, mode)  # 2 waits under another name
    folder.put("a.csv", "id\n3\n")
    load(folder.source(**options), table, mode)
    assert held() == [(2, "a.csv")]
    load(landing(Dying, folder, **options), table, mode)  # 3 is loaded, and waits under another name
    assert held() == [(3, "a.csv")]
    folder.put("a.csv", "id\n1\n")
    load(folder.source(**options), table, mode)
    load(folder.source(**options), table, mode)
    assert held() == [(1, "a.csv")]
    assert [name for name in folder.names() if not name.startswith("_done/")] == []
    if after == "move":
        load(folder.source(**options), table, mode, full_refresh=True)
        assert held() == [(1, "a.csv")]


def test_a_file_that_lost_its_marker_as_it_was_put_away_goes_with_the_next_load(folder: Folder) -> None:
    class Killed(Local):
        """A folder whose load ends between the marker and the file."""

        def move(self, path: str, to: str) -> None:
            raise OSError(path)

    folder.put("a.csv", "id\n1\n")
    folder.put("a.csv.done", "")
    table = Table()
    with pytest.raises(FuseError, match="not put away"):
        table.load(landing(Killed, folder, after="delete", marker="{name}.done"))
    assert folder.names() == ["a.csv"]
    assert table.load(folder.source(after="delete", marker="{name}.done")).rows.is_empty()
    assert folder.names() == []


class Worse(Local):
    """A folder in which a file is written anew, broken, in the moment in which it goes."""

    def move(self, path: str, to: str) -> None:
        Path(self.uri(path)).write_text("id\n1,2\n")
        super().move(path, to)


def test_a_broken_file_that_took_the_place_of_one_that_is_deleted_stays(folder: Folder) -> None:
    folder.put("a.csv", "id\n1,2\n")
    table = Table()
    table.load(folder.source(after="delete"))
    folder.put("a.csv", "id\n1\n")
    table.load(landing(Worse, folder, after="delete"))
    assert [name.partition("~aside-")[0] for name in folder.names()] == ["a"]
    assert table.rows == [{"id": 1}]


def test_a_broken_file_under_another_name_holds_up_none_that_comes_later(folder: Folder) -> None:
    options: dict[str, Any] = {"after": "delete", "same_name": "replace", "metadata": ("path",)}
    folder.put("a.csv", "id\n1\n")
    table = Table()
    table.load(landing(Worse, folder, **options))
    for number in (2, 3):
        folder.put("a.csv", f"id\n{number}\n")
        table.load(folder.source(**options))
    assert [row["id"] for row in table.rows] == [1, 2, 3]


def test_a_name_that_was_loaded_is_refused_also_where_it_was_put_aside(folder: Folder) -> None:
    folder.put("a.csv", "id\n1\n")
    table = Table()
    table.load(landing(Late, folder, after="move", same_name="refuse"))
    assert table.load(folder.source(after="move", same_name="refuse")).rejected.height == 1
    assert folder.names() == ["_failed/a.csv"]


def test_another_load_that_puts_the_same_file_away_is_no_failure(folder: Folder) -> None:
    class Rival(Local):
        """A folder in which another load is faster."""

        def move(self, path: str, to: str) -> None:
            Path(self.uri(path)).unlink()
            super().move(path, to)

    folder.put("a.csv", "id\n1\n")
    table = Table()
    table.load(landing(Rival, folder, after="move"))
    assert table.rows == [{"id": 1}]


def test_names_that_can_not_be_opened_are_told_and_the_others_go_on(folder: Folder, tmp_path: Path) -> None:
    folder.put("a.csv", "id\n1\n")
    odd = ["100%.csv", "b[1].csv", "new\nline.csv"]
    fit = ['it\'s "so" {0}; DROP.csv', "über ~.csv", "a b#*.csv"]
    for number, name in enumerate([*odd, *fit]):
        folder.put(name, f"id\n{number + 2}\n")
    (Path(os.fsdecode(os.fsencode(folder.root) + b"/\xff.csv"))).write_text("id\n9\n")
    source = folder.source(after="move", metadata=("path",), marker="")
    with source.read(None) as reading:
        reading.batches().read_all()
        assert len(reading.notes) == 4
        assert all("ename it" in note for note in reading.notes)
    result = load(source, tmp_path / "table", Append())
    assert result.rows == 1 + len(fit)
    held = pl.read_delta(str(tmp_path / "table"))["_file_path"].to_list()
    assert sorted(held) == sorted(["a.csv", *fit])
    assert sorted(path.name for path in (folder.root / "_done").iterdir()) == sorted(["a.csv", *fit])
    assert len([path for path in folder.root.iterdir() if path.is_file()]) == 4


def test_files_are_not_put_away_where_the_store_can_not_rename_unless_names_are_unique(folder: Folder) -> None:
    class Fixed:
        """A store without renaming, as object stores are."""

        place = "fixed"

        def __init__(self) -> None:
            self._local = Local(root=str(folder.root))
            self.list, self.open, self.exists = self._local.list, self._local.open, self._local.exists
            self.write, self.delete = self._local.write, self._local.delete

    for after in ("move", "delete"):
        with pytest.raises(ConfigError, match="can't rename files"):
            LandingFiles(connector=Fixed(), after=after)  # type: ignore[arg-type]
    folder.put("a.csv", "id\n1\n")
    table = Table()
    assert table.load(LandingFiles(connector=Fixed(), settle=0, after="move", unique_names=True)).rows.height == 1
    assert folder.names() == ["_done/a.csv"]
