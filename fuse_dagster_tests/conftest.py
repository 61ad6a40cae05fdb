"""What holds for every test: no telemetry, no deadlines, and in CI no skips."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from pyspark.sql import SparkSession
    from xdist.remote import Producer

    from fuse_dagster_tests.servers.kafka import KafkaServer
    from fuse_dagster_tests.servers.mariadb import MariaDBServer
    from fuse_dagster_tests.servers.postgres import PostgresServer
    from fuse_dagster_tests.sharing import Scheduling

# They have tests of their own, which run where they are installed.
collect_ignore = ["packages"]

pytest.register_assert_rewrite("fuse_dagster.testing.connectors", "fuse_dagster.testing.object_stores")

os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
# A test that needs an instance makes its own; none may find the one of whoever runs the tests.
os.environ.pop("DAGSTER_HOME", None)
# Nor may what is printed depend on a terminal, whose width workers of pytest are told.
os.environ.pop("COLUMNS", None)

# Sessions of Spark live for a few small queries: a JVM that compiles all of its code a second time, and better, takes
# half as much time again.
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")

IN_CI = os.environ.get("CI", "").lower() == "true"

# No test asserts a time, so no example has a deadline. In CI the examples are the same in every run.
hypothesis.settings.register_profile("here", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", parent=hypothesis.settings.get_profile("here"), derandomize=True)
hypothesis.settings.load_profile("ci" if IN_CI else "here")


def _fail_instead_of_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """In CI a part that is missing is a fault of the machine's setup, never a reason to say nothing."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        where = report.longrepr
        reason = where[2] if isinstance(where, tuple) else str(where)
        report.outcome = "failed"
        report.longrepr = f"Skipped in CI, where everything must be there. {reason}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling | None:
    """Where several processes share the tests by files, what needs a JVM shares more."""
    if config.getoption("dist") != "loadfile":
        return None
    from fuse_dagster_tests.sharing import Scheduling

    config.option.loadscopereorder = False  # by the number of tests; how long they take is said there
    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the longest begin, where several processes share the tests."""
    if not hasattr(config, "workerinput"):
        return
    from fuse_dagster_tests.sharing import group_of, ranks

    groups = [group_of(item.nodeid) for item in items]
    rank = ranks(groups, [item.get_closest_marker("slow") is not None for item in items])
    order = sorted(range(len(items)), key=lambda number: (rank[groups[number]], groups[number]))
    items[:] = [items[number] for number in order]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_instead_of_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_instead_of_skip(report)
    return report


@pytest.fixture(autouse=True)
def secrets_of_its_own() -> Iterator[None]:
    """What was a secret to one test is none to the next, in whose output it would be masked wherever it stands."""
    from fuse_dagster.secrets.resolving import apart

    with apart():
        yield


@pytest.fixture(scope="session")
def spark() -> SparkSession:
    """One Spark session with Delta, and the drivers of all lakes, for all tests: starting one costs many seconds."""
    from fuse_dagster.connectors.hadoop import ABFS_PACKAGES, S3A_PACKAGES
    from fuse_dagster.core.errors import MissingExtraError
    from fuse_dagster.engines.spark.session import spark_session
    from fuse_dagster.engines.spark.settings import SparkSettings

    here = {"FUSE_SPARK_ENVIRONMENT": "local"}
    try:
        return spark_session(SparkSettings(environ=here, packages=(*S3A_PACKAGES, *ABFS_PACKAGES)))
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def postgres() -> Generator[PostgresServer]:
    """One PostgreSQL for all tests, each of which makes a database of its own."""
    from fuse_dagster_tests.servers.postgres import missing, postgres_server

    if why := missing():
        pytest.skip(why)
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Generator[MariaDBServer]:
    """One MariaDB for all tests, each of which makes a database of its own."""
    from fuse_dagster_tests.servers.mariadb import mariadb_server, missing

    if why := missing():
        pytest.skip(why)
    with mariadb_server() as server:
        yield server


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """One broker for all tests: starting one costs many seconds."""
    pytest.importorskip("confluent_kafka")
    from fuse_dagster_tests.servers.certificate import certificate
    from fuse_dagster_tests.servers.kafka import kafka_server, missing

    if reason := missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("kafka")
    with kafka_server(folder / "server", certificate(folder)) as server:
        yield server
