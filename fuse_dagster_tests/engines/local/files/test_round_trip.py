"""What is written in a format is read back equal, with its types; or it is refused."""

from __future__ import annotations

import io
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from fuse_dagster.engines.local.files import Format, file_options, scan_files, write_rows
from fuse_dagster.engines.local.files.types import type_of, type_text
from fuse_dagster_tests.engines.local.files.frames import COLUMNS, HELD, frames

LAYOUTS = [
    ("parquet", {}),
    ("parquet", {"compression": "snappy"}),
    ("csv", {}),
    ("csv", {"separator": ";", "null": "NONE", "compression": "gzip"}),
    ("csv", {"header": False, "encoding": "utf-16"}),
    ("csv", {"separator": "\t", "compression": "zstd"}),
    ("json", {}),
    ("json", {"compression": "gzip"}),
    ("ndjson", {}),
    ("ndjson", {"compression": "zstd"}),
    ("excel", {}),
    ("excel", {"sheet": "Zahlen 2"}),
    ("avro", {}),
    ("avro", {"compression": "none"}),
]

# Whether these are refused tells no type: their values do.
BY_VALUE = {"number", "clock", "long", "huge", "day", "excel_day", "wall", "wall_ms", "excel_wall"}


def written(frame: object, layout: str, options: dict[str, object], path: Path) -> Path:
    chosen = file_options(layout, options)
    place = path / f"a{chosen.ending}"
    with place.open("wb") as file:
        write_rows(frame, file, chosen)
    return place


@pytest.mark.parametrize(("layout", "options"), LAYOUTS, ids=str)
@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_value_comes_back(layout: str, options: dict[str, object], data: st.DataObject) -> None:
    frame = data.draw(frames(HELD[layout]))
    with TemporaryDirectory() as folder:
        place = written(frame, layout, options, Path(folder))
        chosen = file_options(layout, options)
        read = scan_files(str(place), Format(layout), options=chosen, types=frame.schema).collect()
    assert_frame_equal(read, frame, check_exact=True)
    for name in frame.columns:  # which that function does not tell from 0.0
        if frame.schema[name].is_float():
            assert read[name].to_list().__repr__() == frame[name].to_list().__repr__()


@pytest.mark.parametrize("layout", HELD)
def test_what_is_not_held_is_refused_or_read_back(layout: str, tmp_path: Path) -> None:
    """The list of what a format holds is no shorter than what it does hold."""
    for name, (dtype, _) in COLUMNS.items():
        if name in HELD[layout] or name in BY_VALUE:
            continue
        frame = pl.DataFrame({"n": [1, 2], "x": pl.Series([None, None], dtype=dtype)})
        sink = io.BytesIO()
        with pytest.raises(ValueError, match=r"`x` is .*\. "):
            write_rows(frame, sink, file_options(layout))
        assert not sink.getvalue()


@given(st.sampled_from(sorted(COLUMNS)))
def test_a_type_as_text_is_the_type(name: str) -> None:
    dtype = COLUMNS[name][0]
    assert type_of(type_text(dtype)) == dtype
