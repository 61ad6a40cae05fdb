from __future__ import annotations

from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from fuse_dagster.core.errors import ConfigError, InputError
from fuse_dagster.engines.local.frames import from_polars, to_polars

ROWS = pl.DataFrame({"n": [1, 2, 3], "s": ["x", None, "z"]})


def relation(sql: str) -> duckdb.DuckDBPyRelation:
    return duckdb.connect().sql(sql)


def as_every_type() -> dict[str, object]:
    return {
        "DataFrame": ROWS,
        "LazyFrame": ROWS.lazy(),
        "pandas": ROWS.to_pandas(),
        "Table": ROWS.to_arrow(),
        "RecordBatch": ROWS.to_arrow().to_batches()[0],
        "RecordBatchReader": ROWS.to_arrow().to_reader(),
        "relation": relation("SELECT * FROM (VALUES (1::BIGINT, 'x'), (2, NULL), (3, 'z')) AS t(n, s)"),
    }


@pytest.mark.parametrize("kind", list(as_every_type()))
def test_every_accepted_type_becomes_the_same_polars_frame(kind: str) -> None:
    assert to_polars(as_every_type()[kind]).equals(ROWS)


@pytest.mark.parametrize("kind", list(as_every_type()))
def test_every_accepted_type_is_an_annotation_that_gives_the_same_rows(kind: str) -> None:
    wanted = type(as_every_type()[kind])
    given = from_polars(ROWS.lazy(), wanted)
    assert isinstance(given, wanted)
    assert to_polars(given).equals(ROWS)


@pytest.mark.parametrize("wanted", [pa.Table, pa.RecordBatch, pa.RecordBatchReader])
@pytest.mark.parametrize("frame", [ROWS.clear(), pl.concat([ROWS, ROWS], rechunk=False)], ids=["no rows", "chunks"])
def test_arrow_keeps_columns_without_rows_and_rows_in_chunks(wanted: type, frame: pl.DataFrame) -> None:
    assert to_polars(from_polars(frame.lazy(), wanted)).equals(frame)


@pytest.mark.parametrize("wanted", [None, Any, object, pl.LazyFrame | None])
def test_without_a_frame_type_an_input_stays_lazy(wanted: object) -> None:
    assert isinstance(from_polars(ROWS.lazy(), wanted), pl.LazyFrame)


def test_an_annotation_that_is_no_frame_is_an_error_that_lists_the_frames() -> None:
    with pytest.raises(ConfigError, match=r"`int`.*polars DataFrame or LazyFrame"):
        from_polars(ROWS.lazy(), int)


def test_an_empty_reader_keeps_its_columns() -> None:
    reader = pa.RecordBatchReader.from_batches(pa.schema([("a", pa.int64())]), [])
    assert to_polars(reader).schema == {"a": pl.Int64}


def test_a_reader_is_consumed_once() -> None:
    reader = ROWS.to_arrow().to_reader()
    assert to_polars(reader).height == 3
    with pytest.raises(StopIteration):
        reader.read_next_batch()


def test_sums_over_integers_in_duckdb_stay_integers() -> None:
    total = to_polars(relation("SELECT sum(i) AS total, 'a' AS s FROM range(3) AS t(i)"))
    assert total.schema == {"total": pl.Int64, "s": pl.String}
    assert total["total"].item() == 3


def test_a_sum_beyond_64_bits_is_an_error_not_a_wrong_number() -> None:
    with pytest.raises(InputError, match="out of range"):
        to_polars(relation("SELECT sum(9223372036854775807) AS total FROM range(3)"))


def test_a_named_pandas_index_becomes_a_column_and_an_unnamed_one_is_dropped() -> None:
    frame = pd.DataFrame({"a": [1, 2]}, index=[7, 8])
    assert to_polars(frame).columns == ["a"]
    assert to_polars(frame.rename_axis("id")).columns == ["id", "a"]


def test_a_pandas_column_of_mixed_types_is_refused() -> None:
    with pytest.raises(InputError, match="pandas frame can't be read"):
        to_polars(pd.DataFrame({"a": ["x", 1]}))


@pytest.mark.parametrize("data", [None, [{"a": 1}], {"a": [1]}, "path", ROWS["n"]])
def test_what_is_no_frame_is_refused_by_its_type(data: object) -> None:
    with pytest.raises(InputError, match="A frame is expected, not"):
        to_polars(data)
