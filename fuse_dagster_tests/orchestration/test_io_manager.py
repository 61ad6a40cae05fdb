"""The IO manager through real runs: frames out and in, what inputs may ask for, and what must fail before it harms."""

from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from fuse_dagster import DeltaIOManager, DeltaTables, Local, delta_table
from fuse_dagster.engines.local.frames import to_polars
from fuse_dagster.tables import Append, Overwrite, Upsert, WriteMode
from fuse_dagster_tests.orchestration.helpers import Lake, StepFailedError, errors, metadata

ROWS = pl.DataFrame({"n": [1, 2, 3], "s": ["x", None, "z"]})


def as_relation() -> duckdb.DuckDBPyRelation:
    return duckdb.connect().sql("SELECT * FROM (VALUES (1::BIGINT, 'x'), (2, NULL), (3, 'z')) AS t(n, s)")


OUT: dict[type, Any] = {
    pl.DataFrame: lambda: ROWS,
    pl.LazyFrame: ROWS.lazy,
    pd.DataFrame: ROWS.to_pandas,
    pa.Table: ROWS.to_arrow,
    pa.RecordBatchReader: lambda: ROWS.to_arrow().to_reader(),
    duckdb.DuckDBPyRelation: as_relation,
}


@pytest.mark.parametrize("kind", list(OUT), ids=lambda kind: f"{kind.__module__.partition('.')[0]}.{kind.__name__}")
def test_every_frame_type_goes_out_and_comes_in(kind: Any, lake: Lake) -> None:
    loaded: list[object] = []

    @dg.asset
    def table() -> kind:
        return OUT[kind]()

    @dg.asset
    def reader(table: kind) -> None:
        assert isinstance(table, kind)
        loaded.append(to_polars(table).sort("n"))

    lake.run([table, reader])
    assert lake.rows("table").equals(ROWS)
    assert loaded[0].equals(ROWS)  # type: ignore[attr-defined]


def test_an_input_without_an_annotation_is_lazy(lake: Lake) -> None:
    @delta_table()
    def table() -> pl.DataFrame:
        return ROWS

    @dg.asset
    def reader(table) -> None:  # type: ignore[no-untyped-def]
        assert isinstance(table, pl.LazyFrame)
        plan = table.filter(pl.col("n") > 2).select("s").explain()
        assert 'SELECTION: col("n")' in plan

    lake.run([table, reader])


def test_an_input_of_a_type_that_is_no_frame_is_an_error(lake: Lake) -> None:
    @delta_table()
    def table() -> pl.DataFrame:
        return ROWS

    @dg.asset
    def reader(table: int) -> None: ...

    with pytest.raises(StepFailedError, match="can't be loaded as `int`"):
        lake.run([table, reader])


@pytest.mark.parametrize("value", [None, 7, {"a": ROWS}, [ROWS]])
def test_what_is_no_frame_is_refused(value: object, lake: Lake) -> None:
    @dg.asset
    def table():  # type: ignore[no-untyped-def]
        return value

    with pytest.raises(StepFailedError, match=r"A frame is expected|returned a map"):
        lake.run([table])


def test_a_materialize_result_with_a_value_keeps_what_it_says(lake: Lake) -> None:
    @delta_table()
    def table() -> dg.MaterializeResult[pl.DataFrame]:
        return dg.MaterializeResult(value=ROWS, metadata={"source": "a letter", "rows_in": 99})

    said = metadata(lake.run([table]), "table")
    assert said["source"] == "a letter"
    assert said["rows_in"] == 99, "what the function says stands"
    assert said["dagster/row_count"] == 3


def test_metadata_written_by_hand_chooses_the_mode(lake: Lake) -> None:
    frames = iter([ROWS, pl.DataFrame({"n": [3, 4], "s": ["new", "w"]})])

    @dg.asset(metadata={"write": {"mode": "upsert", "keys": ["n"]}})
    def table() -> pl.DataFrame:
        return next(frames)

    lake.run([table])
    said = metadata(lake.run([table]), "table")
    assert lake.rows("table").rows() == [(1, "x"), (2, None), (3, "new"), (4, "w")]
    assert (said["inserted"], said["updated"], said["dagster/row_count"]) == (1, 1, 4)


@pytest.mark.parametrize("partition_by", ["partition_by", "partition_expr"])
def test_metadata_written_by_hand_names_the_column(partition_by: str, lake: Lake) -> None:
    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["1", "2"]), metadata={partition_by: "p"})
    def table(context) -> pl.DataFrame:  # type: ignore[no-untyped-def]
        return pl.DataFrame({"p": [int(context.partition_key)], "v": ["x"]})

    for key in "12":
        lake.run([table], partition=key)
    assert lake.rows("table").rows() == [(1, "x"), (2, "x")]


def test_partitions_without_a_column_are_an_error(lake: Lake) -> None:
    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["1", "2"]))
    def table() -> pl.DataFrame:
        return ROWS

    with pytest.raises(StepFailedError, match="`partition_by` is `None`"):
        lake.run([table], partition="1")
    assert not lake.root.exists()


def test_a_bad_declaration_names_every_problem_with_its_path(lake: Lake) -> None:
    @dg.asset(
        metadata={
            "write": {"mode": "upsert", "kyes": ["n"]},
            "columns": {"n": {"describtion": "x"}},
            "partition_by": 3,
        }
    )
    def table() -> pl.DataFrame:
        return ROWS

    with pytest.raises(StepFailedError) as caught:
        lake.run([table])
    message = str(caught.value)
    assert "$.write.kyes is no option of `upsert`. Did you mean `keys`?" in message
    assert "$.columns.n.describtion is no property of a column. Did you mean `description`?" in message
    assert "$.partition_by is `3`" in message


def test_a_log_that_does_not_open_is_an_error_and_every_file_stays(lake: Lake) -> None:
    definition = dg.StaticPartitionsDefinition(["1", "2"])

    @delta_table(partitions_def=definition, partition_by="p")
    def table(context) -> pl.DataFrame:  # type: ignore[no-untyped-def]
        return pl.DataFrame({"p": [int(context.partition_key)], "v": ["x"]})

    @dg.asset(partitions_def=definition)
    def reader(table: pl.DataFrame) -> None: ...

    lake.run([table], partition="1")
    log = lake.root / "table" / "_delta_log" / "00000000000000000000.json"
    for damage in ("no json", "", None):
        if damage is None:
            log.unlink()
        else:
            log.write_text(damage)
        before = lake.files("table")
        with pytest.raises(StepFailedError, match=r"can't be opened.*_delta_log"):
            lake.run([table], partition="2")
        with pytest.raises(StepFailedError, match=r"can't be opened.*_delta_log"):
            lake.run([table, reader], select=[reader], partition="1")
        assert lake.files("table") == before


def test_a_column_of_a_type_that_a_key_cannot_be_is_an_error_and_every_file_stays(lake: Lake) -> None:
    frame = pl.DataFrame({"p": ["1"], "v": ["x"]})

    @delta_table(partitions_def=dg.StaticPartitionsDefinition(["1", "2"]), partition_by="p")
    def table(context) -> pl.DataFrame:  # type: ignore[no-untyped-def]
        return frame if context.partition_key == "1" else pl.DataFrame({"p": [2], "v": ["x"]})

    lake.run([table], partition="1")
    before = lake.files("table")
    with pytest.raises(StepFailedError, match="`p`"):
        lake.run([table], partition="2")
    assert lake.files("table") == before


class TestInputs:
    """What the metadata of an input may ask for."""

    @pytest.fixture
    def table(self, lake: Lake) -> dg.AssetsDefinition:
        numbers = iter(range(1, 9))

        @delta_table()
        def table() -> pl.DataFrame:
            number = next(numbers)
            return pl.DataFrame({"a": [number], "b": ["x"], "c": [True]})

        for _ in range(3):
            lake.run([table])
        return table

    def load(self, lake: Lake, table: dg.AssetsDefinition, **asked: Any) -> pl.DataFrame:
        loaded: list[pl.DataFrame] = []

        @dg.asset(ins={"table": dg.AssetIn(metadata=asked)})
        def reader(table: pl.DataFrame) -> None:
            loaded.append(table)

        lake.run([table, reader], select=[reader])
        return loaded[0]

    def test_columns_come_in_the_order_asked_for(self, lake: Lake, table: dg.AssetsDefinition) -> None:
        assert self.load(lake, table, columns=["c", "a"]).columns == ["c", "a"]

    def test_a_version_is_read_as_it_was(self, lake: Lake, table: dg.AssetsDefinition) -> None:
        assert self.load(lake, table, version=1, columns=["a"]).item() == 2
        assert self.load(lake, table, columns=["a"]).item() == 3

    def test_a_time_is_read_as_it_was(self, lake: Lake, table: dg.AssetsDefinition) -> None:
        stamps = {entry["version"]: entry["timestamp"] for entry in DeltaTable(str(lake.root / "table")).history()}
        moment = pl.Series([stamps[0]]).cast(pl.Datetime("ms", "UTC")).item()
        assert self.load(lake, table, timestamp=moment.isoformat(), columns=["a"]).item() == 1

    @pytest.mark.parametrize(
        ("asked", "why"),
        [
            ({"columns": ["aa"]}, "has no column `aa`. Did you mean `a`"),
            ({"columns": "a"}, "`columns` is the text `a`"),
            ({"version": 9}, "no version `9`. Its newest is `2`"),
            ({"timestamp": "2000-01-01"}, "oldest version left is `0`"),
            ({"versoin": 1}, "no option `versoin`. Did you mean `version`"),
            ({"as_of": "2024-01-01"}, r"has no columns .*no history"),
            ({"as_of": "2024-01-01", "version": 1}, "Give one"),
            ({"version": 1, "timestamp": "2024-01-01"}, "not both"),
        ],
    )
    def test_what_cannot_be_given_is_an_error(
        self, lake: Lake, table: dg.AssetsDefinition, asked: dict[str, Any], why: str
    ) -> None:
        with pytest.raises(StepFailedError, match=why):
            self.load(lake, table, **asked)

    def test_metadata_of_others_is_left_alone(self, lake: Lake, table: dg.AssetsDefinition) -> None:
        assert self.load(lake, table, owner="finance").height == 1

    def test_no_table_at_all_is_an_error(self, lake: Lake, table: dg.AssetsDefinition) -> None:
        empty = Lake(root=lake.root / "elsewhere")
        with pytest.raises(StepFailedError, match="There is no Delta table at"):
            self.load(empty, table)


class TestFanIn:
    """Reading partitions of which some, or all, were never written."""

    DEFINITION = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-06")

    @pytest.fixture
    def table(self) -> dg.AssetsDefinition:
        @delta_table(partitions_def=self.DEFINITION, partition_by="t")
        def table(context) -> pl.DataFrame:  # type: ignore[no-untyped-def]
            start = context.partition_time_window.start
            rows = [] if context.partition_key == "2024-01-03" else [start]
            return pl.DataFrame({"t": rows}, schema={"t": pl.Datetime("us", "UTC")}).with_columns(v=pl.lit(1))

        return table

    def test_all_is_what_is_there_with_a_line_that_counts(self, lake: Lake, table: dg.AssetsDefinition) -> None:
        loaded: list[int] = []

        @dg.asset
        def reader(table: pl.DataFrame) -> None:
            loaded.append(table.height)

        for key in ("2024-01-01", "2024-01-04"):
            lake.run([table], partition=key)
        lake.run([table, reader], select=[reader])
        assert loaded == [2]
        assert any("`table`: read 2 of 5 partitions" in line for line in lake.logs)

    def test_one_that_was_never_written_is_an_error(self, lake: Lake, table: dg.AssetsDefinition) -> None:
        @dg.asset(partitions_def=self.DEFINITION)
        def reader(table: pl.DataFrame) -> None: ...

        lake.run([table], partition="2024-01-01")
        with pytest.raises(StepFailedError, match="The partition `2024-01-02` of `table` was never written"):
            lake.run([table, reader], select=[reader], partition="2024-01-02")

    def test_one_that_was_written_without_rows_is_empty(self, lake: Lake, table: dg.AssetsDefinition) -> None:
        loaded: list[int] = []

        @dg.asset(partitions_def=self.DEFINITION)
        def reader(table: pl.DataFrame) -> None:
            loaded.append(table.height)

        lake.run([table], partition="2024-01-01")
        lake.run([table, reader], partition="2024-01-03")
        assert loaded == [0]

    def test_a_window_of_partitions_is_read_as_that(self, lake: Lake, table: dg.AssetsDefinition) -> None:
        loaded: list[list[int]] = []
        mapping = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=0)

        @dg.asset(partitions_def=self.DEFINITION, ins={"table": dg.AssetIn(partition_mapping=mapping)})
        def reader(table: pl.DataFrame) -> None:
            loaded.append(sorted(moment.day for moment in table["t"]))

        for key in ("2024-01-01", "2024-01-02", "2024-01-04"):
            lake.run([table], partition=key)
        lake.run([table, reader], select=[reader], partition="2024-01-02")
        assert loaded == [[1, 2]]


def test_the_lake_may_come_from_the_environment(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    @delta_table()
    def table() -> pl.DataFrame:
        return ROWS

    monkeypatch.setenv("LAKE_ROOT", str(lake.root))
    manager = DeltaIOManager(lake=Local(root=dg.EnvVar("LAKE_ROOT")))
    assert dg.materialize([table], resources={"io_manager": manager}).success
    assert lake.rows("table").height == 3


def test_one_lake_serves_as_a_resource_of_its_own(lake: Lake) -> None:
    @dg.asset
    def table(place: Local) -> pl.DataFrame:
        return pl.DataFrame({"uri": [place.uri("table")]})

    connector = lake.connector
    resources = {"place": connector, "io_manager": DeltaIOManager(lake=connector)}
    assert dg.materialize([table], resources=resources).success
    assert lake.rows("table").item() == str(lake.root / "table")


def test_a_table_inside_another_is_refused(lake: Lake) -> None:
    @dg.asset(key=["a"])
    def outer() -> pl.DataFrame:
        return ROWS

    @dg.asset(key=["a", "b"])
    def inner() -> pl.DataFrame:
        return ROWS

    lake.run([outer])
    with pytest.raises(StepFailedError, match="inside the table at"):
        lake.run([inner])


def test_a_table_around_another_is_refused(lake: Lake) -> None:
    @dg.asset(key=["a"])
    def outer() -> pl.DataFrame:
        return ROWS

    @dg.asset(key=["a", "b"])
    def inner() -> pl.DataFrame:
        return ROWS

    for _ in range(2):
        lake.run([inner])
    with pytest.raises(StepFailedError, match="around the table `a/b`"):
        lake.run([outer])
    assert not (lake.root / "a" / "_delta_log").exists()


def test_rows_of_another_partition_are_refused_by_append_and_upsert_too(lake: Lake) -> None:
    from fuse_dagster.tables import Append, Upsert

    for mode in (Append(), Upsert(keys=["k"])):

        @delta_table(
            key=["t", type(mode).__name__],
            mode=mode,
            partitions_def=dg.StaticPartitionsDefinition(["a"]),
            partition_by="p",
        )
        def table() -> pl.DataFrame:
            return pl.DataFrame({"k": [1, 2], "p": ["a", "b"]})

        with pytest.raises(StepFailedError, match=r"1 of 2 rows do not belong to the partition.* by `p`: .p='b', k=2"):
            lake.run([table], partition="a")
        assert not (lake.root / "t").exists()


@pytest.mark.parametrize("mode", [Overwrite(), Append(), Upsert(keys=["v"])], ids=lambda mode: type(mode).__name__)
@pytest.mark.parametrize("kind", ["pandas", "categorical", "enum"])
def test_a_category_decides_a_partition_as_its_text_does(mode: WriteMode, kind: str, lake: Lake) -> None:
    def category(value: str) -> object:
        frame = pl.DataFrame({"p": [value], "v": [1]})
        if kind == "pandas":
            return frame.to_pandas().astype({"p": "category"})
        return frame.cast({"p": pl.Categorical() if kind == "categorical" else pl.Enum(["a", "b"])})

    given = iter([category("a"), category("a")])

    @delta_table(mode=mode, partitions_def=dg.StaticPartitionsDefinition(["a", "b"]), partition_by="p")
    def table():  # type: ignore[no-untyped-def]
        return next(given)

    lake.run([table], partition="a")
    assert lake.rows("table").rows() == [("a", 1)]
    with pytest.raises(StepFailedError, match="do not belong to the partition"):
        lake.run([table], partition="b")


def test_schema_evolution_reads_null_in_older_files(lake: Lake) -> None:
    uri = str(lake.root / "table")
    write_deltalake(uri, pl.DataFrame({"a": [1]}))
    write_deltalake(uri, pl.DataFrame({"a": [2], "b": ["x"]}), mode="append", schema_mode="merge")
    loaded: list[pl.DataFrame] = []

    @dg.asset
    def reader(table: pl.LazyFrame) -> None:
        loaded.append(table.filter(pl.col("b").is_null()).collect())

    lake.run([dg.AssetSpec("table"), reader], select=[reader])
    assert loaded[0].rows() == [(1, None)]


class TestTables:
    """The same as functions, for those who use no IO manager."""

    def test_a_function_writes_its_own_table(self, lake: Lake) -> None:
        @delta_table(partitions_def=dg.StaticPartitionsDefinition(["1", "2"]), partition_by="p")
        def table(context: dg.AssetExecutionContext, tables: DeltaTables) -> dg.MaterializeResult[None]:
            return tables.write(context, pl.DataFrame({"p": [int(context.partition_key)], "v": ["x"]}))

        for key in "12":
            said = metadata(lake.run([table], partition=key), "table")
        assert lake.rows("table").rows() == [(1, "x"), (2, "x")]
        assert said["dagster/partition_row_count"] == 1
        assert said["dagster/row_count"] == 2

    def test_a_function_reads_any_table(self, lake: Lake) -> None:
        @delta_table()
        def table() -> pl.DataFrame:
            return ROWS

        seen: list[int] = []

        @dg.asset(deps=[table])
        def reader(tables: DeltaTables) -> None:
            seen.append(tables.read("table", columns=["n"]).filter(pl.col("n") > 1).collect().height)
            seen.append(tables.read(table, version=0).collect().height)
            seen.append(tables.read(dg.AssetKey("table")).collect().width)

        lake.run([table, reader])
        assert seen == [2, 3, 2]

    def test_of_several_assets_one_is_named(self, lake: Lake) -> None:
        @dg.multi_asset(specs=[dg.AssetSpec("a"), dg.AssetSpec("b", metadata={"write": "append"})])
        def both(context: dg.AssetExecutionContext, tables: DeltaTables):  # type: ignore[no-untyped-def]
            yield tables.write(context, ROWS, asset=dg.AssetKey("a"))
            yield tables.write(context, ROWS, asset=dg.AssetKey("b"))

        for _ in range(2):
            lake.run([both])
        assert (lake.rows("a").height, lake.rows("b").height) == (3, 6)

    def test_of_several_assets_none_is_guessed(self, lake: Lake) -> None:
        @dg.multi_asset(specs=[dg.AssetSpec("a"), dg.AssetSpec("b")])
        def both(context: dg.AssetExecutionContext, tables: DeltaTables):  # type: ignore[no-untyped-def]
            yield tables.write(context, ROWS)

        with pytest.raises(StepFailedError, match=r"makes the assets `a`, `b`. Say which one"):
            lake.run([both])


def test_an_output_that_is_no_asset_is_refused(lake: Lake) -> None:
    @dg.op
    def number():  # type: ignore[no-untyped-def]
        return ROWS

    @dg.job(resource_defs={"io_manager": DeltaIOManager(lake=lake.connector)})
    def plain() -> None:
        number()

    result = plain.execute_in_process(raise_on_error=False)
    assert any("is no asset" in message for message in errors(result))


def test_a_notebook_loads_an_asset_by_its_definitions(lake: Lake) -> None:
    definition = dg.StaticPartitionsDefinition(["1", "2"])

    @delta_table(partitions_def=definition, partition_by="p")
    def table(context) -> pl.DataFrame:  # type: ignore[no-untyped-def]
        return pl.DataFrame({"p": [int(context.partition_key)], "v": ["x"]})

    for key in definition.get_partition_keys():
        lake.run([table], partition=key)
    defs = dg.Definitions(assets=[table], resources={"io_manager": DeltaIOManager(lake=lake.connector)})
    whole = defs.load_asset_value("table", python_type=pl.DataFrame, instance=lake.instance)
    one = defs.load_asset_value("table", python_type=pl.DataFrame, instance=lake.instance, partition_key="2")
    assert (whole.height, one.rows()) == (2, [(2, "x")])
