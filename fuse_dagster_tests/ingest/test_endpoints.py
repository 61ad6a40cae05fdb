from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from fuse_dagster import REST
from fuse_dagster.core.errors import ConfigError, FuseError, InputError, SchemaError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.ingest.endpoints import EndpointSource, written
from fuse_dagster.ingest.load import load
from fuse_dagster.ingest.source import Source
from fuse_dagster.tables import Append
from fuse_dagster_tests.servers.rest import Reply, RestServer, rest_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def started() -> Iterator[RestServer]:
    with rest_server() as server:
        yield server


@pytest.fixture
def rest(started: RestServer) -> RestServer:
    started.reset()
    return started


def row(number: int, at: datetime) -> dict[str, Any]:
    return {"id": number, "at": at.isoformat()}


def source(rest: RestServer, *, kind: str = "timestamp", **more: Any) -> EndpointSource:
    paging = {"style": "token", "parameter": "token", "found_at": "next_token"}
    said = {"path": "token/x", "records": "items", "columns": {"id": "int64", "at": kind}, "paging": paging}
    api = REST(base_url=rest.url, allow_http=True, retry_timeout=0.0, endpoints={"flights": said})
    return EndpointSource(**{"api": api, "endpoint": "flights", "cursor": "at", "since": "from", **more})


def ids(table: Path) -> list[int]:
    return sorted(scan(str(table)).collect()["id"].to_list())


def test_what_is_new_comes_once_and_late_rows_come_too(rest: RestServer, tmp_path: Path) -> None:
    """The server ignores `from`, so every row comes again with every load: the worst that an API can do."""
    table, chance = tmp_path / "flights", random.Random(7)
    flights = source(rest, lag=timedelta(minutes=5), until="to")
    assert isinstance(flights, Source)
    at = START
    for number in range(120):
        at += timedelta(seconds=chance.choice([0, 0, 1, 30, 600]))
        rest.rows.append(row(number, at - timedelta(seconds=chance.choice([0, 0, 1, 290]))))
        if chance.random() < 0.08:
            load(flights, table, Append())
            assert ids(table) == [*range(number + 1)]
    load(flights, table, Append())
    assert ids(table) == [*range(120)]
    assert load(flights, table, Append()).written.version is None, "nothing new is no commit"
    said = rest.seen[-1].query
    newest = max(datetime.fromisoformat(one["at"]) for one in rest.rows)
    assert said["from"] == written(newest - timedelta(minutes=5), "iso")
    assert datetime.fromisoformat(said["to"]) > newest


def test_a_page_that_fails_leaves_the_table_and_the_position(rest: RestServer, tmp_path: Path) -> None:
    table, flights = tmp_path / "flights", source(rest, first="2000-01-01")
    rest.rows = [row(number, START + timedelta(seconds=number)) for number in range(15)]
    load(flights, table, Append())
    assert rest.seen[0].query["from"] == "2000-01-01"
    rest.rows += [row(number, START + timedelta(seconds=number)) for number in range(15, 45)]
    rest.lies = {rest.asked + 3: lambda _: Reply(200, {"error": "gone"})}
    with pytest.raises(FuseError):
        load(flights, table, Append())
    assert ids(table) == [*range(15)]
    load(flights, table, Append())
    assert ids(table) == [*range(45)]


@pytest.mark.parametrize(
    ("value", "form", "up", "expected"),
    [
        (START, "iso", False, "2024-06-01T00:00:00Z"),
        (START.replace(microsecond=5), "iso", True, "2024-06-01T00:00:00.000005Z"),
        (START.replace(microsecond=5), "epoch_seconds", False, "1717200000"),
        (START.replace(microsecond=5), "epoch_seconds", True, "1717200001"),
        (START.replace(microsecond=5), "epoch_milliseconds", True, "1717200000001"),
        (START.replace(hour=5), "date", False, "2024-06-01"),
        (START.replace(hour=5), "date", True, "2024-06-02"),
        (START, "date", True, "2024-06-01"),
        (datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "epoch_seconds", False, "-1"),
        (date(2024, 6, 1), "iso", False, "2024-06-01"),
        (17, "iso", False, "17"),
    ],
)
def test_a_watermark_is_written_so_that_no_row_is_missed(value: Any, form: Any, up: bool, expected: str) -> None:
    assert written(value, form, up=up) == expected


def test_a_number_is_a_watermark_too(rest: RestServer, tmp_path: Path) -> None:
    flights = source(rest, cursor="id", since="after")
    rest.rows = [row(number, START) for number in (1, 2, 3)]
    load(flights, tmp_path / "t", Append())
    rest.rows.append(row(4, START))
    load(flights, tmp_path / "t", Append())
    assert ids(tmp_path / "t") == [1, 2, 3, 4]
    assert rest.seen[-1].query["after"] == "3"


def test_what_cannot_be_a_watermark_is_refused(rest: RestServer, tmp_path: Path) -> None:
    table = tmp_path / "t"
    for rows, more, error, words in (
        ([{"id": 1, "at": None}], {}, InputError, "cursor `at` is null"),
        ([row(1, START)], {"kind": "string"}, InputError, "is text, which has no order"),
        ([row(1, datetime(9999, 1, 1, tzinfo=UTC))], {}, InputError, "which is in the future"),
        ([row(1, START)], {"cursor": "att"}, SchemaError, "has no column `att`. Did you mean `at`"),
    ):
        rest.rows = rows
        with pytest.raises(error, match=words):
            load(source(rest, **more), table, Append())
    assert not table.exists() or not list(table.glob("*.parquet"))
    rest.rows = [row(1, START)]
    load(source(rest), table, Append())
    with pytest.raises(InputError, match="by another column than `id`"):
        load(source(rest, cursor="id"), table, Append())
    with rest_server() as other, pytest.raises(ConfigError, match="is now read from"):
        load(source(other), table, Append())
