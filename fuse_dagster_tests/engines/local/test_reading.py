from __future__ import annotations

import base64
import json
import struct
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from fuse_dagster.core.errors import ConfigError, TableNotFoundError, TableStateError
from fuse_dagster.engines.local.reading import scan, to_moment
from fuse_dagster.tables import Append, write


@pytest.fixture
def table(tmp_path: Path) -> str:
    """Three versions: one row, then a second with a new column, then a third."""
    uri = str(tmp_path / "t")
    write_deltalake(uri, pl.DataFrame({"a": [1]}))
    write_deltalake(uri, pl.DataFrame({"a": [2], "b": ["x"]}), mode="append", schema_mode="merge")
    write_deltalake(uri, pl.DataFrame({"a": [3], "b": ["y"]}), mode="append")
    return uri


def log_of(table: str, version: int) -> Path:
    return Path(table) / "_delta_log" / f"{version:020}.json"


def test_files_older_than_a_column_read_as_null_in_it(table: str) -> None:
    assert scan(table).sort("a").collect().rows() == [(1, None), (2, "x"), (3, "y")]
    assert scan(table, where=pl.col("b").is_null()).collect().rows() == [(1, None)]
    assert scan(table, columns=["b"], where=pl.col("a") < 3).collect().height == 2


def test_columns_come_in_the_order_asked_for(table: str) -> None:
    assert scan(table, columns=["b", "a"]).collect_schema().names() == ["b", "a"]


def test_filters_and_columns_reach_the_files(table: str) -> None:
    plan = scan(table, where=pl.col("a") > 2).select("a").explain()
    assert "PROJECT 1/2" in plan
    assert 'SELECTION: col("a")' in plan


def test_a_lazy_frame_keeps_the_version_it_was_made_at(table: str) -> None:
    frame = scan(table)
    write_deltalake(table, pl.DataFrame({"a": [9], "b": ["z"]}), mode="append")
    assert frame.collect().height == 3


def test_a_version_is_read_as_it_was(table: str) -> None:
    assert scan(table, version=0).collect().to_dict(as_series=False) == {"a": [1]}


def test_a_time_is_read_as_it_was(table: str) -> None:
    first = next(entry for entry in DeltaTable(table).history() if entry["version"] == 0)
    moment = datetime.fromtimestamp(first["timestamp"] / 1000, tz=UTC)
    assert scan(table, timestamp=moment).collect().height == 1
    assert scan(table, timestamp=moment.isoformat()).collect().height == 1
    assert scan(table, timestamp=moment + timedelta(days=1)).collect().height == 3


def test_a_time_before_the_first_commit_names_the_oldest_version(table: str) -> None:
    with pytest.raises(TableStateError, match="oldest version left is `0`"):
        scan(table, timestamp=date(2000, 1, 1))


def test_a_version_without_files_names_the_oldest_left(tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    for n in range(5):
        write_deltalake(uri, pl.DataFrame({"a": [n]}), mode="overwrite")
    for version in (0, 1):
        for file in DeltaTable(uri, version=version).file_uris():
            Path(file).unlink()
    with pytest.raises(TableStateError, match=r"Version `1` .* expired.* oldest version left is `2`"):
        scan(uri, version=1)
    assert scan(uri, version=2).collect().item() == 2


def test_a_version_without_log_names_the_oldest_left(table: str) -> None:
    DeltaTable(table).create_checkpoint()
    for version in (0, 1):
        log_of(table, version).unlink()
    with pytest.raises(TableStateError, match=r"Version `0` .* expired.* oldest version left is `2`"):
        scan(table, version=0)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"version": 7}, "no version `7`. Its newest is `2`"),
        ({"version": -1}, "no version `-1`"),
        ({"version": 1, "timestamp": "2024-01-01"}, "not both"),
        ({"timestamp": "yesterday"}, "`yesterday` is no ISO date"),
        ({"timestamp": datetime(2024, 1, 1)}, "no time zone"),  # noqa: DTZ001 - the point
        ({"columns": ["aa"]}, "no column `aa`. Did you mean `a`"),
    ],
)
def test_an_option_that_cannot_work_is_an_error(table: str, options: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        scan(table, **options)  # type: ignore[arg-type]


def test_no_table_is_told_from_a_table_that_does_not_open(table: str, tmp_path: Path) -> None:
    with pytest.raises(TableNotFoundError, match="no Delta table"):
        scan(tmp_path / "absent")
    with pytest.raises(TableNotFoundError, match="no Delta table"):
        scan(tmp_path)
    log_of(table, 0).unlink()
    with pytest.raises(TableStateError, match="can't be opened"):
        scan(table)
    for version in (1, 2):
        log_of(table, version).unlink()
    with pytest.raises(TableStateError, match="can't be opened"):
        scan(table)


def test_a_reader_feature_that_nobody_here_knows_is_an_error(table: str) -> None:
    entries = [json.loads(line) for line in log_of(table, 0).read_text().splitlines()]
    for entry in entries:
        if "protocol" in entry:
            entry["protocol"] = {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": ["fromTheFuture"],
                "writerFeatures": ["fromTheFuture"],
            }
    log_of(table, 0).write_text("\n".join(json.dumps(entry) for entry in entries))
    with pytest.raises(TableStateError, match="fromTheFuture"):
        scan(table)


def deletion_vector(positions: list[int]) -> dict[str, object]:
    """An inline deletion vector over rows 0..65535, written by hand from the Delta protocol's description."""
    container = struct.pack("<IIHHI", 12346, 1, 0, len(positions) - 1, 16)
    container += b"".join(struct.pack("<H", position) for position in positions)
    raw = struct.pack("<IqI", 1681511377, 1, 0) + container
    python = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
    z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    text = base64.b85encode(raw + bytes(-len(raw) % 4)).decode().translate(str.maketrans(python, z85))
    return {
        "storageType": "i",
        "pathOrInlineDv": text,
        "sizeInBytes": len(raw),
        "cardinality": len(positions),
    }


def test_rows_under_a_deletion_vector_are_left_out(tmp_path: Path) -> None:
    uri = str(tmp_path / "t")
    write_deltalake(uri, pl.DataFrame({"a": [0, 1, 2, 3, 4]}), configuration={"delta.enableDeletionVectors": "true"})
    entries = [json.loads(line) for line in log_of(uri, 0).read_text().splitlines()]
    add = next(entry["add"] for entry in entries if "add" in entry)
    remove = {"path": add["path"], "deletionTimestamp": 0, "dataChange": True, "partitionValues": {}}
    actions = [{"remove": remove}, {"add": {**add, "deletionVector": deletion_vector([1, 3])}}]
    log_of(uri, 1).write_text("\n".join(json.dumps(action) for action in actions))
    assert scan(uri).collect()["a"].to_list() == [0, 2, 4]
    assert scan(uri, where=pl.col("a") > 1).collect()["a"].to_list() == [2, 4]
    assert scan(uri).select(pl.len()).collect().item() == 3


def test_odd_strings_as_physical_partitions_come_back_as_they_were(tmp_path: Path) -> None:
    odd = ["a/b", "k=v", "it's", "ü ✓", "100%", "%2F", "a+b", "", 'q"x', "..", "back\\slash"]
    frame = pl.DataFrame({"p": odd, "n": list(range(len(odd)))})
    write_deltalake(str(tmp_path / "t"), frame, partition_by=["p"])
    assert scan(tmp_path / "t").sort("n").collect().equals(frame)
    for value in odd:
        assert scan(tmp_path / "t", where=pl.col("p") == value).collect()["p"].to_list() == [value]


def test_moments_are_utc() -> None:
    assert to_moment("2024-01-31") == datetime(2024, 1, 31, tzinfo=UTC)
    assert to_moment(date(2024, 1, 31)) == datetime(2024, 1, 31, tzinfo=UTC)
    assert to_moment("2024-01-31T12:00:00+02:00") == datetime(2024, 1, 31, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("dbfs:/Volumes/main/raw/landing/t", "`stand_in` folder"),
        ("dbfs:///t", "`stand_in` folder"),
        ("s3:/lake/t", "an address with `://`"),
        ("file:/data/t", "Give a path of this machine"),
    ],
)
def test_an_address_of_spark_s_is_no_folder_of_this_machine(
    address: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    acts = (lambda: scan(address), lambda: write(address, pl.DataFrame({"a": [1]}), Append()))
    for act in acts:
        with pytest.raises(ConfigError, match=f"only Spark opens .*{advice}"):
            act()
    assert not list(tmp_path.iterdir())


def test_a_colon_in_a_path_is_none(tmp_path: Path) -> None:
    table = str(tmp_path / "a:b" / "t")
    write(table, pl.DataFrame({"a": [1]}), Append())
    assert scan(table).collect().rows() == [(1,)]
