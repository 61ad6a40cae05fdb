"""What every connector keeps: one class per protocol, to be inherited by the test of each implementation.

`pytest_plugins = ["fuse_dagster.testing.fixtures"]` in the `conftest.py` at the top lets pytest say what differs.
"""

from __future__ import annotations

import io
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, get_args

import dagster as dg
import polars as pl
import pytest

from fuse_dagster import DeltaIOManager
from fuse_dagster.connectors import Connector, connectors
from fuse_dagster.connectors.base import CanDelete, CanList, CanRead, CanWrite
from fuse_dagster.connectors.lake import Lake
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.secrets import secret_fields
from fuse_dagster.tables import (
    Append,
    History,
    Overwrite,
    Upsert,
    adopt,
    as_of,
    compact,
    current,
    maintain,
    rebuild,
    retract,
    vacuum,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.synchronize import Barrier

WRITERS, BATCHES = 6, 3

_together: Barrier | None = None


def moment(day: int) -> datetime:
    """A day of January 2024."""
    return datetime(2024, 1, day, tzinfo=UTC)


def secrets_of(connector: Connector) -> list[str]:
    """The values of the fields that hold secrets, where they are set."""
    return [value for name in secret_fields(type(connector)) if (value := getattr(connector, name))]


def content(connector: CanRead, path: str) -> bytes:
    """All bytes of a file."""
    with connector.open(path) as file:
        return file.read()


def _join(barrier: Barrier) -> None:
    global _together  # noqa: PLW0603 - what a process of the pool is started with
    _together = barrier


def _append(table: str, options: dict[str, str], writer: int) -> list[int]:
    """Append batches, beginning when all writers are there; the versions that were made."""
    assert _together is not None
    _together.wait(timeout=120)
    frame = pl.DataFrame({"writer": [writer] * 3, "row": [0, 1, 2]})
    done = [
        write(table, frame.with_columns(batch=batch), Append(), storage_options=options) for batch in range(BATCHES)
    ]
    return [result.version for result in done if result.version is not None]


class ConnectorContract:
    """For every connector; the fixture `connector` gives one.

    Its package has to be installed, so that its entry point is found.
    """

    def test_it_is_a_resource_registered_under_its_type(self, connector: Connector) -> None:
        assert isinstance(connector, dg.ConfigurableResource)
        assert connectors.load(connector.type) is type(connector)
        assert get_args(type(connector).model_fields["type"].annotation) == (connector.type,)

    def test_a_misspelt_field_is_refused_with_the_nearest(self, connector: Connector) -> None:
        name = next(name for name in type(connector).model_fields if name != "type")
        with pytest.raises(ConfigError, match=rf"`\$\.{name}x`: There is no such field. Did you mean `{name}`\?"):
            type(connector)(**connector.model_dump(), **{f"{name}x": "a"})

    def test_no_secret_shows_in_its_repr(self, connector: Connector) -> None:
        assert not [secret for secret in secrets_of(connector) if secret in f"{connector} {connector!r}"]

    def test_dagsters_ui_masks_what_is_secret(self, connector: Connector) -> None:
        fields = type(connector).to_config_schema().as_field().config_type.fields  # type: ignore[attr-defined]
        assert {name for name, field in fields.items() if field.is_secret} == secret_fields(type(connector))

    def test_every_option_says_why_one_would_set_it(self, connector: Connector) -> None:
        for name, field in type(connector).model_fields.items():
            assert name == "type" or field.description, name

    def test_its_options_survive_as_resource_config(self, connector: Connector) -> None:
        seen: list[Mapping[str, object]] = []

        @dg.asset(required_resource_keys={"lake"})
        def look(context) -> None:  # type: ignore[no-untyped-def]  # Dagster would read a string annotation
            seen.append(context.resources.lake.model_dump())

        assert dg.materialize([look], resources={"lake": connector}).success
        assert seen == [connector.model_dump()]

    def test_it_says_where_it_is_without_a_secret(self, connector: Connector) -> None:
        assert connector.place
        assert not [secret for secret in secrets_of(connector) if secret in connector.place]


class LakeContract(ConnectorContract):
    """For every connector that holds tables; the fixture `connector` gives one to an empty place."""

    def test_a_name_becomes_one_place(self, connector: Lake) -> None:
        assert connector.uri("a", "b") == connector.uri("a", "b")
        assert len({connector.uri("a"), connector.uri("b"), connector.uri("a", "b"), connector.uri("a.b")}) == 4

    @pytest.mark.parametrize(
        "parts", [(), ("",), ("..",), ("a", "."), ("a/b",), ("a\\b",), ("a\n",), ("a%20b",), ("[a]",)]
    )
    def test_a_name_that_could_lead_elsewhere_is_refused(self, connector: Lake, parts: tuple[str, ...]) -> None:
        with pytest.raises(ConfigError, match="can't be part of a path"):
            connector.uri(*parts)

    def test_what_is_written_there_is_read_there(self, connector: Lake) -> None:
        for name in ("plain", "näme with spaces", "a=b", "it's", "a+b~c", "日本"):
            table, options = connector.uri("schema", name), connector.storage_options()
            write(table, pl.DataFrame({"a": [1], "p": ["x y"]}), Append(partition_by=["p"]), storage_options=options)
            write(table, pl.DataFrame({"a": [2], "p": ["x/z"]}), Append(), storage_options=options)
            found = scan(table, storage_options=options, where=pl.col("a") > 0).sort("a").collect()
            assert found.rows() == [(1, "x y"), (2, "x/z")], name

    def test_an_upsert_and_a_history_lie_there(self, connector: Lake) -> None:
        options = connector.storage_options()
        for name, mode in (("upserts", Upsert(keys=["k"])), ("history", History(keys=["k"], effective_column="t"))):
            table = connector.uri("modes", name)
            for day, rows in ((1, [(1, "a"), (2, "b")]), (2, [(1, "a"), (2, "c"), (3, "d")])):
                batch = pl.DataFrame(rows, schema=["k", "v"], orient="row").with_columns(t=pl.lit(moment(day)))
                write(table, batch if name == "history" else batch.drop("t"), mode, storage_options=options)
                again = write(table, batch if name == "history" else batch.drop("t"), mode, storage_options=options)
                assert again.version is None, "what is there already is no commit"
        upserts = scan(connector.uri("modes", "upserts"), storage_options=options).sort("k").collect()
        assert upserts.rows() == [(1, "a"), (2, "c"), (3, "d")]
        history = connector.uri("modes", "history")
        held = as_of(history, moment(1), storage_options=options).sort("k").collect()
        assert held.select("k", "v").rows() == [(1, "a"), (2, "b")]
        now = current(history, storage_options=options).sort("k").collect()
        assert now.select("k", "v").rows() == [(1, "a"), (2, "c"), (3, "d")]
        assert maintain(history, storage_options=options).checkpointed is not None

    def test_a_history_is_cared_for_there(self, connector: Lake) -> None:
        table, options = connector.uri("care", "history"), connector.storage_options()
        mode = History(keys=["k"], effective_column="t")
        days = {1: [(1, "a"), (2, "b")], 2: [(1, "a"), (2, "c")], 3: [(1, "z"), (2, "z"), (3, "z")]}
        batches = [
            pl.DataFrame(rows, schema=["k", "v"], orient="row").with_columns(t=pl.lit(moment(day)))
            for day, rows in days.items()
        ]
        for batch in batches:
            write(table, batch, mode, storage_options=options)
        before = scan(table, storage_options=options).sort("k", "valid_from").collect()
        assert retract(table, moment(3), mode, storage_options=options).version is not None
        assert current(table, storage_options=options).sort("k").collect()["v"].to_list() == ["a", "c"]
        assert rebuild(table, batches, mode, storage_options=options).version is not None
        assert scan(table, storage_options=options).sort("k", "valid_from").collect().equals(before)
        old = connector.uri("care", "adopted")
        write(
            old, before.select("k", "v", "valid_from", "valid_to", "is_current"), Overwrite(), storage_options=options
        )
        assert adopt(old, History(keys=["k"]), storage_options=options).version is not None
        assert current(old, storage_options=options).sort("k").collect()["v"].to_list() == ["z", "z", "z"]

    def test_slices_are_replaced_and_files_looked_after_there(self, connector: Lake) -> None:
        table, options = connector.uri("care", "plain"), connector.storage_options()
        days = pl.DataFrame({"day": [moment(1).date(), moment(2).date()], "n": [1, 2]})
        second = days.filter(n=2).with_columns(n=pl.lit(5, pl.Int64))
        for batch in range(3):
            mode = Append(once="batch", batch_id=f"{batch}")
            write(table, days, mode, storage_options=options)
            assert write(table, days, mode, storage_options=options).version is None
            write(table, second, Overwrite(replace_keys=["day"]), storage_options=options)
        write(table, days, Append(), storage_options=options)
        expected = [1, 1, 1, 1, 2, 5]
        assert compact(table, storage_options=options).files_removed > 1
        assert vacuum(table, dry_run=False, storage_options=options).files == (), "what is young stays"
        assert scan(table, storage_options=options).collect()["n"].sort().to_list() == expected
        assert scan(table, version=0, storage_options=options).collect().height == days.height

    @pytest.mark.slow
    def test_six_writers_at_once_lose_nothing(self, connector: Lake) -> None:
        table, options = connector.uri("shared"), connector.storage_options()
        processes = multiprocessing.get_context("forkserver")
        barrier = processes.Barrier(WRITERS)
        with ProcessPoolExecutor(WRITERS, mp_context=processes, initializer=_join, initargs=(barrier,)) as pool:
            made = [pool.submit(_append, table, options, writer) for writer in range(WRITERS)]
            versions = [version for each in made for version in each.result()]
        assert sorted(versions) == list(range(WRITERS * BATCHES)), "every batch is one commit"
        found = scan(table, storage_options=options).collect()
        expected = [(writer, row, batch) for writer in range(WRITERS) for batch in range(BATCHES) for row in range(3)]
        assert sorted(found.select("writer", "row", "batch").rows()) == sorted(expected)

    def test_assets_are_materialized_there(self, connector: Lake) -> None:
        @dg.asset(key_prefix="bronze")
        def stations() -> pl.DataFrame:
            return pl.DataFrame({"station": ["north", "south"], "height": [12.5, 3.0]})

        @dg.asset(ins={"stations": dg.AssetIn(key=["bronze", "stations"])})
        def heights(stations: pl.LazyFrame) -> pl.DataFrame:
            return stations.select(pl.col("height").sum()).collect()

        resources = {"io_manager": DeltaIOManager(lake=connector)}
        done = dg.materialize([stations, heights], resources=resources)
        assert done.success
        (event,) = done.asset_materializations_for_node("bronze__stations")
        assert event.metadata["dagster/uri"].value == connector.uri("bronze", "stations")
        said = repr([event.event_specific_data for event in done.all_events])
        assert not [secret for secret in secrets_of(connector) if secret in said]
        found = scan(connector.uri("heights"), storage_options=connector.storage_options()).collect()
        assert found.rows() == [(15.5,)]

    def test_spark_is_told_in_settings_of_its_own(self, connector: Lake) -> None:
        assert all(name.startswith("spark.") and value for name, value in connector.spark_conf().items())


class Put(Protocol):
    """Writes a file as others would, without the connector."""

    def __call__(self, path: str, data: bytes, /) -> object:
        """Write `data` to `path` below the connector's root."""


class ListContract:
    """For connectors that can list; the fixture `put` writes files as others would."""

    def test_files_are_listed_sorted_with_size_and_utc_time(self, connector: CanList, put: Put) -> None:
        put("in/b.csv", b"22")
        put("in/sub/c.csv", b"333")
        put("in/a.csv", b"1")
        entries = list(connector.list("in"))
        assert [(entry.path, entry.size) for entry in entries] == [
            ("in/a.csv", 1),
            ("in/b.csv", 2),
            ("in/sub/c.csv", 3),
        ]
        assert all(entry.modified.tzinfo is UTC for entry in entries)
        assert [entry.path for entry in connector.list()] == [entry.path for entry in entries]

    def test_no_folder_lists_as_nothing(self, connector: CanList) -> None:
        assert isinstance(connector, CanList)
        assert list(connector.list("absent")) == []

    def test_a_listing_stays_below_the_root(self, connector: CanList) -> None:
        with pytest.raises(ConfigError):
            list(connector.list("../"))


class ReadContract:
    """For connectors that can open files; the fixture `put` writes them as others would."""

    def test_a_file_is_read_byte_for_byte(self, connector: CanRead, put: Put) -> None:
        assert isinstance(connector, CanRead)
        put("in/a.bin", b"\x00\xff")
        assert connector.exists("in/a.bin")
        assert connector.exists("in")
        with connector.open("in/a.bin") as file:
            assert file.read() == b"\x00\xff"

    def test_an_absent_file_is_not_found(self, connector: CanRead) -> None:
        assert not connector.exists("in/a.bin")
        with pytest.raises(FileNotFoundError):
            connector.open("in/a.bin")


class Disk(CanList, CanRead, CanWrite, CanDelete, Protocol):
    """What `WriteContract` asks for."""


class WriteContract:
    """For connectors that write and delete files."""

    def test_a_file_is_written_replaced_and_deleted(self, connector: Disk) -> None:
        assert isinstance(connector, CanWrite)
        assert isinstance(connector, CanDelete)
        connector.write("out/a.csv", b"first, and longer")
        connector.write("out/a.csv", io.BytesIO(b"second"))
        assert content(connector, "out/a.csv") == b"second"
        connector.delete("out/a.csv")
        assert not connector.exists("out/a.csv")
        connector.delete("out/a.csv")

    @pytest.mark.parametrize(
        "name", ["a b.csv", "näme.csv", "a=b", "day=2024-01-01/x", "it's", "a+b~c", "日本", "a#b&c?"]
    )
    def test_odd_names_are_names(self, connector: Disk, name: str) -> None:
        connector.write(f"odd/{name}", name.encode())
        assert connector.exists(f"odd/{name}")
        assert content(connector, f"odd/{name}") == name.encode()
        assert isinstance(connector, CanList)
        assert [entry.path for entry in connector.list("odd")] == [f"odd/{name}"]

    @pytest.mark.parametrize("name", ["", "..", "a/../b", "a//b", "a\\b", "a\nb"])
    def test_names_that_could_lead_elsewhere_are_refused(self, connector: Disk, name: str) -> None:
        for act in (connector.open, connector.exists, connector.delete, lambda path: connector.write(path, b"")):
            with pytest.raises(ConfigError, match="can't be part of a path"):
                act(name)

    def test_a_file_of_many_parts_is_read_from_anywhere(self, connector: Disk) -> None:
        data = os.urandom(20_000_000)
        connector.write("big", io.BytesIO(data))
        with connector.open("big") as file:
            assert file.seek(-5, io.SEEK_END) == len(data) - 5
            assert file.read() == data[-5:]
            file.seek(8_000_000)
            assert file.read(10_000_000) == data[8_000_000:18_000_000]
            file.seek(0)
            assert file.read() == data
            assert file.read() == b""

    def test_a_stream_that_cannot_be_rewound_is_written(self, connector: Disk) -> None:
        ours, theirs = os.pipe()
        with os.fdopen(ours, "rb") as source:
            with os.fdopen(theirs, "wb") as sink:
                sink.write(b"from a pipe")
            connector.write("piped", source)
        assert content(connector, "piped") == b"from a pipe"

    def test_an_empty_file_is_a_file(self, connector: Disk) -> None:
        connector.write("in/empty", b"")
        assert connector.exists("in/empty")
        assert content(connector, "in/empty") == b""
