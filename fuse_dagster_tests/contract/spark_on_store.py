"""What Spark keeps on a store that one of Hadoop's drivers reaches; inherited by the test of each connector."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import polars as pl
import pytest

from fuse_dagster.connectors.object_store import ObjectStore
from fuse_dagster.core.errors import StoreError, StoreUnavailableError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.engines.spark.frames import from_spark
from fuse_dagster.engines.spark.lakes import reach
from fuse_dagster.engines.spark.reading import scan as scan_with_spark
from fuse_dagster.tables import Append, History, Overwrite, Upsert, as_of, current, write

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LONGEST = 60
"""Seconds that a failure may take through Spark, where the fields ask for 1 and the store answers or is not there."""


def planes(**seats: int) -> pl.DataFrame:
    return pl.DataFrame({"tailnum": list(seats), "seats": list(seats.values())})


class SparkOnStoreContract:
    """Inherit it in a class of its own; `connector` and `other(**fields)` are those of `StoreContract`.

    Attributes:
        place: The field that names the bucket or container.
        wrong_credentials: Fields to change.
    """

    place: ClassVar[str] = "bucket"
    wrong_credentials: ClassVar[Mapping[str, str]]

    @pytest.fixture
    def session(self, spark: SparkSession, connector: ObjectStore) -> SparkSession:
        reach(spark, [connector])
        return spark

    @pytest.fixture
    def put(self, connector: ObjectStore, session: SparkSession) -> Callable[..., Any]:
        """Writes through Spark or, with `spark=None`, the local engine."""

        def write_there(name: str, data: Any, mode: Any, spark: SparkSession | None = session) -> Any:
            return write(connector.uri(name), data, mode, storage_options=connector.storage_options(), spark=spark)

        return write_there

    @pytest.fixture
    def rows(self, connector: ObjectStore, session: SparkSession) -> Callable[[str], list[Any]]:
        """What both engines read, which is the same."""

        def read(name: str) -> list[Any]:
            table = connector.uri(name)
            here = scan(table, storage_options=connector.storage_options()).collect().sort(pl.all())
            there = from_spark(scan_with_spark(session, table)).sort(pl.all())
            assert here.equals(there)
            return here.rows()

        return read

    def test_every_mode_is_continued_by_the_other_engine(
        self, session: SparkSession, put: Callable[..., Any], rows: Callable[[str], list[Any]]
    ) -> None:
        for first, then in ((session, None), (None, session)):
            name = f"planes-{uuid.uuid4().hex}"
            assert put(name, planes(N1=55), Append(once="batch", batch_id="1"), first).inserted == 1
            assert put(name, planes(N1=55), Append(once="batch", batch_id="1"), then).version is None
            put(name, planes(N2=180), Append(), then)
            upserted = put(name, planes(N1=56, N3=20), Upsert(keys=["tailnum"]), first)
            assert (upserted.inserted, upserted.updated) == (1, 1)
            assert rows(name) == [("N1", 56), ("N2", 180), ("N3", 20)]
            assert put(name, planes(N9=9), Overwrite(), then).version == 3
            assert rows(name) == [("N9", 9)]

    def test_a_history_and_its_memory_are_continued_by_the_other_engine(
        self, session: SparkSession, connector: ObjectStore, put: Callable[..., Any]
    ) -> None:
        days = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 3, 2)]  # the last one comes late
        batches = [planes(N1=55, N2=1), planes(N1=60, N2=1), planes(N1=57, N2=1)]
        for first, then in ((session, None), (None, session)):
            name = f"history-{uuid.uuid4().hex}"
            for day, batch, engine in zip(days, batches, (first, then, first), strict=True):
                put(name, batch, History(keys=["tailnum"], source="snapshot", effective_at=day), engine)
            again = History(keys=["tailnum"], source="snapshot", effective_at=days[2])
            assert put(name, batches[2], again, then).version is None
            assert [entry.path for entry in connector.list(f"{name}/_fuse")], "what a history remembers lies beside it"
            table, options = connector.uri(name), connector.storage_options()
            here = current(table, storage_options=options).collect().select("tailnum", "seats").sort("tailnum")
            assert here.rows() == [("N1", 60), ("N2", 1)]
            then_held = from_spark(as_of(table, days[2], spark=session, storage_options=options))
            assert then_held.select("tailnum", "seats").sort("tailnum").rows() == [("N1", 57), ("N2", 1)]

    @pytest.mark.parametrize("name", ["a b", "näme", "a=b", "it's", "日本", "a+b~c"])
    def test_odd_names_of_tables_are_names_to_both_engines(
        self, name: str, put: Callable[..., Any], rows: Callable[[str], list[Any]]
    ) -> None:
        put(name, planes(N1=1), Append())
        put(name, planes(N2=2), Append(), None)
        assert rows(name) == [("N1", 1), ("N2", 2)]

    def test_odd_values_of_partitions_are_read_by_both_engines(
        self, put: Callable[..., Any], rows: Callable[[str], list[Any]]
    ) -> None:
        odd = ["a b", "ä/b", "c=d", "e%20f", "日本"]
        frame = pl.DataFrame({"part": odd, "n": range(5)})
        put("parts", frame, Append(partition_by=["part"]))
        assert rows("parts") == sorted(frame.rows())

    @pytest.fixture
    def failing(self, other: Callable[..., ObjectStore], fault: str) -> ObjectStore:
        quick = {"connect_timeout": 1.0, "timeout": 1.0, "retry_timeout": 1.0}
        # Hadoop keeps what a bucket was opened with: each fault has one of its own.
        mine = {self.place: f"{fault}-{uuid.uuid4().hex[:8]}"}
        makers = {
            "credentials": lambda: other(**mine, **self.wrong_credentials, **quick),
            "container": lambda: other(**mine, **quick),
            "host": lambda: other(**mine, endpoint="http://no-such-host.invalid", **quick),
            "port": lambda: other(**mine, endpoint="http://127.0.0.1:1", **quick),
        }
        return makers[fault]()

    @pytest.mark.parametrize(
        ("fault", "kind", "said"),
        [
            ("credentials", StoreError, "is refused to these credentials"),
            ("container", StoreError, "is not there"),
            ("host", StoreUnavailableError, "can't be reached"),
            ("port", StoreUnavailableError, "can't be reached"),
        ],
    )
    def test_what_fails_through_spark_says_in_time_what_to_check(
        self, spark: SparkSession, failing: ObjectStore, kind: type[Exception], said: str
    ) -> None:
        reach(spark, [failing])
        options = failing.storage_options()
        for act in (
            lambda: scan_with_spark(spark, failing.uri("table")),
            lambda: write(failing.uri("table"), planes(N1=1), Append(), storage_options=options, spark=spark),
        ):
            began = time.monotonic()
            with pytest.raises(kind, match=said) as caught:
                act()
            assert time.monotonic() - began < LONGEST
            secrets = [value for name, value in failing.spark_conf().items() if "secret" in name]
            assert not [secret for secret in secrets if secret in f"{caught.value} {caught.value.__cause__}"]
