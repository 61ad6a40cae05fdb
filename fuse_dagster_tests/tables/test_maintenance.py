"""Maintenance: files become few and ordered, what nobody needs goes, and no row and no later batch notices."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from fuse_dagster.core.errors import ConfigError, TableNotFoundError, TableStateError
from fuse_dagster.tables import (
    Append,
    Compaction,
    History,
    Overwrite,
    Upsert,
    as_of,
    checkpoint,
    compact,
    current,
    foreign_changes,
    maintain,
    vacuum,
    write,
)
from fuse_dagster.tables.maintaining.layout import File, worth_rewriting

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
FEED = History(keys=["k"], source="changes", effective_column="at", delete_when="gone", ignore=["gone"])


def moment(hour: int) -> dt.datetime:
    return START + dt.timedelta(hours=hour)


def change(keys: list[int], hour: int, *, gone: bool = False) -> pl.DataFrame:
    return pl.DataFrame({"k": keys, "v": [hour] * len(keys)}).with_columns(at=pl.lit(moment(hour)), gone=pl.lit(gone))


def fed(table: str, batches: int = 12, keys: int = 40) -> str:
    """A feed of small batches: the first states every key, later ones a few."""
    write(table, change(list(range(keys)), 0), FEED)
    for hour in range(1, batches):
        write(table, change([hour % keys, (hour * 7) % keys, keys + hour], hour), FEED)
    return table


def rows(table: str) -> pl.DataFrame:
    frame = pl.read_delta(table)
    return frame.sort(frame.columns)


def files(table: str) -> pl.DataFrame:
    return pl.DataFrame(DeltaTable(table).get_add_actions(flatten=True))


def age(folder: Path, pattern: str = "*", *, days: float = 60) -> None:
    """Make files look as if they had been written long ago."""
    for path in folder.glob(pattern):
        if path.is_file():
            then = time.time() - days * 86400
            os.utime(path, (then, then))


def configure(table: str, **said: str) -> None:
    DeltaTable(table).alter.set_table_properties({f"delta.{name}": value for name, value in said.items()})


def test_a_history_is_merged_into_open_and_closed_versions_in_order(tmp_path: Path) -> None:
    table = fed(str(tmp_path / "t"))
    before, was = rows(table), files(table).height
    version = DeltaTable(table).version()
    done = compact(table)
    assert (done.version, done.files_before, done.files_after, done.files_added) == (version + 1, was, 2, 1)
    assert done.bytes_added > 0
    assert done.rows <= before.height
    assert rows(table).equals(before)
    after = files(table)
    assert sorted(after["null_count.valid_to"] / after["num_records"]) == [0.0, 1.0]
    for path, is_open in zip(after["path"], after["null_count.valid_to"], strict=True):
        found = pl.read_parquet(Path(table, path))
        assert is_open or found.equals(found.sort("k", "valid_from"))
    again = compact(table)
    assert (again.version, again.files_removed, again.rows) == (None, 0, 0)


def test_a_compaction_says_in_the_log_that_no_row_changed(tmp_path: Path) -> None:
    table = fed(str(tmp_path / "t"))
    done = compact(table)
    log = Path(table, "_delta_log", f"{done.version:020d}.json").read_text(encoding="utf-8")
    actions = [json.loads(line) for line in log.splitlines()]
    assert {entry[kind]["dataChange"] for entry in actions for kind in ("add", "remove") if kind in entry} == {False}
    assert [entry["txn"]["appId"] for entry in actions if "txn" in entry] == ["fuse_dagster"]
    assert foreign_changes(table) == []


def test_a_dry_run_says_what_it_would_do_and_does_nothing(tmp_path: Path) -> None:
    table = fed(str(tmp_path / "t"))
    before = sorted(path for path in Path(table).rglob("*"))
    planned = compact(table, dry_run=True)
    assert sorted(path for path in Path(table).rglob("*")) == before
    done = compact(table)
    assert planned.version is None
    assert (planned.files_removed, planned.files_after, planned.rows) == (done.files_removed, 2, done.rows)
    report = maintain(table, dry_run=True)
    assert report.checkpointed is None
    assert not list(Path(table, "_delta_log").glob("*.checkpoint.parquet"))


def test_later_batches_touch_only_files_that_hold_their_keys(tmp_path: Path) -> None:
    table = str(tmp_path / "t")
    write(table, change(list(range(1000)), 0), FEED)
    for hour in range(1, 8):
        write(table, change(list(range(hour, 1000, 50)), hour), FEED)
    compact(table, rows_per_file=100)
    before = files(table)
    opened = before.filter(pl.col("null_count.valid_to") > 0)
    assert 10 <= opened.height <= 13
    bounds = sorted(zip(opened["min.k"], opened["max.k"], strict=True))
    assert all(high < low for (_, high), (low, _) in itertools.pairwise(bounds))
    write(table, change([500, 501], 9), FEED)
    assert len(set(before["path"]) - set(files(table)["path"])) == 1


def test_files_that_are_full_and_apart_stay(tmp_path: Path) -> None:
    table = str(tmp_path / "t")
    write(table, change(list(range(1000)), 0), FEED)
    compact(table, rows_per_file=1000)
    write(table, change(list(range(1000, 2000)), 1), FEED)
    stays = set(files(table)["path"])
    write(table, change(list(range(2000, 2010)), 2), FEED)
    write(table, change(list(range(2010, 2020)), 3), FEED)
    done = compact(table, rows_per_file=1000)
    assert (done.files_removed, done.files_added, done.rows) == (2, 1, 20)
    assert stays < set(files(table)["path"])


def test_what_was_compacted_is_hardly_ever_written_again(tmp_path: Path) -> None:
    table, written, added = str(tmp_path / "t"), 0, 0
    for hour in range(60):
        write(table, change([(hour * 37 + n * 101) % 2000 for n in range(20)], hour), FEED)
        added += 20
        if hour % 5 == 4:
            written += compact(table, rows_per_file=64).rows
            assert compact(table, rows_per_file=64).rows == 0
    assert files(table).height < 60
    assert written < 8 * added


def test_a_file_that_mixes_open_and_closed_versions_is_taken_apart(tmp_path: Path) -> None:
    table = fed(str(tmp_path / "t"))
    DeltaTable(table).optimize.compact()
    assert files(table).height == 1
    before = rows(table)
    compact(table)
    after = files(table)
    assert sorted(after["null_count.valid_to"] / after["num_records"]) == [0.0, 1.0]
    assert rows(table).equals(before)
    assert write(table, change([3], 50), FEED).updated == 1


def test_a_unit_that_does_not_fit_into_memory_is_put_in_order_part_by_part(tmp_path: Path) -> None:
    table = str(tmp_path / "t")
    for hour in range(10):
        keys = [(hour * 13 + n * 7) % 1009 for n in range(100)]
        write(table, pl.DataFrame({"k": list(dict.fromkeys(keys)), "v": hour}), Append())
    before = rows(table)
    done = compact(table, cluster_by=["k"], rows_per_file=40)
    assert rows(table).equals(before)
    after = files(table).sort("min.k")
    assert done.files_added == after.height >= 25
    assert (after["max.k"].shift(1) <= after["min.k"]).drop_nulls().all()
    assert after["num_records"].max() <= 40
    assert compact(table, cluster_by=["k"], rows_per_file=40).version is None


def test_nulls_and_nan_of_a_clustered_column_are_kept(tmp_path: Path) -> None:
    table = str(tmp_path / "t")
    values = [value for n in range(40) for value in (float(n % 7), None, float("nan"), -0.0)]
    write(table, pl.DataFrame({"f": values, "n": range(160)}), Append())
    before = rows(table)
    assert compact(table, cluster_by=["f"], rows_per_file=8).files_added >= 20
    assert rows(table).equals(before)


@pytest.mark.parametrize("keys", [pl.Decimal(10, 2), pl.Datetime("us", "UTC"), pl.Binary, pl.Boolean], ids=str)
def test_keys_without_exact_bounds_are_merged_once(tmp_path: Path, keys: pl.DataType) -> None:
    table = str(tmp_path / "t")
    mode = History(keys=["k", "n"], source="changes", effective_column="at")
    values = pl.Series([b"a", b"b"]) if keys == pl.Binary else pl.Series([0, 1]).cast(keys)
    for hour in range(6):
        frame = pl.DataFrame({"k": values, "n": [hour % 3] * 2, "v": [hour] * 2})
        write(table, frame.with_columns(at=pl.lit(moment(hour))), mode)
    before = rows(table)
    assert compact(table, rows_per_file=100).files_removed > 1
    assert rows(table).equals(before)
    assert compact(table, rows_per_file=100).version is None


def test_a_concurrent_write_makes_the_compaction_plan_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fuse_dagster.tables.maintaining import compacting

    table, writes = fed(str(tmp_path / "t")), [30, 31]
    real = compacting.write_files

    def slowly(*args: Any, **options: Any) -> Any:
        done = real(*args, **options)
        if writes:
            write(table, change([5, 6], writes.pop()), FEED)
        return done

    monkeypatch.setattr(compacting, "write_files", slowly)
    done = compact(table)
    assert writes == []
    assert done.version == DeltaTable(table).version()
    assert rows(table).filter(k=5, valid_from=moment(30)).height == 1
    assert rows(table).filter(k=5, valid_from=moment(31)).height == 1
    assert write(table, change([5, 6], 31), FEED).version is None


def _compact_beside(table: str, other: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> tuple[Compaction, int]:
    """Compact while another writer commits once; with it, how often files were written for that."""
    from fuse_dagster.tables.maintaining import compacting

    written: list[int] = []
    real = compacting.write_files

    def slowly(*args: Any, **options: Any) -> Any:
        written.append(1)
        if len(written) == 1:
            other()
        return real(*args, **options)

    monkeypatch.setattr(compacting, "write_files", slowly)
    return compact(table), len(written)


def test_what_others_append_is_no_reason_to_compact_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = str(tmp_path / "t")
    for n in range(4):
        write(table, pl.DataFrame({"k": [n]}), Append())
    done, tries = _compact_beside(table, lambda: write(table, pl.DataFrame({"k": [9]}), Append()), monkeypatch)
    assert (done.version, done.files_removed, tries) == (5, 4, 1)
    assert sorted(pl.read_delta(table)["k"]) == [0, 1, 2, 3, 9]


def test_what_others_delete_is_not_brought_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = str(tmp_path / "t")
    for n in range(4):
        write(table, pl.DataFrame({"k": [n, n + 10]}), Append())
    done, tries = _compact_beside(table, lambda: DeltaTable(table).delete("k = 12"), monkeypatch)
    assert (done.version, tries) == (5, 2)
    assert sorted(pl.read_delta(table)["k"]) == [0, 1, 2, 3, 10, 11, 13]


def test_small_files_of_a_plain_table_are_merged_in_their_order(tmp_path: Path) -> None:
    table = str(tmp_path / "t")
    for n in range(6):
        write(table, pl.DataFrame({"k": [5 - n, n], "l": [[n], None], "f": [float("nan"), -0.0]}), Append())
    before = rows(table)
    planned = compact(table, dry_run=True)
    done = compact(table)
    assert (planned.files_removed, planned.files_after) == (done.files_removed, done.files_after) == (6, 1)
    assert rows(table).equals(before)
    assert compact(table).version is None


def test_a_history_that_others_changed_is_not_compacted(tmp_path: Path) -> None:
    table = fed(str(tmp_path / "t"))
    DeltaTable(table).delete("k = 3")
    version = DeltaTable(table).version()
    with pytest.raises(TableStateError, match="changed by others"):
        compact(table)
    assert DeltaTable(table).version() == version


@pytest.mark.parametrize(
    ("partition_by", "properties"),
    [
        (["p"], {}),
        ([], {"delta.appendOnly": "true"}),
        ([], {"delta.enableChangeDataFeed": "true"}),
        ([], {"delta.enableDeletionVectors": "true"}),
    ],
    ids=["partitions", "append only", "change feed", "deletion vectors"],
)
def test_other_tables_are_compacted_by_delta_rs(
    tmp_path: Path, partition_by: list[str], properties: dict[str, str]
) -> None:
    table = str(tmp_path / "t")
    for n in range(6):
        frame = pl.DataFrame({"k": [n], "p": [n % 2]})
        write_deltalake(table, frame, mode="append", partition_by=partition_by, configuration=properties or None)
    before = rows(table)
    groups = 2 if partition_by else 1
    planned = compact(table, dry_run=True)
    assert (planned.files_removed, planned.files_after) == (6, groups)
    done = compact(table)
    assert (done.files_before, done.files_removed, done.files_added, done.files_after) == (6, 6, groups, groups)
    assert (done.version, done.rows) == (6, 6)
    assert rows(table).equals(before)
    assert compact(table).version is None
    with pytest.raises(ConfigError, match="Leave `cluster_by` out"):
        compact(table, cluster_by=["k"])


def test_what_cannot_be_compacted_is_refused(tmp_path: Path) -> None:
    table = str(tmp_path / "t")
    with pytest.raises(TableNotFoundError, match="no Delta table"):
        compact(table)
    with pytest.raises(TableNotFoundError, match="no Delta table"):
        vacuum(table)
    with pytest.raises(TableNotFoundError, match="no Delta table"):
        checkpoint(table)
    write(table, pl.DataFrame({"k": [1]}), Upsert(keys=["k"]))
    with pytest.raises(ConfigError, match="rows_per_file"):
        compact(table, rows_per_file=0)
    with pytest.raises((ConfigError, ValueError), match="nope"):
        compact(table, cluster_by=["nope"])


def test_a_vacuum_is_a_dry_run_and_keeps_what_is_young(tmp_path: Path) -> None:
    table = fed(str(tmp_path / "t"))
    compact(table)
    before = sorted(Path(table).rglob("*"))
    found = vacuum(table)
    assert (found.dry_run, found.files, found.memory_files, found.retention_hours) == (True, (), (), 168.0)
    assert vacuum(table, dry_run=False).files == ()
    assert sorted(Path(table).rglob("*")) == before


@pytest.mark.parametrize("hours", [0, 1, 167])
def test_a_retention_that_is_too_short_is_refused(tmp_path: Path, hours: int) -> None:
    table = fed(str(tmp_path / "t"), 2)
    before = sorted(Path(table).rglob("*"))
    with pytest.raises(ConfigError, match=f"`retention_hours` is `{hours}`.*168 hours"):
        vacuum(table, retention_hours=hours, dry_run=False)
    configure(table, deletedFileRetentionDuration="interval 30 days")
    with pytest.raises(ConfigError, match="720 hours"):
        vacuum(table, retention_hours=200)
    assert vacuum(table, retention_hours=1000).retention_hours == 1000
    configure(table, deletedFileRetentionDuration="interval 2 hours")
    assert vacuum(table, retention_hours=2).retention_hours == 2
    assert [path for path in before if not path.exists()] == []


def test_files_older_than_the_retention_go_and_the_history_goes_on(tmp_path: Path) -> None:
    table = fed(str(tmp_path / "t"), 40)
    compact(table)
    configure(table, deletedFileRetentionDuration="interval 0 seconds")
    age(Path(table))
    age(Path(table, "_fuse"))
    before, listed = rows(table), vacuum(table)
    assert listed.bytes > 0
    assert len(listed.files) > 30
    done = vacuum(table, dry_run=False)
    assert (done.files, done.memory_files, done.bytes) == (listed.files, listed.memory_files, listed.bytes)
    assert {path.name for path in Path(table).glob("*.parquet")} == set(files(table)["path"])
    assert rows(table).equals(before)
    assert foreign_changes(table) == []
    assert write(table, change([39 % 40], 39), FEED).version is None
    assert write(table, change([3], 5), FEED).committed


def memory(table: str) -> set[str]:
    return {path.name for path in Path(table, "_fuse").iterdir()}


def test_memory_goes_only_when_its_commits_left_the_log(tmp_path: Path) -> None:
    table = fed(str(tmp_path / "t"), 40)
    age(Path(table, "_fuse"))
    # Within the log every version can be restored, so its memory stays however old it is.
    assert vacuum(table, dry_run=False).memory_files == ()
    everything = memory(table)
    configure(table, logRetentionDuration="interval 0 seconds")
    assert checkpoint(table).log_files_removed > 30
    age(Path(table, "_fuse"), days=6)
    assert vacuum(table, dry_run=False).memory_files == ()
    age(Path(table, "_fuse"), days=8)
    gone = vacuum(table, dry_run=False).memory_files
    assert len(gone) > 30
    assert memory(table) == {name for name in everything | memory(table) if f"_fuse/{name}" not in gone}
    fresh = fed(str(tmp_path / "fresh"), 40)
    late = change([20, 21, 22], 2, gone=True)
    for each in (table, fresh):
        assert write(each, change([7, 0], 0), FEED).version is None
        write(each, late, FEED)
    assert rows(table).equals(rows(fresh))


def test_what_a_crash_left_in_the_memory_goes_after_the_retention(tmp_path: Path) -> None:
    table = fed(str(tmp_path / "t"), 5)
    orphans = [f"{2:020d}-{'a' * 32}.parquet", f"facts-{2:020d}-{'a' * 32}.parquet"]
    coming = f"{99:020d}-{'b' * 32}.parquet"
    for name in (*orphans, coming, "notes.txt"):
        Path(table, "_fuse", name).write_bytes(b"half")
    assert vacuum(table, dry_run=False).memory_files == ()
    age(Path(table, "_fuse"))
    assert vacuum(table).memory_files == tuple(sorted(f"_fuse/{name}" for name in orphans))
    before = memory(table)
    vacuum(table, dry_run=False)
    assert memory(table) == before - set(orphans)
    assert write(table, change([1], 1), FEED).version is None


def test_a_version_within_the_retention_can_be_restored(tmp_path: Path) -> None:
    table = fed(str(tmp_path / "t"), 30)
    wanted = DeltaTable(table).version() - 5
    then = pl.read_delta(table, version=wanted)
    compact(table)
    age(Path(table))
    age(Path(table, "_fuse"))
    maintain(table, remove=True)
    version = DeltaTable(table).version()
    DeltaTable(table).restore(wanted)
    assert rows(table).equals(then.sort(then.columns))
    with pytest.raises(TableStateError, match="changed by others"):
        write(table, change([1], 99), FEED)
    DeltaTable(table).restore(version)
    assert write(table, change([1], 99), FEED).updated == 1


def test_an_idle_history_survives_years_of_maintenance(tmp_path: Path) -> None:
    """Vacuum commits, too; once the log no longer says that it was a vacuum, it would look like somebody's change."""
    table = fed(str(tmp_path / "t"))
    before = rows(table)
    configure(table, logRetentionDuration="interval 0 seconds", deletedFileRetentionDuration="interval 0 seconds")
    for week in range(3):
        stray = Path(table, f"part-{week}.parquet")
        stray.write_bytes(b"half")
        age(Path(table))
        report = maintain(table, remove=True)
        assert report.vacuumed is not None
        assert stray.name in report.vacuumed.files
        DeltaTable(table).optimize.compact()
    checkpoint(table)
    assert foreign_changes(table) == []
    assert rows(table).equals(before)
    assert write(table, change([1], 1), FEED).version is None
    assert write(table, change([1], 99), FEED).updated == 1


def test_maintenance_does_not_hide_what_others_changed(tmp_path: Path) -> None:
    table = fed(str(tmp_path / "t"))
    compact(table)
    key = rows(table).filter(k=1)
    DeltaTable(table).delete("k = 1")
    write_deltalake(table, key, mode="append")
    configure(table, logRetentionDuration="interval 0 seconds", deletedFileRetentionDuration="interval 0 seconds")
    vacuum(table, dry_run=False)
    checkpoint(table)
    with pytest.raises(TableStateError, match="changed by others"):
        write(table, change([1], 99), FEED)


def test_a_log_cleanup_respects_the_table(tmp_path: Path) -> None:
    table = fed(str(tmp_path / "t"), 6)
    configure(table, logRetentionDuration="interval 0 seconds", enableExpiredLogCleanup="false")
    assert checkpoint(table).log_files_removed == 0
    configure(table, enableExpiredLogCleanup="true")
    assert checkpoint(table, cleanup=False).log_files_removed == 0
    done = checkpoint(table)
    assert done.log_files_removed > 0
    assert done.log_bytes_removed > 0
    assert Path(table, "_delta_log", f"{done.version:020d}.checkpoint.parquet").exists()


def test_reading_helpers_see_the_same_after_maintenance(tmp_path: Path) -> None:
    table = fed(str(tmp_path / "t"))
    names = ["k", "valid_from"]
    seen = [current(table).collect().sort(names), as_of(table, moment(4)).collect().sort(names)]
    maintain(table)
    assert current(table).collect().sort(names).equals(seen[0])
    assert as_of(table, moment(4)).collect().sort(names).equals(seen[1])


def test_an_overwritten_table_is_maintained_too(tmp_path: Path) -> None:
    table = str(tmp_path / "t")
    for n in range(4):
        write(table, pl.DataFrame({"k": [n]}), Overwrite())
    configure(table, deletedFileRetentionDuration="interval 0 seconds")
    age(Path(table))
    report = maintain(table, remove=True)
    assert report.compaction is not None
    assert report.vacuumed is not None
    assert report.checkpointed is not None
    assert (report.compaction.version, len(report.vacuumed.files)) == (None, 3)
    assert report.checkpointed.version == DeltaTable(table).version()
    assert rows(table)["k"].to_list() == [3]


def test_runs_over_each_other_are_merged_from_the_lightest_down() -> None:
    base = [File(f"b{n}", 100, n * 10, n * 10 + 10) for n in range(10)]
    assert worth_rewriting(base, full=100) == []
    light = File("l", 30, 0, 100)
    assert worth_rewriting([*base, light], full=100) == []
    (unit,) = worth_rewriting([*base, light, File("m", 230, 0, 100)], full=100)
    assert len(unit.files) == 12
    assert unit.files_after(100) == 13
    (local,) = worth_rewriting([*base, File("n", 30, 41, 49)], full=100)
    assert {file.path for file in local.files} == {"b4", "n"}
    few = [File(f"s{n}", 5, 0, 100) for n in range(6)]
    (small,) = worth_rewriting([*base, *few], full=100)
    assert {file.path for file in small.files} == {file.path for file in few}
    ordered = [File(f"o{n}", 10, n, n) for n in range(25)]
    assert [unit.rows for unit in worth_rewriting(ordered, full=100)] == [100, 100, 50]
