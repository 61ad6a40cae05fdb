"""Assets as files: one each, or one per partition, with the types, the metadata and the refusals of tables."""

# Dagster reads these annotations, so they are not postponed.
import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuse_dagster import FileIOManager, Local, read_file, write_file
from fuse_dagster.core.errors import ConfigError, NotThereError, SchemaError
from fuse_dagster.orchestration.file_names import key_of_part, part_of_name
from fuse_dagster_tests.orchestration.helpers import RANGE_END, RANGE_START, Lake, errors, metadata

FORMATS = ["parquet", "csv", "json", "ndjson", "excel", "avro"]
ROWS = pl.DataFrame({
    "code": ["007", "", None],
    "tiny": pl.Series([1, None, -1], dtype=pl.Int8),
    "number": [1.0, 2.0, None],
    "day": [dt.date(2024, 1, 1), None, dt.date(2024, 2, 29)],
})  # fmt: skip
DAYS = dg.StaticPartitionsDefinition(["a b", "ä", "n", "2024-01-01-10:00", ".."])
MULTI = dg.MultiPartitionsDefinition(
    {"day": dg.StaticPartitionsDefinition(["1", "2"]), "country": dg.StaticPartitionsDefinition(["A/T", "DE"])}
)
KEPT: dict[str, Any] = {}


def run(
    lake: Lake, assets: Sequence[Any], layout: str = "csv", *, range_: tuple[str, str] | None = None, **given: Any
) -> dg.ExecuteInProcessResult:
    options = given.pop("options", {})
    tags = {} if range_ is None else {RANGE_START: range_[0], RANGE_END: range_[1]}
    return dg.materialize(
        assets,
        instance=lake.instance,
        tags=tags,
        resources={"io_manager": FileIOManager(lake=lake.connector, format=layout, options=options)},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
        **given,
    )


def said(result: dg.ExecuteInProcessResult) -> str:
    assert not result.success
    return "\n".join(errors(result))


def paths(lake: Lake) -> list[str]:
    return sorted(str(path.relative_to(lake.root)) for path in lake.root.rglob("*") if path.is_file())


@dg.asset(key_prefix="out", metadata={"columns": {"code": {"mask": True, "description": "A secret one."}}})
def rows() -> pl.DataFrame:
    """The rows."""
    return ROWS


@dg.asset(ins={"rows": dg.AssetIn(key=["out", "rows"])})
def seen(rows: pl.DataFrame) -> pl.DataFrame:
    """What came back."""
    KEPT["rows"] = rows
    return rows.select("day").drop_nulls()


@pytest.mark.parametrize("layout", FORMATS)
def test_an_asset_is_one_file_and_comes_back_with_its_types(lake: Lake, layout: str) -> None:
    result = run(lake, [rows, seen], layout)
    assert result.success, list(errors(result))
    assert KEPT["rows"].equals(ROWS)
    assert KEPT["rows"].schema == ROWS.schema
    ending = {"excel": "xlsx"}.get(layout, layout)
    assert paths(lake) == [f"out/rows.{ending}", f"seen.{ending}"]


def test_a_file_is_described(lake: Lake) -> None:
    found = metadata(run(lake, [rows]), "out/rows")
    assert (found["dagster/row_count"], found["rows_in"], found["files_added"]) == (3, 3, 1)
    assert found["dagster/uri"] == str(lake.root / "out" / "rows.csv")
    assert found["dagster/storage_kind"] == "csv"
    assert found["dagster/table_name"] == "out.rows"
    assert found["bytes_added"] == (lake.root / "out" / "rows.csv").stat().st_size
    assert found["seconds"] >= 0
    assert "007" not in found["preview"]
    assert "***" in found["preview"]
    columns = {column.name: column for column in found["dagster/column_schema"].columns}
    assert (columns["tiny"].type, columns["code"].description) == ("int8", "A secret one.")
    assert columns["code"].constraints.other == ["masked"]


@dg.asset
def as_lazy(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Lazily."""
    return rows.filter(pl.col("tiny") == 1)


@dg.asset
def as_pandas(rows: pd.DataFrame) -> pd.DataFrame:
    """As pandas."""
    return rows[["number"]]


@dg.asset
def as_arrow(rows: pa.Table) -> pa.RecordBatchReader:
    """As Arrow, written from a reader."""
    return rows.select(["code", "tiny"]).to_reader()


@dg.asset(ins={"rows": dg.AssetIn(metadata={"columns": ["day", "tiny"]})})
def narrowed(rows: pl.DataFrame) -> pl.DataFrame:
    """Two columns, in another order."""
    return rows


def test_annotations_choose_the_frame_and_metadata_the_columns(lake: Lake) -> None:
    source = dg.asset(name="rows")(lambda: ROWS)
    result = run(lake, [source, as_lazy, as_pandas, as_arrow, narrowed], "parquet")
    assert result.success, list(errors(result))
    found = {name: pl.read_parquet(lake.root / f"{name}.parquet") for name in ("as_lazy", "as_arrow", "narrowed")}
    assert found["as_lazy"].height == 1
    assert found["as_arrow"].equals(ROWS.select("code", "tiny"))
    assert found["narrowed"].columns == ["day", "tiny"]


@dg.asset(ins={"rows": dg.AssetIn(metadata={"columns": ["dai"]})})
def misspelt(rows: pl.DataFrame) -> None:
    """An unknown column."""


@dg.asset(ins={"rows": dg.AssetIn(metadata={"as_of": "current"})})
def dated(rows: pl.DataFrame) -> None:
    """A moment, which files do not have."""


def test_what_files_can_not_give_is_said(lake: Lake) -> None:
    source = dg.asset(name="rows")(lambda: ROWS)
    assert run(lake, [source]).success
    assert "Did you mean `day`" in said(run(lake, [source, misspelt], selection=[misspelt]))
    assert "asks for `as_of`, and files have no versions" in said(run(lake, [source, dated], selection=[dated]))
    (lake.root / "rows.csv").unlink()
    assert "`rows` has no file of csv at" in said(run(lake, [source, misspelt], selection=[misspelt]))


@dg.asset(partitions_def=DAYS)
def parts(context: dg.AssetExecutionContext) -> Any:
    """A row for each partition."""
    made = {key: pl.DataFrame({"key": [key], "n": [len(key)]}) for key in context.partition_keys}
    return made if len(made) > 1 else made.popitem()[1]


@dg.asset(partitions_def=DAYS)
def same(parts: pl.DataFrame) -> pl.DataFrame:
    """The same partition."""
    return parts


@dg.asset
def every(parts: pl.DataFrame) -> pl.DataFrame:
    """All partitions."""
    return parts


@pytest.mark.parametrize("layout", ["csv", "parquet", "excel"])
def test_a_partition_is_a_file_whatever_its_key_is(lake: Lake, layout: str) -> None:
    for key in ("ä", "..", "2024-01-01-10:00"):
        result = run(lake, [parts, same], layout, partition_key=key)
        assert result.success, list(errors(result))
        found = metadata(result, "parts")
        assert found["dagster/partition_row_count"] == 1
        assert "dagster/row_count" not in found
    ending = {"excel": "xlsx"}.get(layout, layout)
    names = [f"{name}.{ending}" for name in ("2024-01-01-10~3A00", "~2E~2E", "~C3~A4")]
    assert paths(lake) == [f"{asset}/{name}" for asset in ("parts", "same") for name in names]
    result = run(lake, [parts, every], layout, selection=[every])
    assert result.success, list(errors(result))
    found = read_file(lake.connector, f"every.{ending}").collect()
    assert sorted(found.rows()) == [("..", 2), ("2024-01-01-10:00", 16), ("ä", 1)]
    logs = [entry.user_message for entry in lake.instance.all_logs(result.run_id)]
    assert "`parts`: read 3 of 5 partitions; the others were never written." in logs


def test_a_partition_that_was_never_written_is_an_error(lake: Lake) -> None:
    assert "`parts` has no file" in said(run(lake, [parts, every], selection=[every]))
    assert run(lake, [parts], partition_key="ä").success
    result = run(lake, [parts, same], selection=[same], partition_key="n")
    assert "The partition `n` of `parts` was never written" in said(result)


def test_several_partitions_at_once_are_a_map(lake: Lake) -> None:
    result = run(lake, [parts], range_=("a b", "n"))
    assert result.success, list(errors(result))
    assert paths(lake) == ["parts/a b.csv", "parts/n.csv", "parts/~C3~A4.csv"]
    one = dg.asset(name="parts", partitions_def=DAYS)(lambda: ROWS)
    assert "one frame for 3 partitions" in said(run(lake, [one], range_=("a b", "n")))
    other = dg.asset(name="parts", partitions_def=DAYS)(lambda: {"x": ROWS})
    assert "returned frames for `x`, but" in said(run(lake, [other], range_=("a b", "n")))
    assert "has no partitions" in said(run(lake, [dg.asset(name="whole")(lambda: {"x": ROWS})]))


@dg.asset(partitions_def=MULTI)
def crossed(context: dg.AssetExecutionContext) -> pl.DataFrame:
    """Two dimensions."""
    return pl.DataFrame({"key": [str(context.partition_key)]})


@dg.asset
def crossed_all(crossed: pl.DataFrame) -> None:
    """All of them."""
    KEPT["crossed"] = sorted(crossed["key"])


def test_partitions_of_several_dimensions_are_folders(lake: Lake) -> None:
    for country, day in (("A/T", "1"), ("DE", "2")):
        key = dg.MultiPartitionKey({"day": day, "country": country})
        assert run(lake, [crossed], partition_key=key).success
    assert paths(lake) == ["crossed/A~2FT/1.csv", "crossed/DE/2.csv"]
    assert run(lake, [crossed, crossed_all], selection=[crossed_all]).success
    assert KEPT["crossed"] == ["A/T|1", "DE|2"]


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_name_is_one_key_and_a_key_one_name(one: str, other: str) -> None:
    assert key_of_part(part_of_name(one)) == one
    assert (part_of_name(one) == part_of_name(other)) == (one == other)
    assert Local(root="lake").uri("a", part_of_name(one)).endswith(part_of_name(one))


def test_a_key_that_makes_too_long_a_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"a name of 201 bytes\. Valid: up to 200"):
        part_of_name("x" * 201)


def test_partitions_of_different_columns_are_not_mixed(lake: Lake) -> None:
    lake.root.mkdir(parents=True)
    for key, frame in (("ä", pl.DataFrame({"a": [1]})), ("n", pl.DataFrame({"a": ["x"], "b": [1]}))):
        write_file(lake.connector, f"parts/{part_of_name(key)}.parquet", frame)
    wrong = said(run(lake, [parts, every], "parquet", selection=[every]))
    assert "have different columns: `b` is missing in the" in wrong
    assert "`a` is " in wrong


def test_a_type_that_the_format_lacks_leaves_the_old_file(lake: Lake) -> None:
    assert run(lake, [dg.asset(name="x", key_prefix="a")(lambda: ROWS)]).success
    before = (lake.root / "a" / "x.csv").read_bytes()
    nested = dg.asset(name="x", key_prefix="a", metadata={"columns": {"s": {"mask": True}}})
    result = run(lake, [nested(lambda: pl.DataFrame({"s": ["hush\0"], "n": [1]}))])
    assert "`s` holds null bytes" in said(result)
    assert "hush" not in said(result)
    assert "no nested values" in said(run(lake, [nested(lambda: pl.DataFrame({"l": [[1]]}))]))
    assert paths(lake) == ["a/x.csv"]
    assert (lake.root / "a" / "x.csv").read_bytes() == before


def test_two_assets_never_share_a_file(lake: Lake) -> None:
    inner = dg.asset(name="n", key_prefix="parts")(lambda: ROWS)
    assert run(lake, [parts], partition_key="n").success
    before = (lake.root / "parts" / "n.csv").read_bytes()
    assert "would be written to a file of `parts`" in said(run(lake, [inner]))
    assert (lake.root / "parts" / "n.csv").read_bytes() == before
    other = Lake(root=lake.root.parent / "other")
    assert run(other, [inner]).success
    assert "would be written to a file of `parts/n`" in said(run(other, [parts], partition_key="n"))


def test_options_are_those_of_the_format(lake: Lake, tmp_path: Path) -> None:
    result = run(lake, [rows, seen], options={"separator": ";", "compression": "gzip"})
    assert result.success, list(errors(result))
    assert "out/rows.csv.gz" in paths(lake)
    assert KEPT["rows"].equals(ROWS)
    with pytest.raises(ConfigError, match="Did you mean `separator`"):
        FileIOManager(lake=lake.connector, format="csv", options={"seperator": ";"})
    with pytest.raises(ConfigError, match="Did you mean `parquet`"):
        FileIOManager(lake=lake.connector, format="parket")


def test_files_are_written_and_read_without_dagster(tmp_path: Path) -> None:
    lake = Local(root=str(tmp_path))
    written = write_file(lake, "a/b.csv.gz", ROWS, options={"separator": ";"})
    assert (written.rows, written.uri) == (3, str(tmp_path / "a" / "b.csv.gz"))
    assert written.bytes == (tmp_path / "a" / "b.csv.gz").stat().st_size
    read = read_file(lake, "a/b.csv.gz", options={"separator": ";"}, types={"tiny": "int8"}, columns=["tiny", "code"])
    assert read.collect().equals(ROWS.select("tiny", "code"))
    money = pl.DataFrame({"m": [Decimal("1.10")]})
    write_file(lake, "m.ndjson", money)
    assert read_file(lake, "m.ndjson", types={"m": "decimal(38, 2)"}).collect()["m"].to_list() == [Decimal("1.10")]
    with pytest.raises(ConfigError, match="tells no format"):
        write_file(lake, "a/b", ROWS)
    with pytest.raises(NotThereError, match="nothing at"):
        read_file(lake, "a/c.csv")
    with pytest.raises(SchemaError, match="no nested values"):
        write_file(lake, "a/l.csv", pl.DataFrame({"l": [[1]]}))
    assert not (tmp_path / "a" / "l.csv").exists()
