"""What every object store keeps when the network or the store itself fails; inherited by the test of each."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

import dagster as dg
import polars as pl
import pytest

from fuse_dagster import DeltaIOManager, DeltaTables, secrets
from fuse_dagster.connectors.object_store import ObjectStore
from fuse_dagster.core.errors import CredentialsError, OutcomeUnknownError, StoreUnavailableError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.secrets import secret_fields
from fuse_dagster.tables import Append, History, Overwrite, Upsert, WriteMode, write
from fuse_dagster_tests.servers.faults import COMMIT, Fault, Kind
from fuse_dagster_tests.servers.proxy import FaultyProxy
from fuse_dagster_tests.soak import SOAK
from fuse_dagster_tests.tables.faults.feeds import FEEDS
from fuse_dagster_tests.tables.faults.kills import check_kills
from fuse_dagster_tests.tables.faults.places import Place, check_whole
from fuse_dagster_tests.tables.faults.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from fuse_dagster_tests.servers.vault import VaultServer

PASSING = {
    "latency": Fault("late", times=3, seconds=0.3),
    "resets": Fault("reset", times=2),
    "half an upload": Fault("half sent", "PUT"),
    "half a download": Fault("half answered", "GET"),
    "a lost answer": Fault("lost"),
    "429": Fault("refused", times=2, status=429, retry_after=3),
    "503": Fault("refused", times=2, status=503, retry_after=3),
    "a trickle": Fault("trickled", "GET", seconds=0.02),
}
"""What a client has to get over, by its name."""

LASTING = {
    "resets": Fault("reset", times=10_000),
    "half downloads": Fault("half answered", "GET", times=10_000),
    "lost answers": Fault("lost", times=10_000),
    "503": Fault("refused", times=10_000, retry_after=1),
    "silence": Fault("silent", times=10_000),
}
"""What nobody gets over."""

WAYS = ("append", "upsert", "overwrite", "history")
PATIENT = {"connect_timeout": 5.0, "timeout": 20.0, "retry_timeout": 20.0}
HASTY = {"connect_timeout": 1.0, "timeout": 1.0, "retry_timeout": 0.5}
LONGEST = 30
"""Seconds that a failure may take where the fields ask for 1: a minute is what goes on behind one's back."""
CASES = [
    *((fault, WAYS[number % len(WAYS)]) for number, fault in enumerate(PASSING) if fault != "a lost answer"),
    *(("a lost answer", name) for name in WAYS),
]
"""Each fault with one way to write, and the one that invites to write twice with all of them."""
KILLED = 8 * SOAK
"""Batches that are applied by writers that get killed, about one each."""
BIG = 9_000_000
"""Bytes of a file that is sent and read in several parts."""


def batch(number: int) -> pl.DataFrame:
    """Five keys of which one is new and all change with the number."""
    return pl.DataFrame({"k": range(number, number + 5), "v": [f"{number}"] * 5})


def modes(number: int) -> dict[str, WriteMode]:
    """Each way to write one batch, of which none minds to be repeated."""
    at = datetime(2024, 1, 1 + number, tzinfo=UTC)
    return {
        "append": Append(once="batch", batch_id=f"{number}"),
        "upsert": Upsert(keys=["k"]),
        "overwrite": Overwrite(),
        "history": History(keys=["k"], effective_at=at, max_delete_fraction=None),
    }


def expected(name: str, count: int) -> list[Any]:
    """Sorted rows of a table after so many batches."""
    batches = [batch(number).rows() for number in range(count)]
    if name == "append":
        return sorted(row for rows in batches for row in rows)
    if name == "upsert":
        return sorted({key: value for rows in batches for key, value in rows}.items())
    return sorted(batches[-1]) if batches else []


def check_batches(name: str, place: Place, count: int) -> None:
    """The table is whole, and each batch is in it once."""
    rows = place.rows()
    assert place.version() == count - 1, "every batch is one commit"
    if name == "history":
        stated = Counter(key for number in range(count) for key in batch(number)["k"])
        assert Counter(rows["k"]) == stated, "a version for each batch that a key was in"
        rows = rows.filter(pl.col("valid_to").is_null())
    assert sorted(rows.select("k", "v").rows()) == expected(name, count)
    check_whole(place)


class StoreFaultsContract:
    """For object stores whose `other(**fields)` makes a connector to the same one with some fields changed.

    `wrong_credentials` are the fields to change for the store to refuse.
    """

    wrong_credentials: ClassVar[Mapping[str, str]]

    @pytest.fixture
    def proxy(self, connector: ObjectStore, proxy_before: Callable[[int], FaultyProxy]) -> Iterator[FaultyProxy]:
        found = proxy_before(urlsplit(connector.endpoint).port or 0)
        found.calm()
        yield found
        found.calm()

    @pytest.fixture
    def through(
        self, connector: ObjectStore, other: Callable[..., ObjectStore], proxy: FaultyProxy
    ) -> Callable[..., ObjectStore]:
        """Makes connectors to the same place by way of the proxy."""
        port = urlsplit(connector.endpoint).port
        return lambda **fields: other(endpoint=connector.endpoint.replace(f":{port}", f":{proxy.port}"), **fields)

    @pytest.mark.parametrize("fault", PASSING)
    def test_files_get_over_what_passes(
        self, fault: str, connector: ObjectStore, through: Callable[..., ObjectStore], proxy: FaultyProxy
    ) -> None:
        lake, data = through(**PATIENT), os.urandom(BIG)
        connector.write("in/small", b"1")
        connector.write("in/big", data)
        acts: dict[str, Callable[[], object]] = {
            "list": lambda: [entry.path for entry in lake.list("in")] == ["in/big", "in/small"],
            "exists": lambda: lake.exists("in/small") and not lake.exists("in/none"),
            "read": lambda: lake.open("in/small").read() == b"1",
            "read in parts": lambda: lake.open("in/big").read() == data,
            "write": lambda: lake.write("out/small", b"2") is None and connector.open("out/small").read() == b"2",
            "write in parts": lambda: lake.write("out/big", data) is None and connector.open("out/big").read() == data,
            "delete": lambda: lake.delete("out/small") is None and not connector.exists("out/small"),
        }
        happened = 0
        for name, act in acts.items():
            proxy.calm()
            proxy.cause(PASSING[fault])
            assert act(), name
            happened += proxy.happened
        assert happened

    @pytest.mark.parametrize(("fault", "name"), CASES)
    def test_tables_get_over_what_passes_and_hold_each_batch_once(
        self, fault: str, name: str, connector: ObjectStore, through: Callable[..., ObjectStore], proxy: FaultyProxy
    ) -> None:
        options, place = through(**PATIENT).storage_options(), Place(connector.uri("t"), connector.storage_options())
        write(place.uri, batch(0), modes(0)[name], storage_options=options)
        on_commit = PASSING[fault].kind not in {"half answered", "trickled"}
        proxy.calm()
        once = replace(PASSING[fault], request=COMMIT, times=1)
        proxy.cause(once if on_commit else PASSING[fault])
        try:
            write(place.uri, batch(1), modes(1)[name], storage_options=options)
        except StoreUnavailableError:
            # A commit is not sent twice by the client, so that a broken connection may end it: then it is not there.
            assert fault == "resets"
            assert place.version() == 0
            write(place.uri, batch(1), modes(1)[name], storage_options=options)
        assert proxy.happened
        commits = [one for one in proxy.seen if re.match(COMMIT, one.line)]
        assert commits
        assert all(one.only_new for one in commits), "no commit may replace another one"
        proxy.calm()
        proxy.cause(PASSING[fault])
        read = scan(place.uri, storage_options=options).collect()
        assert sorted(read.rows(), key=repr) == sorted(place.rows().rows(), key=repr)
        check_batches(name, place, 2)

    @pytest.mark.parametrize("fault", LASTING)
    def test_what_lasts_is_an_error_in_time_and_harms_nothing(
        self, fault: str, connector: ObjectStore, through: Callable[..., ObjectStore], proxy: FaultyProxy
    ) -> None:
        lake = through(**HASTY)
        options, place = lake.storage_options(), Place(connector.uri("t"), connector.storage_options())
        connector.write("in/small", b"1")
        write(place.uri, batch(0), Upsert(keys=["k"]), storage_options=place.options)
        frame = scan(place.uri, storage_options=options)
        acts: dict[str, Callable[[], object]] = {
            "list": lambda: list(lake.list("in")),
            "read": lambda: lake.open("in/small").read(),
            "write": lambda: lake.write("out", b"2"),
            "scan": lambda: scan(place.uri, storage_options=options),
            "upsert": lambda: write(place.uri, batch(1), Upsert(keys=["k"]), storage_options=options),
            "collect": frame.collect,  # polars' own error: nobody stands between it and who collects
        }
        if fault == "half downloads":
            del acts["write"]
        for name, act in acts.items():
            proxy.calm()
            proxy.cause(LASTING[fault])
            began = time.monotonic()
            with pytest.raises(OSError if name == "collect" else StoreUnavailableError):
                act()
            assert time.monotonic() - began < LONGEST, name
            assert proxy.happened
        proxy.calm()
        assert connector.open("in/small").read() == b"1"
        check_batches("upsert", place, 1)
        assert write(place.uri, batch(1), Upsert(keys=["k"]), storage_options=options).version == 1
        check_batches("upsert", place, 2)

    @pytest.mark.parametrize("name", list(modes(0)))
    def test_a_commit_that_cannot_be_looked_up_is_unknown_and_never_repeated(
        self, name: str, connector: ObjectStore, through: Callable[..., ObjectStore], proxy: FaultyProxy
    ) -> None:
        options, place = through(**HASTY).storage_options(), Place(connector.uri("t"), connector.storage_options())
        write(place.uri, batch(0), modes(0)[name], storage_options=options)
        proxy.calm()
        proxy.lose_next(then_gone=True)
        with pytest.raises(OutcomeUnknownError, match="look for `"):
            write(place.uri, batch(1), modes(1)[name], storage_options=options)
        proxy.calm()
        check_batches(name, place, 2)
        write(place.uri, batch(1), modes(1)[name], storage_options=options)
        assert sorted(place.rows()["k"].unique()) == list(range(1 if name == "overwrite" else 0, 6))

    @pytest.mark.slow
    def test_in_a_storm_no_batch_is_lost_and_none_stands_twice(
        self, connector: ObjectStore, through: Callable[..., ObjectStore], proxy: FaultyProxy
    ) -> None:
        options = through(connect_timeout=2.0, timeout=5.0, retry_timeout=5.0).storage_options()
        kinds: tuple[Kind, ...] = ("reset", "half sent", "half answered", "lost", "refused")
        storm = [Fault(kind, times=10_000, share=0.06) for kind in kinds]
        places, happened = {name: Place(connector.uri(name), connector.storage_options()) for name in modes(0)}, 0
        for number in range(3):
            for name, place in places.items():
                landed = False
                while not landed:
                    proxy.calm()
                    proxy.cause(*storm)
                    try:
                        write(place.uri, batch(number), modes(number)[name], storage_options=options)
                        landed = True
                    except OutcomeUnknownError:
                        landed = place.version() == number
                    except StoreUnavailableError:
                        assert place.version() == number - 1, "an error that says no more: nothing landed"
                    happened += proxy.happened
                assert place.version() == number
        assert happened > 10
        for name, place in places.items():
            check_batches(name, place, 3)

    @pytest.mark.slow
    def test_killed_writers_leave_the_old_table_or_the_new(self, connector: ObjectStore) -> None:
        place = Place(connector.uri("killed"), connector.storage_options())
        check_kills(place, "snapshots", applies=KILLED, pause=(0.0, 0.2))

    @pytest.mark.parametrize("client", ["files", "log", "data"])
    def test_pauses_between_tries_are_jittered(
        self, client: str, connector: ObjectStore, through: Callable[..., ObjectStore], proxy: FaultyProxy
    ) -> None:
        lake = through(connect_timeout=5.0, timeout=5.0, retry_timeout=8.0)
        table, options = connector.uri("t"), lake.storage_options()
        write(table, batch(0), Append(), storage_options=options)
        frame = scan(table, storage_options=options)
        act: Callable[[], object] = {
            "files": lambda: lake.exists("a"),
            "log": lambda: scan(table, storage_options=options),
            "data": frame.collect,
        }[client]
        rounds = []
        for _ in range(2):
            proxy.calm()
            proxy.cause(Fault("refused", times=4, retry_after=60))
            act()
            times = [one.at for one in proxy.seen][:5]
            rounds.append([later - earlier for earlier, later in pairwise(times)])
        assert all(len(pauses) == 4 for pauses in rounds)
        assert all(min(pauses) > 0.03 for pauses in rounds), "it pauses"
        assert any(abs(one - two) > 0.005 for one, two in zip(*rounds, strict=True)), "never twice in step"
        # Said so in the documentation: none of the clients waits as long as the store asks.
        assert all(max(pauses) < 60 for pauses in rounds)

    def test_a_commit_with_unknown_outcome_is_not_repeated_with_new_secrets(
        self,
        connector: ObjectStore,
        through: Callable[..., ObjectStore],
        proxy: FaultyProxy,
        tmp_path: Path,
    ) -> None:
        (field, *_) = secret_fields_of(connector)
        secret = tmp_path / "secret"
        secret.write_text(getattr(connector, field))
        lake = through(**HASTY, **{field: f"file://{secret}"})

        @dg.asset(metadata={"write": {"mode": "append"}})
        def rows() -> pl.DataFrame:
            return batch(0)

        def materialize() -> dg.ExecuteInProcessResult:
            return dg.materialize([rows], resources={"io_manager": DeltaIOManager(lake=lake)}, raise_on_error=False)

        assert materialize().success
        proxy.calm()
        proxy.cause(Fault("lost", COMMIT, then=Fault("refused", times=1_000_000, status=403)))
        failed = materialize()
        proxy.calm()
        (event,) = failed.get_step_failure_events()
        assert event.step_failure_data.error is not None
        assert event.step_failure_data.error.cause is not None
        assert "OutcomeUnknownError" in event.step_failure_data.error.cause.to_string()
        place = Place(connector.uri("rows"), connector.storage_options())
        assert place.version() == 1
        assert place.rows().height == 2 * batch(0).height

    @pytest.mark.slow
    def test_six_writers_of_one_history_lose_nothing(self, connector: ObjectStore) -> None:
        place, feed = Place(connector.uri("shared"), connector.storage_options()), FEEDS["snapshots"]
        shares = [list(range(first, 18, 6)) for first in range(6)]
        with ExitStack() as stack:
            workers = [stack.enter_context(Worker()) for _ in shares]
            for worker, numbers in zip(workers, shares, strict=True):
                worker.order(place, feed.name, numbers)
            assert [worker.finish() for worker in workers] == shares
        assert feed.found(place.rows()) == feed.expected(range(18))
        assert place.version() == 17, "every batch is one commit"

    def test_tables_ask_once_more_with_a_secret_that_was_rotated(
        self, connector: ObjectStore, other: Callable[..., ObjectStore], vault: VaultServer
    ) -> None:
        (field, wrong), *_ = self.wrong_credentials.items()
        path = connector.uri("a").rpartition("/")[0].rpartition("/")[2]
        reference = f"vault://secret/{path}#key"
        lake = other(**{field: reference})

        def rotate() -> None:
            """Let this process hold a value that the store refuses, while the vault has the one that is good."""
            vault.put(path, key=wrong)
            secrets.forget(reference)
            assert secrets.resolve(reference) == wrong
            vault.put(path, key=getattr(connector, field))

        @dg.asset
        def stations() -> pl.DataFrame:
            return pl.DataFrame({"station": ["north", "south"]})

        def materialize() -> bool:
            return dg.materialize([stations], resources={"io_manager": DeltaIOManager(lake=lake)}).success

        vault.put(path, key=wrong)
        with pytest.raises(CredentialsError):
            materialize()
        for _ in range(2):
            rotate()
            assert materialize()
        rotate()
        assert DeltaTables(lake=lake).read("stations").collect().height == 2
        found = scan(connector.uri("stations"), storage_options=connector.storage_options()).collect()
        assert found.height == 2


def secret_fields_of(connector: ObjectStore) -> list[str]:
    """The fields with secrets that are set."""
    return [name for name in secret_fields(type(connector)) if getattr(connector, name)]
