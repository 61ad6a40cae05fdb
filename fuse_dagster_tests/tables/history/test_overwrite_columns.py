"""Overwritten columns (type 1 within type 2): every version holds what was said last, in any order of arrival."""

from __future__ import annotations

import datetime as dt
import math
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuse_dagster.core.errors import ConfigError, CorrectionError, KeyValueError, SchemaError, TableStateError
from fuse_dagster.tables import History, write
from fuse_dagster_tests.tables.oracle import (
    ABSENT,
    Statement,
    Version,
    of_changes,
    of_snapshots,
    said_last_by,
    said_last_in,
)

START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
PATIENT = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])

values = st.sampled_from([None, "", "x"])
notes = st.tuples(st.sampled_from([None, 0.0, -0.0, math.nan]), st.sampled_from([None, ["a"], []]))
keys = st.sampled_from(["a", "b", "ä"])
times = st.integers(0, 6)
SCHEMA = {"k": pl.String, "v": pl.String, "f": pl.Float64, "tags": pl.List(pl.String)}
OVERWRITTEN = ["f", "tags"]


def moment(at: int) -> dt.datetime:
    return START + dt.timedelta(hours=at)


def plain(note: Any) -> Any:
    """NaN and -0.0 as the one value that they are taken for; a list as a tuple."""
    number, tags = note
    told = "nan" if number is not None and math.isnan(number) else None if number is None else number + 0.0
    return told, None if tags is None else tuple(tags)


def read(table: str) -> tuple[set[Version], dict[str, Any]]:
    """The versions, and the one note per key that all of its versions hold."""
    found = pl.read_delta(table).select("k", "v", "f", "tags", "valid_from", "valid_to")
    versions, said = set(), {}
    for k, v, f, tags, start, end in found.iter_rows():
        hours = [None if t is None else int((t - START).total_seconds() // 3600) for t in (start, end)]
        versions.add((k, v, *hours))
        assert said.setdefault(k, plain((f, tags))) == plain((f, tags)), f"versions of {k} disagree"
    return versions, said


def snapshot(batch: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([(k, v, *note) for k, (v, note) in batch.items()], schema=SCHEMA, orient="row")


def at_hour(at: int) -> History:
    return History(
        keys=["k"],
        effective_at=moment(at),
        overwrite_columns=OVERWRITTEN,
        max_delete_fraction=None,
        allow_empty=True,
        surrogate_key="sk",
    )


snapshots_by_time = st.dictionaries(times, st.dictionaries(keys, st.tuples(values, notes)), min_size=1, max_size=5)


@PATIENT
@given(snapshots_by_time, st.data())
def test_snapshots_in_any_order_overwrite_alike(snapshots: dict[int, Any], data: st.DataObject) -> None:
    order = data.draw(st.permutations(sorted(snapshots)))
    with TemporaryDirectory() as folder:
        for at in order:
            write(folder + "/t", snapshot(snapshots[at]), at_hour(at))
        assert all(write(folder + "/t", snapshot(snapshots[at]), at_hour(at)).version is None for at in snapshots)
        assert read(folder + "/t") == expected_of(snapshots)


def expected_of(snapshots: dict[int, Any]) -> tuple[set[Version], dict[str, Any]]:
    tracked = {at: {k: v for k, (v, _) in batch.items()} for at, batch in snapshots.items()}
    said = {at: {k: plain(note) for k, (_, note) in batch.items()} for at, batch in snapshots.items()}
    return of_snapshots(tracked), said_last_in(said)  # type: ignore[return-value]


@PATIENT
@given(snapshots_by_time, st.data())
def test_snapshots_in_groups_overwrite_alike(snapshots: dict[int, Any], data: st.DataObject) -> None:
    full = {at: batch for at, batch in snapshots.items() if batch}
    order = data.draw(st.permutations(sorted(full)))
    cut = data.draw(st.integers(0, len(order)))
    mode = History(keys=["k"], effective_column="at", overwrite_columns=OVERWRITTEN, max_delete_fraction=None)
    with TemporaryDirectory() as folder:
        for group in [order[:cut], order[cut:]]:
            parts = [snapshot(full[at]).with_columns(at=pl.lit(moment(at))) for at in group]
            if parts:
                before = write(folder + "/t", pl.concat(parts), mode).table_version
                assert write(folder + "/t", pl.concat(parts), mode).table_version == before
        if full:
            assert read(folder + "/t") == expected_of(full)


statements = st.lists(
    st.builds(Statement, key=keys, at=times, value=values | st.just(ABSENT), sequence=st.integers(0, 2), note=notes),
    min_size=1,
    max_size=12,
    unique_by=lambda s: (s.key, s.at, s.sequence),
)


def feed(batch: list[Statement]) -> pl.DataFrame:
    made = [
        (
            s.key,
            *((None, None, None) if s.value == ABSENT else (s.value, *s.note)),
            moment(s.at),
            s.value == ABSENT,
            s.sequence,
        )  # type: ignore[misc]
        for s in batch
    ]
    schema = {**SCHEMA, "at": pl.Datetime("us", "UTC"), "gone": pl.Boolean, "seq": pl.Int64}
    return pl.DataFrame(made, schema=schema, orient="row")


FEED: dict[str, Any] = {"source": "changes", "effective_column": "at", "delete_when": "gone", "ignore": ["gone"]}


def grouped(batch: list[Statement], data: st.DataObject) -> list[list[Statement]]:
    order = data.draw(st.permutations(batch))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=4)))
    return [group for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True) if (group := order[a:b])]


def expected_by(batch: list[Statement]) -> tuple[set[Version], dict[str, Any]]:
    versions = of_changes(batch)
    said = {key: plain(note) for key, note in said_last_by(batch).items()}
    return versions, {key: said[key] for key, *_ in versions}  # type: ignore[misc]


@PATIENT
@given(statements, st.data())
def test_changes_in_any_order_and_grouping_overwrite_alike(batch: list[Statement], data: st.DataObject) -> None:
    mode = History(keys=["k"], sequence_by="seq", overwrite_columns=OVERWRITTEN, **FEED)
    with TemporaryDirectory() as folder:
        groups = grouped(batch, data)
        for group in groups:
            write(folder + "/t", feed(group), mode)
        assert not any(write(folder + "/t", feed(group), mode).committed for group in grouped(batch, data))
        assert read(folder + "/t") == expected_by(batch)


@PATIENT
@given(statements, st.data())
def test_changes_without_a_sequence_overwrite_alike(batch: list[Statement], data: st.DataObject) -> None:
    once = list({(s.key, s.at): s for s in batch}.values())
    mode = History(keys=["k"], overwrite_columns=OVERWRITTEN, **FEED)
    with TemporaryDirectory() as folder:
        for group in grouped(once, data):
            write(folder + "/t", feed(group).drop("seq"), mode)
        assert read(folder + "/t") == expected_by(once)


@PATIENT
@given(snapshots_by_time, st.data())
def test_snapshots_without_deletes_overwrite_alike(snapshots: dict[int, Any], data: st.DataObject) -> None:
    full = {at: batch for at, batch in snapshots.items() if batch}
    said = [Statement(k, at, v, note=note) for at, batch in full.items() for k, (v, note) in batch.items()]
    with TemporaryDirectory() as folder:
        for at in data.draw(st.permutations(sorted(full))):
            mode = History(keys=["k"], effective_at=moment(at), overwrite_columns=OVERWRITTEN, deletes="ignore")
            write(folder + "/t", snapshot(full[at]), mode)
        if full:
            assert read(folder + "/t") == expected_by(said)


def owners(table: Path, day: int, batch: dict[str, tuple[str, str | None]], **options: Any) -> Any:
    frame = pl.DataFrame(
        [(k, *rest) for k, rest in batch.items()], schema={"k": str, "city": str, "owner": pl.String}, orient="row"
    )
    mode = History(
        keys=["k"],
        effective_at=START + dt.timedelta(days=day),
        **({"overwrite_columns": ["owner"], "max_delete_fraction": None} | options),
    )
    return write(table, frame, mode)


def owners_of(table: Path) -> list[tuple[Any, ...]]:
    return pl.read_delta(str(table)).sort("k", "valid_from").select("k", "city", "owner", "is_current").rows()


def test_a_new_owner_is_the_owner_in_closed_versions_too(tmp_path: Path) -> None:
    owners(tmp_path, 0, {"a": ("Rome", "Ann"), "b": ("Oslo", "Bo")})
    owners(tmp_path, 1, {"a": ("Bern", "Ann"), "b": ("Oslo", "Bo")})
    result = owners(tmp_path, 2, {"a": ("Bern", "Cy"), "b": ("Oslo", "Bo")})
    assert (result.updated, result.unchanged, result.deleted) == (0, 2, 0)
    assert owners_of(tmp_path) == [
        ("a", "Rome", "Cy", False),
        ("a", "Bern", "Cy", True),
        ("b", "Oslo", "Bo", True),
    ]
    assert owners(tmp_path, 2, {"a": ("Bern", "Cy"), "b": ("Oslo", "Bo")}).version is None


def test_a_key_that_returns_brings_its_owner_to_what_ended_long_ago(tmp_path: Path) -> None:
    """Its old version lies in a file of closed ones that the snapshot itself has no need to read."""
    owners(tmp_path, 0, {"a": ("Rome", "Ann"), "b": ("Oslo", "Bo")})
    owners(tmp_path, 1, {"b": ("Oslo", "Bo")})
    owners(tmp_path, 5, {"b": ("Bonn", "Bo")})
    owners(tmp_path, 9, {"a": ("Rome", None), "b": ("Bonn", "Dee")})
    assert owners_of(tmp_path) == [
        ("a", "Rome", None, False),
        ("a", "Rome", None, True),
        ("b", "Oslo", "Dee", False),
        ("b", "Bonn", "Dee", True),
    ]


def files(table: Path) -> set[str]:
    return set(DeltaTable(str(table)).file_uris())


def test_closed_versions_are_rewritten_only_where_such_a_value_changes(tmp_path: Path) -> None:
    owners(tmp_path, 0, {"a": ("Rome", "Ann"), "b": ("Oslo", "Bo")})
    owners(tmp_path, 1, {"a": ("Bern", "Ann"), "b": ("Oslo", "Bo")})
    closed = {name for name in files(tmp_path) if pl.read_parquet(name)["valid_to"].null_count() == 0}
    owners(tmp_path, 2, {"a": ("Bern", "Ann"), "b": ("Bonn", "Bo")})
    owners(tmp_path, 3, {"a": ("Bern", "Ann"), "b": ("Bonn", "Bo"), "c": ("Pisa", "Eve")})
    assert closed <= files(tmp_path)
    for name in closed:
        Path(name).unlink()
    assert owners(tmp_path, 4, {"a": ("Kiel", "Ann"), "b": ("Bonn", "Bo"), "c": ("Pisa", "Eve")}).updated == 1
    owners_before = files(tmp_path)
    with pytest.raises(TableStateError, match="cannot be read"):
        owners(tmp_path, 5, {"a": ("Kiel", "Flo"), "b": ("Bonn", "Bo"), "c": ("Pisa", "Eve")})
    assert files(tmp_path) == owners_before


def test_one_commit_also_where_other_files_change(tmp_path: Path) -> None:
    for day, owner in enumerate(["Ann", "Ann", "Bo", None]):
        version = owners(tmp_path, day, {"a": (f"city {day}", owner)}).version
        assert version == day
    assert owners_of(tmp_path) == [("a", f"city {day}", None, day == 3) for day in range(4)]


def test_a_snapshot_that_says_two_owners_of_one_key_is_refused(tmp_path: Path) -> None:
    frame = pl.DataFrame({"k": ["a", "a"], "city": ["Rome", "Rome"], "owner": ["Ann", "Bo"]})
    with pytest.raises(KeyValueError, match="different values"):
        write(tmp_path, frame, History(keys=["k"], effective_at=START, overwrite_columns=["owner"]))


def test_another_value_of_the_last_statement_is_a_correction(tmp_path: Path) -> None:
    def say(hour: int, owner: str, **options: Any) -> Any:
        row = pl.DataFrame({"k": ["a"], "city": ["Rome"], "owner": [owner], "at": [moment(hour)]})
        mode = History(keys=["k"], source="changes", effective_column="at", overwrite_columns=["owner"], **options)
        return write(tmp_path, row, mode)

    say(1, "Ann")
    say(3, "Bo")
    with pytest.raises(CorrectionError, match="overwritten"):
        say(3, "Cy")
    say(3, "Cy", on_correction="replace")
    say(2, "late")
    assert pl.read_delta(str(tmp_path))["owner"].to_list() == ["Cy"]


def test_a_correction_of_owners_can_be_refused(tmp_path: Path) -> None:
    owners(tmp_path, 0, {"a": ("Rome", "Ann")})
    with pytest.raises(CorrectionError, match="other content"):
        owners(tmp_path, 0, {"a": ("Rome", "Bo")}, on_correction="error")
    owners(tmp_path, 0, {"a": ("Rome", "Bo")})
    assert owners_of(tmp_path) == [("a", "Rome", "Bo", True)]


def test_a_column_that_an_older_snapshot_lacks_is_null_where_nothing_was_said(tmp_path: Path) -> None:
    owners(tmp_path, 5, {"a": ("Rome", "Ann")})
    mode = History(keys=["k"], effective_at=START, overwrite_columns=["owner"], max_delete_fraction=None)
    write(tmp_path, pl.DataFrame({"k": ["a", "b"], "city": ["Bern", "Oslo"]}), mode)
    assert owners_of(tmp_path) == [
        ("a", "Bern", "Ann", False),
        ("a", "Rome", "Ann", True),
        ("b", "Oslo", None, False),
    ]


def test_a_new_column_and_a_new_owner_are_one_commit(tmp_path: Path) -> None:
    owners(tmp_path, 0, {"a": ("Rome", "Ann")})
    owners(tmp_path, 1, {"a": ("Bern", "Ann")})
    mode = History(keys=["k"], effective_at=START + dt.timedelta(days=2), overwrite_columns=["owner"])
    result = write(tmp_path, pl.DataFrame({"k": ["a"], "city": ["Bern"], "owner": ["Bo"], "new": [1]}), mode)
    assert result.version == 2
    assert [owner for _, _, owner, _ in owners_of(tmp_path)] == ["Bo"] * 3


def test_the_declaration_is_checked_and_kept(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="both in `ignore` and in `overwrite_columns`"):
        History(keys=["k"], ignore=["owner"], overwrite_columns=["owner"])
    with pytest.raises(ConfigError, match="already in `keys`"):
        History(keys=["k"], overwrite_columns=["k"])
    with pytest.raises(ConfigError, match="exclude each other"):
        History(keys=["k"], overwrite_columns=["owner"], missing_column="carry")
    with pytest.raises(SchemaError, match="Did you mean `owner`"):
        owners(tmp_path, 0, {"a": ("Rome", "Ann")}, overwrite_columns=["ovner"])
    owners(tmp_path, 0, {"a": ("Rome", "Ann")})
    with pytest.raises(ConfigError, match="another declaration"):
        owners(tmp_path, 1, {"a": ("Rome", "Ann")}, overwrite_columns=[])


def test_a_value_that_a_delete_passes_over_at_once_was_said_all_the_same(tmp_path: Path) -> None:
    """The statement at 4 makes no version in any order, so no row can say that its note came after that of 2."""
    said = [
        Statement("a", 2, "x", note=(None, ["two"])),
        Statement("a", 4, "x", sequence=1, note=(None, ["four"])),
        Statement("a", 4, ABSENT, sequence=2),
        Statement("a", 6, ABSENT),
    ]
    mode = History(keys=["k"], sequence_by="seq", overwrite_columns=OVERWRITTEN, **FEED)
    for number, order in enumerate(permutations(said)):
        table = str(tmp_path / str(number))
        for one in order:
            write(table, feed([one]), mode)
        assert not any(write(table, feed([one]), mode).committed for one in order)
        assert read(table) == ({("a", "x", 2, 4)}, {"a": (None, ("four",))})
