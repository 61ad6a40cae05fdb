"""One Spark session and several lakes: credentials, commits of others, and what nobody may see."""

from __future__ import annotations

import subprocess
import threading
import time
import uuid
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
import pytest
from pyspark.sql import DataFrame

from fuse_dagster import GCS, S3, DeltaIOManager, SparkResource, delta_table
from fuse_dagster.connectors.hadoop import HADOOP
from fuse_dagster.core.errors import ConfigError, StoreError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.engines.spark import lakes
from fuse_dagster.engines.spark.environment import ENVIRONMENTS, LOG_STORE, platform_defaults
from fuse_dagster.engines.spark.reading import scan as scan_with_spark
from fuse_dagster.engines.spark.session import spark_session
from fuse_dagster.engines.spark.settings import SparkSettings
from fuse_dagster.tables import Append, write
from fuse_dagster_tests.servers.proxy import FaultyProxy, faulty_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

    from fuse_dagster_tests.servers.s3 import S3Server

pytestmark = pytest.mark.spark


def bucket(name: str, port: int, **fields: Any) -> S3:
    """A bucket of the server, which only the key of its name opens."""
    key, secret = ("lake-key-id", "lake-signing-key") if name == "lake" else (name, f"{name}-secret")
    given = {"access_key_id": key, "secret_access_key": secret, "region": "us-east-1", "allow_http": True}
    return S3(**{"bucket": name, "endpoint": f"http://127.0.0.1:{port}", **given, **fields})


@pytest.fixture
def three(s3: S3Server) -> list[S3]:
    folder = uuid.uuid4().hex
    return [bucket(name, s3.port, prefix=folder) for name in ("lake", "raw", "gold")]


def frame(*values: str) -> pl.DataFrame:
    return pl.DataFrame({"a": list(values)})


def values(lake: S3, table: str = "t") -> list[str]:
    return sorted(scan(lake.uri(table), storage_options=lake.storage_options()).collect()["a"])


def test_three_accounts_meet_in_one_session(spark: SparkSession, three: list[S3]) -> None:
    assert spark_session(lakes=three) is spark
    for lake in three:
        write(lake.uri("t"), frame(lake.bucket), Append(), storage_options=lake.storage_options(), spark=spark)
    together = [row["a"] for lake in three for row in scan_with_spark(spark, lake.uri("t")).collect()]
    assert together == ["lake", "raw", "gold"]
    joined = scan_with_spark(spark, three[0].uri("t")).union(scan_with_spark(spark, three[1].uri("t")))
    write(three[2].uri("all"), joined, Append(), storage_options=three[2].storage_options(), spark=spark)
    assert values(three[2], "all") == ["lake", "raw"]


def test_the_key_of_one_bucket_does_not_open_another(spark: SparkSession, s3: S3Server) -> None:
    mine, theirs = bucket("raw", s3.port), bucket("lost", s3.port, access_key_id="raw", secret_access_key="raw-secret")
    spark_session(lakes=[mine, theirs])
    with pytest.raises(StoreError, match="refused to these credentials"):
        scan_with_spark(spark, theirs.uri("t"))


def test_one_bucket_with_two_keys_is_refused(spark: SparkSession, s3: S3Server) -> None:
    one = bucket("twice", s3.port, secret_access_key="one-secret")
    two = bucket("twice", s3.port, secret_access_key="two-secret")
    with pytest.raises(ConfigError, match=r"disagree about `spark.hadoop.fs.s3a.bucket.twice.secret.key`") as caught:
        spark_session(lakes=[one, two])
    assert "one-secret" not in str(caught.value)
    spark_session(lakes=[one])
    with pytest.raises(ConfigError, match="Hadoop keeps what it opened a place with"):
        spark_session(lakes=[two])
    assert spark_session(lakes=[one]) is spark


def test_keys_that_are_temporary_may_be_others_next_time(spark: SparkSession, s3: S3Server) -> None:
    for number in ("1", "2"):
        key = {"access_key_id": f"k{number}", "secret_access_key": f"s{number}", "session_token": f"t{number}"}
        assert spark_session(lakes=[bucket("passing", s3.port, **key)]) is spark


def test_the_lake_of_an_io_manager_is_reached_by_its_session(spark: SparkSession, s3: S3Server) -> None:
    del spark
    lake = bucket("gold", s3.port, prefix=uuid.uuid4().hex)

    @delta_table()
    def numbers(spark: SparkResource) -> DataFrame:
        return spark.spark_session.range(3)

    @delta_table()
    def doubled(numbers: DataFrame) -> DataFrame:
        return numbers.selectExpr("id * 2 AS id")

    resources = {"spark": SparkResource(), "io_manager": DeltaIOManager(lake=lake, spark=SparkResource())}
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([numbers, doubled], instance=instance, resources=resources)
    assert result.success
    assert sorted(scan(lake.uri("doubled"), storage_options=lake.storage_options()).collect()["id"]) == [0, 2, 4]


def test_a_resource_reaches_lakes_beside_that_of_the_io_manager(spark: SparkSession, three: list[S3]) -> None:
    del spark
    write(three[1].uri("t"), frame("raw"), Append(), storage_options=three[1].storage_options())

    @dg.asset
    def copied(spark: SparkResource) -> None:
        rows = scan_with_spark(spark.spark_session, three[1].uri("t"))
        write(three[2].uri("t"), rows, Append(), storage_options=three[2].storage_options(), spark=spark.spark_session)

    assert dg.materialize([copied], resources={"spark": SparkResource.reaching(*three)}).success
    assert values(three[2]) == ["raw"]


@pytest.fixture(scope="module")
def proxy(s3: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3.port) as proxy:
        yield proxy


def held(proxy: FaultyProxy, spark_writes: Any, meanwhile: Any) -> list[BaseException]:
    """Keep Spark's commit back until somebody else has committed the same version."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            spark_writes()
        except BaseException as error:  # noqa: BLE001 - given back
            failed.append(error)

    before = proxy.held
    proxy.hold_next()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        patience = time.monotonic() + 120
        while proxy.held == before and thread.is_alive() and time.monotonic() < patience:
            time.sleep(0.05)
        assert proxy.held == before + 1, failed
        meanwhile()
    finally:
        proxy.let_go()
        thread.join()
    return failed


@pytest.fixture
def between(s3: S3Server, proxy: FaultyProxy) -> tuple[S3, S3]:
    """A bucket as Spark reaches it, through the proxy, and as everybody else does."""
    folder = uuid.uuid4().hex
    return bucket("between", proxy.port, prefix=folder), bucket("between", s3.port, prefix=folder)


@pytest.mark.parametrize(("scheme", "kept"), [("s3", True), ("s3n", False)])
def test_a_commit_that_comes_between_is_not_replaced(
    spark: SparkSession, proxy: FaultyProxy, between: tuple[S3, S3], scheme: str, kept: bool
) -> None:
    """By `s3n` Spark has Delta's own log for S3, which shows that the test can fail, and why there is one of ours."""
    slow, direct = between
    spark_session(lakes=[slow])
    spark.conf.set("fs.s3n.impl", "org.apache.hadoop.fs.s3a.S3AFileSystem")
    table, options = direct.uri("t"), direct.storage_options()
    write(table, frame("first"), Append(), storage_options=options)
    batch, place = spark.createDataFrame([("spark",)], "a string"), table.replace("s3://", f"{scheme}://")
    failed = held(
        proxy,
        lambda: batch.write.format("delta").mode("append").save(place),
        lambda: write(table, frame("local"), Append(), storage_options=options),
    )
    assert not failed
    assert values(direct) == (["first", "local", "spark"] if kept else ["first", "spark"])


def test_a_commit_whose_answer_was_lost_is_not_made_twice(
    spark: SparkSession, proxy: FaultyProxy, between: tuple[S3, S3]
) -> None:
    slow, direct = between
    spark_session(lakes=[slow])
    write(direct.uri("t"), frame("first"), Append(), storage_options=direct.storage_options())
    happened = proxy.happened
    proxy.lose_next()
    spark.createDataFrame([("spark",)], "a string").write.format("delta").mode("append").save(slow.uri("t"))
    assert proxy.happened == happened + 1
    assert values(direct) == ["first", "spark"]
    assert len([entry for entry in direct.list("t/_delta_log") if entry.path.endswith(".json")]) == 2


@pytest.mark.slow
def test_two_engines_that_append_at_once_lose_nothing(spark: SparkSession, s3: S3Server) -> None:
    lake = bucket("lake", s3.port)
    spark_session(lakes=[lake])
    table, options = lake.uri(uuid.uuid4().hex), lake.storage_options()
    write(table, frame("first"), Append(), storage_options=options)

    def append(name: str, times: int, session: Any = None) -> None:
        for number in range(times):
            write(table, frame(f"{name}{number}"), Append(), storage_options=options, spark=session)

    writers = [threading.Thread(target=append, args=given) for given in (("local", 40), ("spark", 10, spark))]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = scan(table, storage_options=options).collect()["a"].to_list()
    assert sorted(found) == sorted(["first", *(f"local{n}" for n in range(40)), *(f"spark{n}" for n in range(10))])


def test_spark_does_not_write_where_commits_cannot_be_guarded(spark: SparkSession, s3: S3Server) -> None:
    lake = bucket("gold", s3.port, prefix=uuid.uuid4().hex)
    spark_session(lakes=[lake])
    table, options = lake.uri("t"), lake.storage_options()
    foreign = spark.newSession()
    foreign.conf.set("spark.delta.logStore.s3.impl", "io.delta.storage.S3SingleDriverLogStore")
    with pytest.raises(StoreError, match=r"without a guard .*`single_writer=True`.*Nothing was written"):
        write(table, frame("a"), Append(), storage_options=options, spark=foreign)
    unsafe = {**options, "aws_conditional_put": "disabled"}
    with pytest.raises(StoreError, match=r"no conditional put .*`single_writer=True`.*Nothing was written"):
        write(table, frame("a"), Append(), storage_options=unsafe, spark=spark)
    assert list(lake.list()) == []
    lakes.reach(foreign, [bucket("gold", s3.port, prefix=lake.prefix, single_writer=True)])
    assert write(table, frame("a"), Append(), storage_options=options, spark=foreign).version == 0


def test_gcs_by_hmac_keys_is_written_under_a_promise_only(spark: SparkSession, s3: S3Server) -> None:
    fields = {"bucket": "raw", "hmac_key_id": "raw", "hmac_secret": "raw-secret", "allow_http": True}
    fields |= {"endpoint": f"http://127.0.0.1:{s3.port}", "prefix": uuid.uuid4().hex}
    session = spark.newSession()
    for name, value in GCS(**fields).spark_conf().items():
        session.conf.set(name.removeprefix("spark.hadoop."), value)
    with pytest.raises(StoreError, match="no conditional put that Spark could use"):
        write(GCS(**fields).uri("t"), frame("a"), Append(), spark=session)
    session.range(3).write.parquet(GCS(**fields).uri("files"))
    assert session.read.parquet(GCS(**fields).uri("files")).count() == 3


def test_no_secret_of_a_lake_is_shown(spark: SparkSession, three: list[S3], tmp_path: Path) -> None:
    spark_session(lakes=three)
    arguments = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert "fuse-dagster-logstore.jar" in arguments, "the list of processes shows what Spark is started with"
    shown = [f"{name}={value}" for name, value in spark.sparkContext.getConf().getAll()]
    shown += [str(row) for row in spark.sql("SET").collect()]
    shown += [arguments, SparkResource.reaching(*three).settings.explain(), repr(SparkResource.reaching(*three))]
    for lake in three:
        assert lake.secret_access_key not in "\n".join(shown)
    conf = platform_defaults(ENVIRONMENTS["local"], scratch=tmp_path)
    assert "account[.]key" in conf["spark.redaction.regex"]


def test_drivers_are_asked_for_by_the_lakes_that_need_them_and_not_on_platforms() -> None:
    asked = SparkResource.reaching(S3(bucket="b")).settings
    assert f"org.apache.hadoop:hadoop-aws:{HADOOP}" in asked.values()["spark.jars.packages"]
    assert "hadoop" not in SparkSettings(environ={}).values()["spark.jars.packages"]
    emr = SparkSettings(environ={}, environment=ENVIRONMENTS["emr"], packages=asked.packages)
    assert "spark.jars.packages" not in emr.values()


def test_the_drivers_are_of_the_hadoop_that_pyspark_brings() -> None:
    import pyspark

    jars = Path(pyspark.__file__).parent / "jars"
    assert [jar.name for jar in jars.glob("hadoop-client-api-*.jar")] == [f"hadoop-client-api-{HADOOP}.jar"]


def test_the_jar_was_built_from_the_source_beside_it() -> None:
    source = sha256((LOG_STORE.parent / "ConditionalLogStore.java").read_bytes()).hexdigest()
    with zipfile.ZipFile(LOG_STORE) as jar:
        assert f"Source-SHA-256: {source}" in jar.read("META-INF/MANIFEST.MF").decode(), "run .ci/logstore"
        assert jar.namelist() == ["META-INF/MANIFEST.MF", "fuse_dagster/ConditionalLogStore.class"]
