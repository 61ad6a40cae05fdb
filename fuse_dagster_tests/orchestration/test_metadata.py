"""What every materialization says, whatever wrote it."""

from typing import Any

import dagster as dg
import polars as pl
import pytest
from deltalake import DeltaTable

from fuse_dagster import Column, delta_table, history_table, sql_model
from fuse_dagster.orchestration.metadata import preview
from fuse_dagster.tables import Append, Upsert, WriteMode
from fuse_dagster_tests.orchestration.helpers import Lake, metadata

STATIC = dg.StaticPartitionsDefinition(["20240101", "20240201"])

ROWS = pl.DataFrame({"k": [1, 2], "secret": ["s3cr3t-1", "s3cr3t-2"], "l": [["a"], []], "st": [{"x": 1}, {"x": 2}]})

COLUMNS = {
    "k": Column(description="The key."),
    "secret": Column(description="Who it is.", mask=True, tags=("pii",)),
}


@delta_table(columns=COLUMNS)
def overwritten() -> pl.DataFrame:
    return ROWS


@delta_table(columns=COLUMNS, mode=Append(), lineage={"*": [("overwritten", "*")], "k": [("overwritten", "secret")]})
def appended(overwritten: pl.DataFrame) -> pl.DataFrame:
    return overwritten


@delta_table(columns=COLUMNS, mode=Upsert(keys=["k"]))
def upserted() -> pl.DataFrame:
    return ROWS


@delta_table(columns=COLUMNS, partitions_def=STATIC, partition_by="p")
def partitioned(context) -> pl.DataFrame:  # type: ignore[no-untyped-def]
    return ROWS.with_columns(p=pl.lit(context.partition_key))


@history_table(columns=COLUMNS, keys=["k"], partitions_def=STATIC, effective_format="%Y%m%d")
def history() -> pl.DataFrame:
    return ROWS.drop("l", "st")


modelled = sql_model("modelled", "SELECT k, upper(secret) AS secret, count(*) AS n FROM overwritten GROUP BY ALL")

EVERY: dict[str, tuple[dg.AssetsDefinition, str | None]] = {
    "overwritten": (overwritten, None),
    "appended": (appended, None),
    "upserted": (upserted, None),
    "partitioned": (partitioned, "20240101"),
    "history": (history, "20240101"),
    "modelled": (modelled, None),
}

ALWAYS = {
    "dagster/row_count": int,
    "dagster/column_schema": dg.TableSchema,
    "dagster/uri": str,
    "dagster/table_name": str,
    "dagster/storage_kind": str,
    "delta_version": int,
    "committed": bool,
    "rows_in": int,
    "inserted": int,
    "updated": int,
    "unchanged": int,
    "closed": int,
    "deleted": int,
    "duplicates": int,
    "rejected": int,
    "files_added": int,
    "bytes_added": int,
    "seconds": float,
    "schema_changes": str,
    "preview": str,
}


@pytest.fixture(params=list(EVERY))
def said(request: pytest.FixtureRequest, lake: Lake) -> tuple[str, list[dict[str, Any]]]:
    """Of each kind of asset, what it says the first time and, unchanged, the second."""
    asset, partition = EVERY[request.param]
    lake.run([overwritten])
    every = list(dict.fromkeys([overwritten, asset]))
    return request.param, [
        metadata(lake.run(every, select=[asset], partition=partition), request.param) for _ in range(2)
    ]


def test_every_materialization_says_all_of_it(said: tuple[str, list[dict[str, Any]]], lake: Lake) -> None:
    name, both = said
    for found in both:
        for key, kind in ALWAYS.items():
            assert type(found[key]) is kind, key
        assert found["dagster/uri"] == str(lake.root / name)
        assert found["dagster/table_name"] == name
    assert both[1]["delta_version"] == lake.version(name)
    assert both[1]["dagster/row_count"] == lake.rows(name).height if name != "overwritten" else 2


def test_what_commits_nothing_says_the_version_that_is_there(
    said: tuple[str, list[dict[str, Any]]],
) -> None:
    name, (_, second) = said
    assert second["committed"] is (name == "appended")
    assert second["delta_version"] == (1 if name == "appended" else 0)
    if name != "appended":
        assert (second["unchanged"], second["files_added"], second["bytes_added"]) == (2, 0, 0)


def test_a_masked_value_is_nowhere(said: tuple[str, list[dict[str, Any]]], lake: Lake) -> None:
    name, both = said
    if name == "modelled":
        return  # another table, with a declaration of its own
    assert "s3cr3t" not in str(both)
    assert "***" in both[0]["preview"]
    assert not [line for line in lake.logs if "s3cr3t" in line]


def test_a_schema_has_types_descriptions_and_keys(lake: Lake) -> None:
    lake.run([overwritten, upserted])
    schema = metadata(lake.run([upserted]), "upserted")["dagster/column_schema"]
    columns = {column.name: column for column in schema.columns}
    assert {name: column.type for name, column in columns.items()} == {
        "k": "long",
        "secret": "string",
        "l": "array<string>",
        "st": "struct<x: long>",
    }
    assert columns["k"].description == "The key."
    assert columns["k"].constraints.other == ["business key"]
    assert columns["secret"].constraints.other == ["masked"]
    assert columns["secret"].tags == {"pii": ""}


def test_a_history_explains_its_own_columns(lake: Lake) -> None:
    schema = metadata(lake.run([history], partition="20240101"), "history")["dagster/column_schema"]
    said = {column.name: column.description for column in schema.columns}
    assert said["valid_from"].startswith("From when")
    assert said["valid_to"].startswith("Until when")
    assert said["is_current"].startswith("Whether")


def test_declared_lineage_takes_in_columns_of_the_same_name(lake: Lake) -> None:
    lineage = metadata(lake.run([overwritten, appended]), "appended")["dagster/column_lineage"]
    assert {
        column: [(dep.asset_key.to_user_string(), dep.column_name) for dep in deps]
        for column, deps in lineage.deps_by_column.items()
    } == {
        "k": [("overwritten", "secret")],
        "secret": [("overwritten", "secret")],
        "l": [("overwritten", "l")],
        "st": [("overwritten", "st")],
    }


def test_a_partition_counts_its_own_rows_and_the_table_all(lake: Lake) -> None:
    lake.run([partitioned], partition="20240101")
    found = metadata(lake.run([partitioned], partition="20240201"), "partitioned")
    assert (found["dagster/partition_row_count"], found["dagster/row_count"]) == (2, 4)
    assert "20240101" not in found["preview"]


@pytest.mark.parametrize(("mode", "rows"), [(Append(), 4), (Upsert(keys=["k"]), 3)], ids=["append", "upsert"])
def test_a_partition_that_grows_counts_what_it_held_before(mode: WriteMode, rows: int, lake: Lake) -> None:
    frames = iter([pl.DataFrame({"k": keys}) for keys in ([1, 2], [2, 3], [9])])

    @delta_table(mode=mode, partitions_def=STATIC, partition_by="p")
    def table(context) -> pl.DataFrame:  # type: ignore[no-untyped-def]
        return next(frames).with_columns(p=pl.lit(context.partition_key))

    lake.run([table], partition="20240101")
    found = metadata(lake.run([table], partition="20240101"), "table")
    assert (found["dagster/partition_row_count"], found["dagster/row_count"]) == (rows, rows)
    found = metadata(lake.run([table], partition="20240201"), "table")
    assert (found["dagster/partition_row_count"], found["dagster/row_count"]) == (1, rows + 1)


def test_a_batch_that_is_no_slice_counts_no_rows_of_its_partition(lake: Lake) -> None:
    @delta_table(mode=Append(), partitions_def=STATIC)
    def table() -> pl.DataFrame:
        return pl.DataFrame({"k": [1]})

    for asset, name in ((table, "table"), (history, "history")):
        found = metadata(lake.run([asset], partition="20240101"), name)
        assert "dagster/partition_row_count" not in found


def test_schema_changes_are_said(lake: Lake) -> None:
    frames = iter([pl.DataFrame({"k": [1]}), pl.DataFrame({"k": [2], "lid": ["x"]})])

    @delta_table(mode=Append())
    def table() -> pl.DataFrame:
        return next(frames)

    assert metadata(lake.run([table]), "table")["schema_changes"] == "none"
    assert "lid" in metadata(lake.run([table]), "table")["schema_changes"]


def test_what_cannot_be_computed_is_a_log_line_and_the_write_stands(lake: Lake) -> None:
    @delta_table(lineage={"*": [("nowhere", "*")]})
    def table() -> pl.DataFrame:
        return ROWS

    found = metadata(lake.run([table]), "table")
    assert "dagster/column_lineage" not in found
    assert found["dagster/row_count"] == 2
    assert any("`dagster/column_lineage` of `table` is left out: There is no Delta table" in line for line in lake.logs)


def test_the_numbers_agree_with_the_log(lake: Lake) -> None:
    found = metadata(lake.run([overwritten]), "overwritten")
    actions = pl.DataFrame(DeltaTable(str(lake.root / "overwritten")).get_add_actions(flatten=True))
    assert found["files_added"] == actions.height
    assert found["bytes_added"] == actions["size_bytes"].sum()
    assert any(
        "`overwritten`: committed version 0; 2 rows in (2 inserted), 2 in the table" in line for line in lake.logs
    )


def test_a_preview_is_ten_rows_that_markdown_can_show() -> None:
    frame = pl.DataFrame({"a|b": ["x|y", "two\nlines", "w" * 100, None, *("r" * 20)]})
    lines = preview(frame, frozenset()).splitlines()
    assert lines[0] == "| a\\|b |"
    assert lines[2:5] == ["| x\\|y |", "| two lines |", f"| {'w' * 57}... |"]
    assert len(lines) == 12
