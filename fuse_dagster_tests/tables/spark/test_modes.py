"""Append, overwrite and null keys mean the same on Spark as on one machine: same rows, same counts, same errors."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from deltalake import DeltaTable

from fuse_dagster.core.errors import FuseError, PartitionError, SchemaError
from fuse_dagster.engines.spark.frames import to_spark
from fuse_dagster.tables import Append, History, Overwrite, Slice, Upsert, WriteResult, write
from fuse_dagster.tables.slices import Equals, Window
from fuse_dagster.testing import assert_frames_equal

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from fuse_dagster.tables import WriteMode

pytestmark = [pytest.mark.spark, pytest.mark.slow]

UTC = dt.UTC
ODD = 'it\'s \\ ${x} "ö" `'


def local(*parts: int) -> dt.datetime:
    """A time of 2024 on the wall, without a zone."""
    return dt.datetime(2024, *parts, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[arg-type, misc]


def rows(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame(columns)


def counts(result: WriteResult) -> WriteResult:
    """What both engines must agree in."""
    return replace(result, seconds=0, files_added=0, bytes_added=0)


def both(tmp_path: Path, spark: SparkSession, steps: list[tuple[pl.DataFrame, WriteMode]]) -> list[WriteResult]:
    """Write the same batches with both engines, and see that both make, say and refuse the same."""
    said = []
    for batch, mode in steps:
        outcomes = []
        for name, session in (("local", None), ("spark", spark)):
            data = batch if session is None else to_spark(session, batch)
            try:
                outcomes.append(counts(write(tmp_path / name, data, mode, spark=session)))
            except FuseError as error:
                message = str(error).replace(str(tmp_path / name), "TABLE")
                # Types are compared before any row has come here from Spark.
                outcomes.append((type(error), re.sub(r" \(values such as .*?\)\)", "", message)))  # type: ignore[arg-type]
        local, on_spark = outcomes
        assert on_spark == local
        if (tmp_path / "local").exists():
            frames = [pl.read_delta(str(tmp_path / name)) for name in ("local", "spark")]
            assert_frames_equal(frames[1], frames[0])
        said.append(local)
    return said


def test_append(tmp_path: Path, spark: SparkSession) -> None:
    first = rows(day=["a", "b"], n=[1, None])
    said = both(
        tmp_path,
        spark,
        [
            (first, Append(partition_by=["day"])),
            (first, Append()),
            (rows(n=pl.Series([3], dtype=pl.Int32), day=["c"], at=[local(1, 1).replace(tzinfo=UTC)]), Append()),
            (rows(day=["d"], other=[1]), Append(schema="strict")),
            (rows(day=["d"], n=["text"]), Append()),
            (rows(day=["__HIVE_DEFAULT_PARTITION__"], n=[1]), Append()),
            (first.clear(), Append()),
            (rows(day=["e"], n=pl.Series([None], dtype=pl.Null)), Append()),
        ],
    )
    assert [isinstance(result, WriteResult) for result in said] == [True, True, True, False, False, False, True, True]
    assert DeltaTable(tmp_path / "spark").metadata().partition_columns == ["day"]


def test_a_batch_is_known_by_its_name_to_both_engines(tmp_path: Path, spark: SparkSession) -> None:
    batch = rows(n=[1, 2])
    table = tmp_path / "table"
    for number, (session, name) in enumerate([(spark, "a"), (None, "b"), (spark, "b"), (None, "a")]):
        result = write(table, batch, Append(once="batch", batch_id=name), spark=session)
        assert (result.version is not None) == (number < 2)
        assert (result.inserted, result.unchanged) == ((2, 0) if number < 2 else (0, 2))
    write(table, batch.clear(), Append(once="batch", batch_id="late"), spark=spark)
    assert write(table, batch, Append(once="batch", batch_id="late"), spark=spark).inserted == 2


def test_a_row_is_known_by_its_key(tmp_path: Path, spark: SparkSession) -> None:
    once = Append(once=["k", "day"])
    day = dt.date(2024, 1, 1)
    said = both(
        tmp_path,
        spark,
        [
            (rows(k=[1, 2, 2], day=[day] * 3, v=[1.0, 2.0, 2.0]), once),
            (rows(k=pl.Series([2, 3], dtype=pl.Int16), day=[day] * 2, v=[9.0, 3.0]), once),
            (rows(k=[3, 4], day=[day] * 2, v=[9.0, 4.0], new=["x", "y"]), once),
            (rows(k=[3], day=[day], v=[9.0]), once),
            (rows(k=[5, None], day=[day] * 2, v=[1.0, 2.0]), once),
            (rows(k=[5, 5], day=[day] * 2, v=[1.0, 2.0]), once),
        ],
    )
    assert [result.inserted for result in said[:4]] == [2, 1, 1, 0]
    log = sorted((tmp_path / "spark" / "_delta_log").glob("*.json"))[1].read_text()
    assert '"isBlindAppend":false' in log, "Delta must check such an append against others"


def test_overwriting_a_whole_table(tmp_path: Path, spark: SparkSession) -> None:
    nan, mode = float("nan"), Overwrite()
    said = both(
        tmp_path,
        spark,
        [
            (rows(p=["a", "a", "b", None], x=[nan, -0.0, 1.0, None], l=[[0.0], [nan], None, []]), mode),
            (rows(p=["b", None, "a", "a"], x=[1.0, None, 0.0, nan], l=[None, [], [nan], [-0.0]]), mode),
            (rows(p=["b", None, "a", "a"], x=[1.0, None, 0.0, 0.0], l=[None, [], [nan], [-0.0]]), mode),
            (rows(p=["b", None], x=[1, None]), mode),
            (rows(x=["text"], s=[{"a": 1}]), Overwrite(schema="strict")),
            (rows(x=["text"], s=[{"a": 1}]), mode),
            (rows(x=["text"], s=[{"a": 1}]).clear(), mode),
        ],
    )
    assert [result.version is not None for result in said if isinstance(result, WriteResult)] == [
        True, False, True, True, True, True,
    ]  # fmt: skip


SLICES = {
    "i": ([1, 2], Slice.equals("i", 1, -(2**63))),
    "b": ([True, False], Slice.equals("b", True)),
    "odd`name": ([ODD, ""], Slice.equals("odd`name", ODD, "a'b")),
    "d": ([dt.date(2024, 1, 1), dt.date(2023, 12, 31)], Slice.window("d", dt.date(2024, 1, 1), dt.date(2024, 2, 1))),
    "t": (
        [local(3, 31, 2, 30, 0, 1), local(3, 31, 3)],
        Slice.window("t", local(3, 31, 2, 30, 0, 1), local(3, 31, 3)),
    ),
    "z": (
        [local(3, 31, 0, 30).replace(tzinfo=UTC), local(3, 31, 1).replace(tzinfo=UTC)],
        Slice.window("z", local(3, 31).replace(tzinfo=UTC), local(3, 31, 1).replace(tzinfo=UTC)),
    ),
}


def test_overwriting_a_slice(tmp_path: Path, spark: SparkSession) -> None:
    # Another zone than that of the session's default: no value of a slice may depend on it.
    spark = spark.newSession()
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    table = pl.DataFrame({column: [*values, None] for column, (values, _) in SLICES.items()})
    steps: list[tuple[pl.DataFrame, WriteMode]] = [(table.with_columns(n=1), Overwrite())]
    for number, (_, where) in enumerate(SLICES.values()):
        mine = table[:1].with_columns(pl.lit("x").alias(f"new{number}"))
        steps.append((mine, Overwrite(where=where)))
    last = Overwrite(where=SLICES["z"][1])
    said = both(tmp_path, spark, [*steps, steps[-1], (table, last), (table.clear(), last)])
    assert [(done.deleted, done.inserted, done.rows_total) for done in said[1:7]] == [(1, 1, 3)] * 6
    assert said[7].version is None
    assert said[8][0] is PartitionError  # type: ignore[index]
    assert said[9].rows_total == 2


def test_a_slice_of_a_table_that_is_laid_out_by_it(tmp_path: Path, spark: SparkSession) -> None:
    day = dt.date(2024, 1, 1)
    where = Slice(((Equals("p", (ODD,)), Window("d", day, dt.date(2024, 1, 2))),))
    mode = Overwrite(where=where, partition_by=["p", "d"])
    first, second = rows(p=[ODD], d=[day], n=[1]), rows(p=[ODD] * 2, d=[day] * 2, n=[2, 2])
    other = rows(p=["other"], d=[day], n=[7])
    both(tmp_path, spark, [(first, mode), (other, Append()), (second, mode), (second, mode)])
    assert DeltaTable(tmp_path / "spark").metadata().partition_columns == ["p", "d"]


def test_replacing_by_keys(tmp_path: Path, spark: SparkSession) -> None:
    mode = Overwrite(replace_keys=["order"])
    said = both(
        tmp_path,
        spark,
        [
            (rows(order=[1, 1, 2], line=["a", "b", None]), mode),
            (rows(order=[1, 1], line=["b", "a"]), mode),
            (rows(order=[1, 3], line=["c", None]), mode),
            (rows(order=pl.Series([3], dtype=pl.Int8), extra=[0.5]), mode),
            (rows(order=[1, None], line=["c", "d"]), mode),
            (rows(order=[1.5], line=["c"]), mode),
            (rows(order=[1], line=["c"]).clear(), mode),
        ],
    )
    assert [result.deleted for result in said[:4]] == [0, 0, 2, 1]
    assert said[1].version is None


def test_replacing_by_a_predicate(tmp_path: Path, spark: SparkSession) -> None:
    mode = Overwrite(predicate="region = 'EU' OR (region IS NULL AND n > 1)")
    said = both(
        tmp_path,
        spark,
        [
            (
                rows(region=["EU", "EU", "US", None, None], n=[1, 1, 2, 3, None], v=[1.0, 1.0, None, 2.0, 3.0]),
                Overwrite(),
            ),
            (rows(region=["EU", None], n=[5, 2], v=[1.0, 1.0]), mode),
            (rows(region=[None, "EU"], n=[2, 5], v=[1.0, 1.0]), mode),
            (rows(region=["EU", "US"], n=[5, 2], v=[1.0, 1.0]), mode),
            (rows(region=["EU"], n=[5], more=["m"]), mode),
            (rows(region=["EU"], n=[5]), Overwrite(predicate="regoin = 'EU'")),
            (rows(region=["EU"], n=[5]), Overwrite(predicate="CAST(region AS INT) = 1")),
        ],
    )
    assert (said[1].deleted, said[1].inserted) == (3, 2)
    assert said[2].version is None
    assert [isinstance(result, WriteResult) for result in said[3:]] == [False, True, False, False]


def test_rows_without_a_key_are_handed_over_before_the_commit(tmp_path: Path, spark: SparkSession) -> None:
    handed: list[pl.DataFrame] = []
    batch = rows(k=[1, None, 2], v=["a", "b", "c"])
    mode = History(keys=["k"], effective_at=dt.datetime(2024, 1, 1, tzinfo=UTC), null_keys="reject")
    dropping = replace(mode, null_keys="drop", allow_empty=True)
    both(tmp_path, spark, [(batch, mode), (batch, dropping), (batch[1:2], dropping), (batch, mode)])

    def refuse(_: pl.DataFrame) -> None:
        raise RuntimeError

    table = tmp_path / "table"
    with pytest.raises(RuntimeError):
        write(table, batch, mode, spark=spark, on_rejected=refuse)
    assert not DeltaTable.is_deltatable(str(table))
    result = write(table, batch, mode, spark=spark, on_rejected=handed.append)
    assert (result.rows_in, result.inserted, result.rejected) == (3, 2, 1)
    assert handed[0].to_dicts() == [{"k": None, "v": "b", "_rejection_reasons": ["null_key"]}]


@pytest.mark.parametrize(
    "mode",
    [Append(once=["k"]), Overwrite(replace_keys=["k"]), Upsert(keys=["k"])],
    ids=["append", "overwrite", "upsert"],
)
def test_every_mode_hands_the_same_rows_over(
    mode: Append | Overwrite | Upsert, tmp_path: Path, spark: SparkSession
) -> None:
    handed: dict[str, list[pl.DataFrame]] = {"local": [], "spark": []}
    batch = rows(k=[1, None, 2], v=["a", "b", "c"])
    rejecting = replace(mode, null_keys="reject")
    for name, session in (("local", None), ("spark", spark)):
        for part in (batch[1:2], batch, batch):
            result = write(tmp_path / name, part, rejecting, spark=session, on_rejected=handed[name].append)
            assert result.rejected == 1
            assert (result.version is not None) == (len(handed[name]) == 2)
    assert len(handed["spark"]) == 3
    for found, expected in zip(handed["spark"], handed["local"], strict=True):
        assert_frames_equal(found, expected)

    def refuse(_: pl.DataFrame) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write(tmp_path / "spark", batch.with_columns(k=pl.col("k") + 5), rejecting, spark=spark, on_rejected=refuse)
    assert DeltaTable(tmp_path / "spark").version() == 0


def test_masked_values_stay_out_of_errors(tmp_path: Path, spark: SparkSession) -> None:
    batch = to_spark(spark, rows(day=[1, 2], secret=["s1", "s2"]))
    with pytest.raises(PartitionError) as raised:
        write(tmp_path / "t", batch, Overwrite(where=Slice.equals("day", 1)), masked=["secret"], spark=spark)
    assert "secret=***" in str(raised.value)


def test_the_first_times_without_a_zone_are_refused_with_what_to_do(tmp_path: Path, spark: SparkSession) -> None:
    table = tmp_path / "t"
    write(table, rows(n=[1]), Append(), spark=spark)
    at = rows(n=[2], at=[local(1, 1)])
    with pytest.raises(SchemaError, match=r"columns \['at'\] hold times without a zone.*ALTER TABLE") as raised:
        write(table, at, Append(), spark=spark)
    spark.sql(str(raised.value)[str(raised.value).index("ALTER TABLE") :])
    assert write(table, at, Append(), spark=spark).rows_total == 2
