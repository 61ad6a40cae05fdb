from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from qdrant_client import models

from fuse_dagster import Qdrant
from fuse_dagster.connectors.base import CanAnswer, CanListNames, CanReadRows
from fuse_dagster.connectors.vectors import Collection, Sparse, Vector
from fuse_dagster.connectors.vectors.checking import rows_of
from fuse_dagster.connectors.vectors.collections import path
from fuse_dagster.connectors.vectors.points import NAMESPACE, ids_of
from fuse_dagster.core.errors import (
    ConfigError,
    CredentialsError,
    InputError,
    KeyValueError,
    NotThereError,
    PartitionError,
    SchemaError,
    StoreError,
    StoreUnavailableError,
)
from fuse_dagster.testing.connectors import ConnectorContract
from fuse_dagster_tests.servers.certificate import certificate
from fuse_dagster_tests.servers.faults import Fault
from fuse_dagster_tests.servers.proxy import FaultyProxy
from fuse_dagster_tests.servers.qdrant import KEY, QdrantServer, qdrant_server

SIZE = 3


@pytest.fixture(scope="module")
def started() -> Iterator[QdrantServer]:
    with qdrant_server() as server:
        yield server


@pytest.fixture
def fake(started: QdrantServer) -> QdrantServer:
    started.reset()
    return started


@pytest.fixture(params=["memory", "folder", "server"])
def qdrant(request: pytest.FixtureRequest, tmp_path: Path) -> Qdrant:
    if request.param == "server":
        fake: QdrantServer = request.getfixturevalue("fake")
        return Qdrant(url=fake.url, api_key=KEY, allow_http=True, retry_timeout=20, timeout=10)
    return Qdrant(path=f":memory:{uuid.uuid4()}" if request.param == "memory" else str(tmp_path / "vectors"))


@pytest.fixture
def served(fake: QdrantServer) -> Qdrant:
    return Qdrant(url=fake.url, api_key=KEY, allow_http=True, retry_timeout=20, timeout=10)


def airports(*names: str, **columns: Any) -> pl.DataFrame:
    """A vector of its place for each name."""
    numbers = [[float(at + 1), 1.0, 0.0] for at in range(len(names))]
    frame = pl.DataFrame({"icao": list(names), "embedding": numbers}, schema_overrides={"icao": pl.String})
    return frame.with_columns(pl.col("embedding").cast(pl.Array(pl.Float32, SIZE)), **columns)


def held(qdrant: Qdrant, name: str, **options: Any) -> pl.DataFrame:
    with qdrant.rows(name, **options) as reader:
        return pl.DataFrame(reader.read_all())


def keys_in(qdrant: Qdrant, name: str) -> list[str]:
    return sorted(held(qdrant, name, columns=["icao"])["icao"].to_list())


DOT = Collection(vectors={"embedding": Vector(size=SIZE, distance="dot")})
EVERY_TYPE = pl.DataFrame(
    {
        "key": [1, 2],
        "embedding": [[0.1, 0.2, 0.3], [1.5, -2.5, 3e38]],
        "words": [{"indices": [7, 4_294_967_295], "values": [0.5, 0.1]}, {"indices": [], "values": []}],
        "parts": [[[1.0, 2.0]], [[3.0, 4.0], [5.0, 6.0]]],
        "flag": [True, None],
        "small": [-128, 127],
        "large": [-(2**63), 2**63 - 1],
        "unsigned": [0, 2**63 - 1],
        "single": [0.1, None],
        "double": [0.1, 1e308],
        "text": ["naïve ☃ \" ' \\ {}", None],
        "day": [dt.date(1970, 1, 1), dt.date(2024, 2, 29)],
        "moment": [dt.datetime(2024, 3, 31, 0, 59, 59, 999_999, tzinfo=dt.UTC), None],
        "wall": [dt.datetime.fromisoformat(at) for at in ("2024-03-31T02:30:00", "1000-01-01T00:00:00")],
        "tags": [["a", None], []],
        "facts": [{"a": 1, "b": {"c": [1.5]}}, {"a": None, "b": None}],
        "nothing": [None, None],
    },
    schema_overrides={
        "embedding": pl.Array(pl.Float32, SIZE),
        "words": pl.Struct({"indices": pl.List(pl.UInt32), "values": pl.List(pl.Float32)}),
        "parts": pl.List(pl.Array(pl.Float32, 2)),
        "small": pl.Int8,
        "unsigned": pl.UInt64,
        "single": pl.Float32,
        "moment": pl.Datetime("ms", "Europe/Vienna"),
        "wall": pl.Datetime("us"),
        "nothing": pl.String,
    },
)
EVERY_VECTOR = Collection(
    vectors={
        "embedding": Vector(size=SIZE, distance="euclid"),
        "words": Sparse(),
        "parts": Vector(size=2, distance="dot", multi=True),
    }
)


class TestQdrant(ConnectorContract):
    @pytest.fixture
    def connector(self) -> Qdrant:
        return Qdrant(url="https://qdrant.example.com:6333", api_key="canary-of-the-key")


class TestReading:
    def test_it_answers_lists_and_reads(self, qdrant: Qdrant) -> None:
        assert isinstance(qdrant, CanAnswer)
        assert isinstance(qdrant, CanListNames)
        assert isinstance(qdrant, CanReadRows)
        assert qdrant.answer().startswith("Qdrant")
        qdrant.create("plain", DOT)
        qdrant.write_points("airports", airports("EDDF"), keys=["icao"])
        assert list(qdrant.names()) == ["airports", "plain"], "not the collection behind the alias"
        assert list(qdrant.names("air*")) == ["airports"]
        assert held(qdrant, "plain").schema == {"point_id": pl.String, "embedding": pl.Array(pl.Float32, SIZE)}

    def test_every_type_is_read_as_it_was_written(self, qdrant: Qdrant) -> None:
        qdrant.write_points("types", EVERY_TYPE, keys=["key"], collection=EVERY_VECTOR)
        found = held(qdrant, "types")
        assert found["point_id"].to_list() == ["1", "2"]
        assert found.drop("point_id").equals(EVERY_TYPE, null_equal=True)
        assert found.drop("point_id").schema == EVERY_TYPE.schema

    def test_pages_lose_nothing_and_a_limit_holds(self, qdrant: Qdrant) -> None:
        rows = pl.DataFrame({"key": range(2500)}).with_columns(
            embedding=pl.concat_list(pl.col("key").cast(pl.Float32), pl.lit(1.0)).list.to_array(2)
        )
        done = qdrant.write_points("many", rows, keys=["key"])
        assert (done.rows, done.added, done.points, done.batches) == (2500, 2500, 2500, 3)
        assert held(qdrant, "many", columns=["key"])["key"].to_list() == list(range(2500))
        assert held(qdrant, "many", columns=["key"], limit=1001).height == 1001
        assert held(qdrant, "many", limit=0).height == 0

    def test_columns_come_in_the_order_asked_for(self, qdrant: Qdrant) -> None:
        qdrant.write_points("a", airports("EDDF", height=pl.lit(5)), keys=["icao"])
        assert held(qdrant, "a", columns=["height", "embedding", "icao"]).columns == ["height", "embedding", "icao"]
        with (
            pytest.raises(ConfigError, match=r"has no column `heigth`. Did you mean `height`\?"),
            qdrant.rows("a", columns=["heigth"]),
        ):
            pass

    def test_an_absent_collection_names_those_that_are_there(self, qdrant: Qdrant) -> None:
        qdrant.write_points("airports", airports("EDDF"), keys=["icao"])
        with pytest.raises(
            NotThereError, match=r"no collection `airprts`.*Did you mean `airports`\? Valid: `airports`\."
        ):
            qdrant.count_rows("airprts")

    def test_types_of_what_others_wrote_are_told_from_all_points(self, qdrant: Qdrant) -> None:
        with qdrant.opened() as session:
            session.client.create_collection("others", vectors_config=models.VectorParams(size=2, distance="Dot"))
            points = [
                models.PointStruct(id=at, vector=[float(at), 1.0], payload={"n": at if at % 2 else at + 0.5, "only": 1})
                for at in range(1200)
            ]
            points.append(models.PointStruct(id=1200, vector=[0.0, 1.0], payload={"late": ["x"], "only": "mixed"}))
            session.client.upsert("others", points)
        found = held(qdrant, "others", columns=["point_id", "n", "late", "vector"])
        assert found.schema["n"] == pl.Float64
        assert found["late"].to_list()[-1] == ["x"]
        assert found["vector"][7].to_list() == [7.0, 1.0]
        with (
            pytest.raises(SchemaError, match="`only` of `others` holds values of several types"),
            qdrant.rows("others"),
        ):
            pass

    def test_what_others_added_is_an_error_and_never_left_out(self, qdrant: Qdrant) -> None:
        qdrant.write_points("a", airports("EDDF", n=pl.lit(1)), keys=["icao"])
        with qdrant.opened() as session:
            session.client.upsert(
                "a", [models.PointStruct(id=1, vector={"embedding": [1, 2, 3]}, payload={"extra": 1})]
            )
        with pytest.raises(SchemaError, match="has the field `extra`, which another program wrote"):
            held(qdrant, "a")
        assert 1 in held(qdrant, "a", columns=["extra"])["extra"].to_list()
        with qdrant.opened() as session:
            session.client.upsert("a", [models.PointStruct(id=2, vector={"embedding": [1, 2, 3]}, payload={"n": "x"})])
        with pytest.raises(SchemaError, match="hold in `n` what is no"):
            held(qdrant, "a", columns=["n"])


class TestWriting:
    def test_the_modes_do_what_they_say(self, qdrant: Qdrant) -> None:
        first = qdrant.write_points("a", airports("EDDF", "LOWW", height=pl.lit(1)), keys=["icao"], mode="append")
        assert (first.added, first.kept, first.points) == (2, 0, 2)
        again = qdrant.write_points("a", airports("LOWW", "LSZH", height=pl.lit(2)), keys=["icao"], mode="append")
        assert (again.added, again.kept, again.points) == (1, 1, 3)
        assert dict(held(qdrant, "a", columns=["icao", "height"]).iter_rows()) == {"EDDF": 1, "LOWW": 1, "LSZH": 2}
        changed = qdrant.write_points("a", airports("LOWW", height=pl.lit(3)), keys=["icao"])
        assert (changed.added, changed.points) == (0, 3)
        assert dict(held(qdrant, "a", columns=["icao", "height"]).iter_rows()) == {"EDDF": 1, "LOWW": 3, "LSZH": 2}
        whole = qdrant.write_points("a", airports("EDDM", height=pl.lit(4)), keys=["icao"], mode="overwrite")
        assert (whole.added, whole.points) == (-2, 1)
        assert keys_in(qdrant, "a") == ["EDDM"]
        with qdrant.opened() as session:
            assert len(session.client.get_collections().collections) == 1, "the old one is gone"

    def test_an_overwrite_may_change_what_a_collection_holds(self, qdrant: Qdrant) -> None:
        qdrant.write_points("a", airports("EDDF"), keys=["icao"])
        other = airports("EDDF").with_columns(embedding=pl.col("embedding").arr.to_list().list.head(2).list.to_array(2))
        with pytest.raises(ConfigError, match="3 numbers by cosine there, and 2 numbers by dot is wanted"):
            qdrant.write_points(
                "a", other, keys=["icao"], collection=Collection(vectors={"embedding": Vector(size=2, distance="dot")})
            )
        with pytest.raises(InputError, match="vectors of `2` numbers, and the collection's have 3"):
            qdrant.write_points("a", other, keys=["icao"])
        qdrant.write_points("a", other, keys=["icao"], mode="overwrite")
        assert qdrant.described("a").vectors == {"embedding": Vector(size=2)}

    def test_a_collection_without_an_alias_is_not_overwritten(self, qdrant: Qdrant) -> None:
        qdrant.create("a", DOT)
        qdrant.write_points("a", airports("EDDF"), keys=["icao"])
        with pytest.raises(ConfigError, match="no alias can take its name"):
            qdrant.write_points("a", airports("LOWW"), keys=["icao"], mode="overwrite")
        assert keys_in(qdrant, "a") == ["EDDF"]
        assert qdrant.drop("a")
        assert not qdrant.drop("a")
        qdrant.write_points("a", airports("LOWW"), keys=["icao"], mode="overwrite")
        assert keys_in(qdrant, "a") == ["LOWW"]

    def test_a_partition_loses_what_is_no_longer_in_its_data(self, qdrant: Qdrant) -> None:
        one, two = pl.lit(dt.date(2024, 1, 1)), pl.lit(dt.date(2024, 1, 2))
        qdrant.write_points(
            "a", airports("EDDF", "LOWW", day=one), keys=["icao"], replacing={"day": dt.date(2024, 1, 1)}
        )
        qdrant.write_points("a", airports("LSZH", day=two), keys=["icao"], replacing={"day": dt.date(2024, 1, 2)})
        done = qdrant.write_points(
            "a", airports("LOWW", "EDDM", day=one), keys=["icao"], replacing={"day": dt.date(2024, 1, 1)}
        )
        assert (done.removed, done.points) == (1, 3)
        assert keys_in(qdrant, "a") == ["EDDM", "LOWW", "LSZH"]
        with pytest.raises(PartitionError, match=r"1 rows do not belong to the partition `day` = `2024-01-01`"):
            qdrant.write_points("a", airports("EDDF", day=two), keys=["icao"], replacing={"day": dt.date(2024, 1, 1)})
        empty = airports("EDDF", day=one).clear()
        assert qdrant.write_points("a", empty, keys=["icao"], replacing={"day": dt.date(2024, 1, 1)}).removed == 2
        assert keys_in(qdrant, "a") == ["LSZH"]

    def test_points_are_deleted_by_a_condition(self, qdrant: Qdrant) -> None:
        qdrant.write_points("a", airports("EDDF", "LOWW", "LSZH").with_columns(n=pl.Series([1, 2, 3])), keys=["icao"])
        assert qdrant.delete_points("a", {"n": {"gte": 2}}) == 2
        assert keys_in(qdrant, "a") == ["EDDF"]
        for everything in ({}, models.Filter()):
            with pytest.raises(ConfigError, match="Without a condition all points"):
                qdrant.delete_points("a", everything)

    def test_a_reader_and_a_table_and_a_lazy_frame_are_the_same(self, qdrant: Qdrant) -> None:
        frame = airports("EDDF", "LOWW", "LSZH")
        table = frame.to_arrow()
        for name, data in (("r", table.to_reader(max_chunksize=1)), ("t", table), ("l", frame.lazy())):
            assert qdrant.write_points(name, data, keys=["icao"]).points == 3
            assert held(qdrant, name).equals(held(qdrant, "r"))
        with pytest.raises(InputError, match=r"A frame is expected, not `builtins.list`"):
            qdrant.write_points("x", [1], keys=["icao"])

    def test_a_reader_that_breaks_writes_nothing(self, qdrant: Qdrant) -> None:
        table = airports("EDDF").to_arrow()

        def batches() -> Iterator[pa.RecordBatch]:
            yield from table.to_batches()
            raise InputError("the source broke")

        with pytest.raises(InputError, match="the source broke"):
            qdrant.write_points("a", pa.RecordBatchReader.from_batches(table.schema, batches()), keys=["icao"])
        assert list(qdrant.names()) == []


def _bad(**columns: Any) -> pl.DataFrame:
    return airports("EDDF", "LOWW").with_columns(**columns)


def _vectors(*rows: Any) -> pl.Series:
    return pl.Series(rows, dtype=pl.List(pl.Float64))


SPARSE = pl.Struct({"indices": pl.List(pl.Int64), "values": pl.List(pl.Float64)})
BAD = {
    "a vector of another size": (_bad(embedding=_vectors([1, 2, 3], [1, 2])), InputError, "vectors of `2` numbers"),
    "no vector": (_bad(embedding=_vectors([1, 2, 3], None)), InputError, "1 rows have no vector in `embedding`"),
    "an empty vector": (_bad(embedding=_vectors([1, 2, 3], [])), InputError, "vectors of `0` numbers"),
    "NaN": (_bad(embedding=_vectors([1, 2, 3], [1, float("nan"), 3])), InputError, "1 vectors in `embedding` hold NaN"),
    "infinity": (_bad(embedding=_vectors([1, 2, float("inf")], [1, 2, 3])), InputError, "1 vectors"),
    "beyond 32 bits": (_bad(embedding=_vectors([1, 2, 1e39], [1, 2, 3])), InputError, "1 vectors"),
    "a null in a vector": (_bad(embedding=_vectors([1, 2, None], [1, 2, 3])), InputError, "1 vectors"),
    "text": (_bad(embedding=pl.lit("x")), SchemaError, "vectors of 3 numbers are wanted"),
    "no column": (_bad().drop("embedding"), SchemaError, "The column `embedding` is not there"),
    "a stray vector": (_bad(other=pl.col("embedding")), SchemaError, "The columns `other` are vectors"),
    "a key twice": (
        airports("EDDF", "LOWW", "EDDF"),
        KeyValueError,
        "1 rows have a key that another row has: icao='EDDF'",
    ),
    "a null key": (
        airports("EDDF", "LOWW").with_columns(icao=pl.lit(None, pl.String)),
        KeyValueError,
        "2 rows have a null",
    ),
    "a float key": (_bad(icao=pl.lit(1.5)), SchemaError, "The key `icao` is Float64"),
    "no key": (_bad().drop("icao"), SchemaError, "The column `icao` is not there"),
    "a decimal": (_bad(price=pl.lit(Decimal("1.5"))), SchemaError, "The column `price` is Decimal"),
    "bytes": (_bad(data=pl.lit(b"x")), SchemaError, "The column `data` is Binary"),
    "a duration": (_bad(took=pl.lit(dt.timedelta(1))), SchemaError, "The column `took` is Duration"),
    "a nested date": (_bad(days=pl.Series([[dt.date(2024, 1, 1)]] * 2)), SchemaError, "within lists and structs"),
    "NaN in a payload": (_bad(x=pl.lit(float("nan"))), InputError, "2 values of `x` are NaN or infinite"),
    "nested NaN": (_bad(x=pl.Series([[float("nan")], [1.0]])), InputError, "`x` holds NaN"),
    "too large": (_bad(x=pl.lit(2**63, pl.UInt64)), InputError, "`x` holds integers beyond"),
    "nanoseconds": (_bad(x=pl.lit(1, pl.Int64).cast(pl.Datetime("ns"))), InputError, "`x` holds parts of microseconds"),
    "a taken name": (_bad(point_id=pl.lit(1)), SchemaError, "`point_id` is what the ids"),
    "a quote in a name": (_bad().with_columns(pl.lit(1).alias('a"b')), ConfigError, "can't be a field of a payload"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_rows_are_refused_before_anything_is_written(what: str) -> None:
    qdrant = Qdrant(path=f":memory:{uuid.uuid4()}")
    qdrant.write_points("a", airports("LSZH"), keys=["icao"], collection=DOT)
    rows, error, words = BAD[what]
    for mode in ("upsert", "append", "overwrite"):
        with pytest.raises(error, match=words):
            qdrant.write_points("a", rows, keys=["icao"], mode=mode, collection=DOT)
    assert keys_in(qdrant, "a") == ["LSZH"]
    with qdrant.opened() as session:
        assert len(session.client.get_collections().collections) == 1


@pytest.mark.parametrize(
    ("one", "words"),
    [
        ({"indices": [1, 2], "values": [1.0]}, "not one value for each index"),
        ({"indices": [1, 1], "values": [1.0, 2.0]}, "an index twice"),
        ({"indices": [-1], "values": [1.0]}, "indices in `words` are none"),
        ({"indices": [2**32], "values": [1.0]}, "indices in `words` are none"),
        ({"indices": [None], "values": [1.0]}, "indices in `words` are none"),
        ({"indices": [1], "values": [float("nan")]}, "NaN, infinite or null"),
        ({"indices": [1], "values": [None]}, "NaN, infinite or null"),
        ({"indices": None, "values": None}, "not one value for each index"),
        (None, "1 rows have no vector in `words`"),
    ],
)
def test_bad_sparse_vectors_are_refused(one: Any, words: str) -> None:
    rows = pl.DataFrame(
        {"k": [1, 2], "words": [{"indices": [3], "values": [1.0]}, one]}, schema_overrides={"words": SPARSE}
    )
    with pytest.raises(InputError, match=words):
        Qdrant(path=f":memory:{uuid.uuid4()}").write_points("a", rows, keys=["k"])


def test_a_key_that_stands_twice_is_found_across_batches() -> None:
    rows = pl.DataFrame({"k": [*range(12_000), 3]}).with_columns(
        embedding=pl.lit([1.0, 2.0]).list.to_array(2).cast(pl.Array(pl.Float32, 2))
    )
    with pytest.raises(KeyValueError, match="1 rows have a key that another row has: k=3"):
        Qdrant(path=f":memory:{uuid.uuid4()}").write_points("a", rows, keys=["k"])


class TestIds:
    def test_numbers_and_uuids_are_ids_and_all_else_is_hashed_as_documented(self) -> None:
        given = "0f9619ff-8b86-d011-b42d-00c04fc964ff"
        assert ids_of(pl.DataFrame({"k": [0, 2**63 - 1]}), ["k"]) == [0, 2**63 - 1]
        assert ids_of(pl.DataFrame({"k": [-5]}), ["k"]) == [str(uuid.uuid5(NAMESPACE, "i2:-5"))]
        texts = pl.DataFrame({"k": [given, given.upper(), "EDDB"]})
        assert ids_of(texts, ["k"]) == [
            given,
            str(uuid.uuid5(NAMESPACE, f"s36:{given.upper()}")),
            str(uuid.uuid5(NAMESPACE, "s4:EDDB")),
        ]
        pairs = pl.DataFrame({"a": ["ab", "a"], "b": ["c", "bc"], "d": [dt.date(2024, 1, 19)] * 2})
        assert ids_of(pairs, ["a", "b", "d"]) == [
            str(uuid.uuid5(NAMESPACE, "s2:abs1:cd10:2024-01-19")),
            str(uuid.uuid5(NAMESPACE, "s1:as2:bcd10:2024-01-19")),
        ]

    def test_the_key_stays_the_same_for_ever(self) -> None:
        assert ids_of(pl.DataFrame({"k": ["EDDB"]}), ["k"]) == [FOR_EVER]

    def test_wider_integers_are_the_same_points(self) -> None:
        for dtype in (pl.Int8, pl.UInt64, pl.Int64):
            assert ids_of(pl.DataFrame({"a": [7], "b": [1]}, schema={"a": dtype, "b": dtype}), ["a", "b"]) == [
                str(uuid.uuid5(NAMESPACE, "i1:7i1:1"))
            ]


FOR_EVER = "2cd11e09-4e0d-55e8-be25-c3e129513245"


CONDITIONS: list[tuple[dict[str, Any], str]] = [
    ({"country": "DE"}, "EDDF EDDM"),
    ({"country": ["AT", "CH"]}, "LOWW LSZH"),
    ({"country": {"not": "DE"}}, "LOWW LSZH"),
    ({"country": {"not": ["DE", "AT"]}}, "LSZH"),
    ({"height": 183}, "LOWW"),
    ({"height": {"gt": 183, "lte": 453}}, "EDDM LSZH"),
    ({"height": {"gte": 183, "lt": 453}, "country": "AT"}, "LOWW"),
    ({"height": [111, 453]}, "EDDF EDDM"),
    ({"ratio": 1.5}, "LOWW"),
    ({"ratio": [0.5, 2.5]}, "EDDF LSZH"),
    ({"ratio": None}, "EDDM"),
    ({"ratio": {"not": None}}, "EDDF LOWW LSZH"),
    ({"open": False}, "LOWW"),
    ({"day": dt.date(2024, 1, 2)}, "LOWW"),
    ({"day": {"gte": dt.date(2024, 1, 3)}}, "EDDM LSZH"),
    ({"at": dt.datetime(2024, 1, 2, 13, tzinfo=dt.timezone(dt.timedelta(hours=1)))}, "LOWW"),
    ({"at": {"lt": dt.datetime(2024, 1, 2, 12, tzinfo=dt.UTC)}}, "EDDF"),
    ({"a.b [0]": {"gt": 400}}, "EDDM LSZH"),
    ({"country": "DE' OR 1=1 --"}, ""),
]


class TestSearching:
    @pytest.fixture
    def filled(self, qdrant: Qdrant) -> Qdrant:
        rows = (
            airports("EDDF", "LOWW", "LSZH", "EDDM")
            .with_columns(
                country=pl.Series(["DE", "AT", "CH", "DE"]),
                height=pl.Series([111, 183, 432, 453]),
                ratio=pl.Series([0.5, 1.5, 2.5, None]),
                open=pl.Series([True, False, True, True]),
                day=pl.Series([dt.date(2024, 1, day) for day in range(1, 5)]),
                at=pl.Series([dt.datetime(2024, 1, day, 12, tzinfo=dt.UTC) for day in range(1, 5)]),
            )
            .with_columns(pl.col("height").alias("a.b [0]"))
        )
        qdrant.write_points("a", rows, keys=["icao"], collection=DOT)
        return qdrant

    def test_the_nearest_come_first_for_each_query(self, filled: Qdrant) -> None:
        found = filled.search("a", [[1, 0, 0], [-1, 0, 0]], limit=2, columns=["icao", "day"])
        assert found.schema.names == ["query", "point_id", "score", "icao", "day"]
        columns = (found[name].to_pylist() for name in ("query", "icao", "score"))
        assert list(zip(*columns, strict=True)) == [
            (0, "EDDM", 4.0), (0, "LSZH", 3.0), (1, "EDDF", -1.0), (1, "LOWW", -2.0)
        ]  # fmt: skip
        assert found["day"].to_pylist()[0] == dt.date(2024, 1, 4)
        frame = airports("x")
        assert filled.search("a", frame, limit=1).equals(filled.search("a", frame["embedding"].to_numpy(), limit=1))
        assert filled.search("a", [[1, 0, 0]], score_threshold=3.5)["icao"].to_pylist() == ["EDDM"]
        assert filled.search("a", [], limit=1).num_rows == 0

    def test_many_queries_are_asked_in_several_requests(self, filled: Qdrant) -> None:
        found = filled.search("a", [[float(at), 1, 0] for at in range(150)], limit=1)
        assert found["query"].to_pylist() == list(range(150))

    def test_conditions_mean_what_they_say(self, filled: Qdrant) -> None:
        for where, expected in CONDITIONS:
            found = held(filled, "a", where=where, columns=["icao"])["icao"].sort().to_list()
            assert found == expected.split(), where
            assert filled.count_rows("a", where) == len(found), where
            near = filled.search("a", [[1, 0, 0]], where=where, columns=["icao"] if found else None)
            assert sorted(near["icao"].to_pylist()) == found, where

    def test_qdrants_own_filters_are_taken(self, filled: Qdrant) -> None:
        mine = models.Filter(should=[models.FieldCondition(key="icao", match=models.MatchValue(value="EDDF"))])
        assert held(filled, "a", where=mine)["icao"].to_list() == ["EDDF"]

    @pytest.mark.parametrize(
        ("where", "words"),
        [
            ({"n": {"over": 1}}, "`over` is no word of a condition on `n`"),
            ({"n": {}}, "The condition on `n` is empty"),
            ({"n": []}, "The list of values for `n` is empty"),
            ({"n": float("nan")}, "can't be compared with `nan`"),
            ({"n": {"gt": float("inf")}}, "no finite number"),
            ({"n": {"gt": "a"}}, "The bounds of `n` are str"),
            ({"n": {"gt": 1, "lt": dt.date(2024, 1, 1)}}, "The bounds of `n` are date, int"),
            ({"n": b"x"}, "can't be compared with a `bytes`"),
            ({'a"b': 1}, "can't be a field of a payload"),
            ("n = 1", "A condition is a mapping"),
        ],
    )
    def test_conditions_that_are_none_are_refused(self, where: Any, words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            Qdrant(path=":memory:none").count_rows("a", where)

    @pytest.mark.parametrize(
        ("queries", "options", "error", "words"),
        [
            ([[1, 2]], {}, InputError, "vectors of `2` numbers"),
            ([[1, 2, float("nan")]], {}, InputError, "1 vectors"),
            ("abc", {}, InputError, "are no vectors|wanted"),
            (7, {}, InputError, "are no vectors"),
            ([[1, 2, 3]], {"limit": 0}, ConfigError, "`limit` can't be `0`"),
            ([[1, 2, 3]], {"using": "embeding"}, ConfigError, "Did you mean `embedding`"),
            ([[1, 2, 3]], {"columns": ["icoa"]}, ConfigError, "Did you mean `icao`"),
            (pl.DataFrame({"x": [1]}), {}, SchemaError, "have no column `embedding`"),
        ],
    )
    def test_bad_queries_are_refused(self, queries: Any, options: Any, error: type[Exception], words: str) -> None:
        qdrant = Qdrant(path=f":memory:{uuid.uuid4()}")
        qdrant.write_points("a", airports("EDDF"), keys=["icao"])
        with pytest.raises(error, match=words):
            qdrant.search("a", queries, **options)

    def test_sparse_and_several_vectors_are_searched(self, qdrant: Qdrant) -> None:
        qdrant.write_points("types", EVERY_TYPE, keys=["key"], collection=EVERY_VECTOR)
        with pytest.raises(ConfigError, match="Say by `using`"):
            qdrant.search("types", [[1, 2, 3]])
        sparse = qdrant.search("types", [{"indices": [7], "values": [2.0]}], using="words", columns=["key"])
        assert list(zip(sparse["key"].to_pylist(), sparse["score"].to_pylist(), strict=True)) == [(1, 1.0)]
        many = qdrant.search("types", [[1, 0]], using="parts", columns=["key"])
        assert list(zip(many["key"].to_pylist(), many["score"].to_pylist(), strict=True)) == [(2, 5.0), (1, 1.0)]


def test_paths_of_fields_can_lead_nowhere_else() -> None:
    assert path("country") == "country"
    assert path("a.b") == '"a.b"'
    assert path("a[]") == '"a[]"'
    for name in ("", 'a"b', 'a".b."c'):
        with pytest.raises(ConfigError, match="can't be a field of a payload"):
            path(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a\\b", "a?b", "a*", "a:b", "a\nb", "a\0b", "x" * 201])
def test_names_that_could_lead_elsewhere_are_refused(qdrant: Qdrant, name: str) -> None:
    with pytest.raises(ConfigError, match="can't be called"):
        qdrant.create(name, DOT)
    with pytest.raises(ConfigError, match="can't be called"):
        qdrant.write_points(name, airports("EDDF"), keys=["icao"])
    assert list(qdrant.names()) == []


@pytest.mark.parametrize("name", ["näme with spaces", "a#b&c", "it's", "a%20b", "日本", "{name}", "exists"])
def test_odd_names_are_names(qdrant: Qdrant, name: str) -> None:
    qdrant.write_points(name, airports("EDDF"), keys=["icao"], mode="overwrite")
    assert list(qdrant.names()) == [name]
    assert keys_in(qdrant, name) == ["EDDF"]


class TestCollections:
    def test_one_is_made_once_and_says_what_it_holds(self, served: Qdrant) -> None:
        wanted = Collection(
            vectors={"a": Vector(size=4, distance="manhattan", on_disk=True), "b": Sparse(idf=True, on_disk=True)},
            indexes={"country": "keyword", "a.b": "integer"},
            quantization="scalar",
            on_disk_payload=False,
        )
        served.create("a", wanted)
        served.create("a", wanted)
        there = served.described("a")
        assert there.vectors == wanted.vectors
        assert there.indexes == {"country": "keyword", '"a.b"': "integer"}
        assert (there.quantization, there.on_disk_payload) == ("scalar", False)
        assert served.alter("a", wanted) == []

    def test_a_change_does_what_can_be_done(self, served: Qdrant) -> None:
        served.create("a", Collection(vectors={"a": Vector(size=4)}, indexes={"old": "keyword"}))
        wanted = Collection(
            vectors={"a": Vector(size=4, on_disk=True), "b": Sparse(), "c": Vector(size=2)},
            indexes={"n": "integer"},
            quantization="binary",
            on_disk_payload=False,
        )
        said = served.alter("a", wanted)
        assert said == [
            "added the vector `b`",
            "added the vector `c`",
            "quantization is `binary`",
            "moved `a`",
            "moved the payloads",
            "indexed `n` as integer",
            "removed the index of `old`",
        ]
        assert served.described("a") == wanted
        assert served.alter("a", wanted) == []

    @pytest.mark.parametrize(
        ("vectors", "words"),
        [
            ({"a": Vector(size=5)}, "`a` is 4 numbers by cosine there, and 5 numbers by cosine is wanted"),
            ({"a": Vector(size=4, distance="dot")}, "can't change the size or the distance.*overwrite"),
            ({"a": Sparse()}, "and sparse is wanted"),
            ({"b": Vector(size=4)}, "holds `a`, which is not declared"),
        ],
    )
    def test_a_change_that_needs_a_new_one_is_refused(self, qdrant: Qdrant, vectors: Any, words: str) -> None:
        qdrant.create("a", Collection(vectors={"a": Vector(size=4)}))
        with pytest.raises(ConfigError, match=words):
            qdrant.alter("a", Collection(vectors=vectors))
        assert qdrant.described("a").vectors == {"a": Vector(size=4)}

    def test_snapshots_are_a_servers(self, served: Qdrant, tmp_path: Path) -> None:
        served.create("a", DOT)
        made = [served.snapshot("a"), served.snapshot("a")]
        assert served.snapshots("a") == made
        with pytest.raises(NotThereError):
            served.snapshot("b")
        with pytest.raises(ConfigError, match=r"has no snapshots: they are a server's. Copy the folder"):
            Qdrant(path=str(tmp_path)).snapshot("a")
        local = Qdrant(path=str(tmp_path))
        local.create("a", DOT)
        with pytest.raises(ConfigError, match="neither quantization nor indexes"):
            local.alter("a", Collection(vectors=DOT.vectors, quantization="scalar"))

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda: Vector(size=0), "can't have the size `0`"),
            (lambda: Vector(size=True), "can't have the size `True`"),
            (lambda: Vector(size=2, distance="cosin"), "Did you mean `cosine`"),
            (lambda: Collection(vectors={"": Vector(size=2), "a": Vector(size=2)}), "without a name"),
            (lambda: Collection(vectors={"a/b": Vector(size=2)}), "can't be called `a/b`"),
            (lambda: Collection(vectors={"a": 3}), "`a` is no `Vector`"),
            (lambda: Collection(vectors={"a": Vector(size=2)}, indexes={"x": "keywords"}), "Did you mean `keyword`"),
            (lambda: Collection(vectors={"a": Vector(size=2)}, quantization="int8"), "The quantization can't be"),
        ],
    )
    def test_wrong_declarations_are_refused(self, make: Callable[[], object], words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            make()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Neither a server nor a folder"),
        ({"url": "https://a", "path": "b"}, "`url` is given as well"),
        ({"path": "b", "api_key": "k"}, "It is for a server"),
        ({"url": "a:6333"}, "It is no URL"),
        ({"url": "http://a"}, "in the clear"),
        ({"url": "https://me:canary@a"}, "It holds a login"),
        ({"url": "https://a", "timeout": 0}, "no time to wait"),
        ({"url": "https://a", "grpc_port": 0}, "is no port"),
        ({"url": "https://a", "grpc": True, "ca_file": "x"}, "It is for HTTP"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Qdrant(**fields)
    assert "canary" not in str(caught.value)


def test_a_folder_is_kept_and_taken_by_one_process_at_a_time(tmp_path: Path) -> None:
    qdrant = Qdrant(path=str(tmp_path / "v"))
    qdrant.write_points("a", airports("EDDF"), keys=["icao"])
    program = (
        "import sys; from fuse_dagster import Qdrant; q = Qdrant(path=sys.argv[1])\n"
        "try: print(list(q.names()))\nexcept Exception as error: print(type(error).__name__, error)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "v")]
    with qdrant.rows("a") as reader:
        locked = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True).stdout
        assert qdrant.count_rows("a") == reader.read_all().num_rows == 1, "one process may open it several times"
    assert "StoreUnavailableError" in locked
    assert "is used by another process" in locked
    found = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True).stdout
    assert found == "['a']\n"


class TestServer:
    def test_a_wrong_key_is_told_without_showing_it(self, fake: QdrantServer) -> None:
        for key in ("wrong-canary", ""):
            wrong = Qdrant(url=fake.url, api_key=key, allow_http=True)
            with pytest.raises(CredentialsError, match=r"\(it answers 401\). Check `api_key`") as caught:
                wrong.answer()
            assert "canary" not in str(caught.value)

    def test_a_key_that_changed_is_resolved_anew(self, fake: QdrantServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("QDRANT_KEY_OF_TEST", KEY)
        qdrant = Qdrant(url=fake.url, api_key="env://QDRANT_KEY_OF_TEST", allow_http=True)
        qdrant.write_points("a", airports("EDDF"), keys=["icao"])
        fake.keys = {"rotated-key"}
        monkeypatch.setenv("QDRANT_KEY_OF_TEST", "rotated-key")
        assert qdrant.count_rows("a") == 1

    def test_certificates_are_checked(self, tmp_path: Path) -> None:
        shown = certificate(tmp_path)
        with qdrant_server(tls=shown) as server:
            with pytest.raises(StoreError, match=r"shows a certificate that this machine does not trust.*`ca_file`"):
                Qdrant(url=server.url, api_key=KEY).answer()
            assert Qdrant(url=server.url, api_key=KEY, ca_file=str(shown)).answer() == "Qdrant 1.17.0"
            with pytest.raises((StoreError, StoreUnavailableError)):
                Qdrant(
                    url=server.url.replace("https", "http"), api_key=KEY, allow_http=True, retry_timeout=0.1
                ).answer()

    def test_a_busy_server_is_asked_again(self, fake: QdrantServer, served: Qdrant) -> None:
        fake.busy = 2
        served.write_points("a", airports("EDDF"), keys=["icao"])
        assert keys_in(served, "a") == ["EDDF"]
        fake.busy, fake.retry_after = 1, 60
        with pytest.raises(StoreUnavailableError, match="asks its clients to slow down"):
            served.count_rows("a")

    def test_a_large_request_is_sent_in_halves(self, fake: QdrantServer, served: Qdrant) -> None:
        fake.largest = 3000
        rows = airports(*(f"A{at:03}" for at in range(64)), text=pl.lit("x" * 100))
        done = served.write_points("a", rows, keys=["icao"])
        assert done.points == 64
        assert done.batches > 4
        with pytest.raises(InputError, match="refuses one point as too large"):
            served.write_points("a", airports("EDDF", text=pl.lit("x" * 5000)), keys=["icao"])

    def test_a_write_that_fails_says_what_landed_and_is_completed_by_the_same_write(
        self, fake: QdrantServer, served: Qdrant
    ) -> None:
        rows = pl.DataFrame({"k": range(2200)}).with_columns(embedding=pl.lit([1.0, 2.0]).list.to_array(2))
        quick = served.model_copy(update={"retry_timeout": 0.05})
        fake.upserts = 1
        with pytest.raises(StoreUnavailableError, match=r"Of 2,200 points, 1,000 landed in `a`, and up to 1,000 of"):
            quick.write_points("a", rows, keys=["k"])
        assert served.count_rows("a") == 1000
        fake.upserts = None
        assert served.write_points("a", rows, keys=["k"]).points == 2200

    def test_an_overwrite_that_fails_leaves_the_old_one(self, fake: QdrantServer, served: Qdrant) -> None:
        served.write_points("a", airports("EDDF"), keys=["icao"], mode="overwrite")
        quick, fake.upserts = served.model_copy(update={"retry_timeout": 0.05}), 0
        with pytest.raises(StoreUnavailableError, match="of the batch that failed"):
            quick.write_points("a", airports("LOWW"), keys=["icao"], mode="overwrite")
        fake.upserts = None
        assert keys_in(served, "a") == ["EDDF"]
        assert len(fake.client.get_collections().collections) == 1, "the unfinished one is gone"

    def test_points_that_were_only_acknowledged_are_no_success(self, fake: QdrantServer, served: Qdrant) -> None:
        fake.status = "acknowledged"
        with pytest.raises(StoreUnavailableError, match="did not apply it in time"):
            served.write_points("a", airports("EDDF"), keys=["icao"])

    def test_what_a_crash_left_behind_is_removed_when_it_is_old(self, fake: QdrantServer, served: Qdrant) -> None:
        old, young = "a--20240101T000000Z-0123abcd", f"a--{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}-0123abcd"
        for name in (old, young, "b--20240101T000000Z-0123abcd"):
            served.create(name, DOT)
        served.write_points("a", airports("EDDF"), keys=["icao"], mode="overwrite")
        left = {one.name for one in fake.client.get_collections().collections}
        assert old not in left
        assert {young, "b--20240101T000000Z-0123abcd"} <= left

    def test_another_program_at_the_address_is_told(self, tmp_path: Path) -> None:
        import http.server
        import threading

        handler = type("H", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            try:
                with pytest.raises(StoreError, match=r"gives no answer of Qdrant. Check the host, port and path"):
                    Qdrant(url=f"http://127.0.0.1:{server.server_port}", allow_http=True).answer()
            finally:
                server.shutdown()


class TestFaults:
    @pytest.fixture
    def proxy(self, fake: QdrantServer, proxy_before: Callable[[int], FaultyProxy]) -> Iterator[FaultyProxy]:
        found = proxy_before(fake.port)
        found.calm()
        yield found
        found.calm()

    @pytest.fixture
    def through(self, proxy: FaultyProxy) -> Qdrant:
        return Qdrant(url=f"http://127.0.0.1:{proxy.port}", api_key=KEY, allow_http=True, retry_timeout=30, timeout=10)

    @pytest.mark.parametrize("kind", ["reset", "half sent", "refused", "lost", "half answered"])
    def test_broken_connections_lose_and_double_nothing(self, through: Qdrant, proxy: FaultyProxy, kind: Any) -> None:
        rows = pl.DataFrame({"k": range(1100)}).with_columns(embedding=pl.lit([1.0, 2.0]).list.to_array(2))
        for request in (
            r"PUT /\S*/points",
            r"POST /collections/aliases",
            r"PUT /collections/[^/]*$",
            r"POST /\S*/count",
        ):
            proxy.cause(Fault(kind, request))
        for mode in ("overwrite", "upsert", "append", "overwrite"):
            assert through.write_points("a", rows, keys=["k"], mode=mode).points == 1100
        assert proxy.happened >= 3
        proxy.cause(Fault(kind, r"POST /\S*/scroll", times=2))
        assert held(through, "a", columns=["k"])["k"].to_list() == list(range(1100))

    def test_a_server_that_is_gone_is_told(self, through: Qdrant, proxy: FaultyProxy) -> None:
        quick = through.model_copy(update={"retry_timeout": 0.2})
        proxy.go_away()
        with pytest.raises(StoreUnavailableError, match=r"can't be reached|broke off"):
            quick.answer()
        with pytest.raises(StoreUnavailableError, match=r"can't be reached. Check the host and port of `url`"):
            Qdrant(url="http://127.0.0.1:9", allow_http=True, retry_timeout=0.2).answer()

    def test_a_silent_server_is_told(self, through: Qdrant, proxy: FaultyProxy) -> None:
        quick = through.model_copy(update={"retry_timeout": 0.2, "timeout": 1.0})
        proxy.cause(Fault("silent", times=9))
        with pytest.raises(StoreUnavailableError, match=r"does not answer in time. Check `url`"):
            quick.answer()


def test_memory_stays_small_while_a_reader_is_written(tmp_path: Path) -> None:
    """A reader is kept in a file: only its batches are in memory, however many there are."""
    schema = pa.schema([("k", pa.int64()), ("v", pa.list_(pa.float32(), 256))])
    made = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal made
        for at in range(200):
            made += 1
            numbers = pa.array([float(at)] * 256 * 500, pa.float32())
            keys = pa.array(range(at * 500, at * 500 + 500))
            yield pa.record_batch([keys, pa.FixedSizeListArray.from_arrays(numbers, 256)], schema=schema)

    before = pa.total_allocated_bytes()
    with rows_of(pa.RecordBatchReader.from_batches(schema, batches())) as (_, slices):
        assert made == 200
        seen, most = 0, 0
        for frame in slices(1000):
            seen += frame.height
            most = max(most, pa.total_allocated_bytes() - before)
    assert seen == 100_000
    assert most < 20_000_000, "of 100 MB"
