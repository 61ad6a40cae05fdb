"""What every connector keeps; one class per protocol, inherited by the test of each implementation."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, get_args

import dagster as dg
import polars as pl
import pytest

from fuse_dagster.connectors import Connector, connectors
from fuse_dagster.connectors.base import CanList, CanRead
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.tables import Append, write

if TYPE_CHECKING:
    from collections.abc import Mapping


class ConnectorContract:
    """Inherit it, and give the fixtures `connector` (empty storage) and `put`."""

    def test_it_is_a_resource_registered_under_its_type(self, connector: Connector) -> None:
        assert isinstance(connector, dg.ConfigurableResource)
        assert connectors.load(connector.type) is type(connector)
        assert get_args(type(connector).model_fields["type"].annotation) == (connector.type,)

    def test_a_name_becomes_one_place(self, connector: Connector) -> None:
        assert connector.uri("a", "b") == connector.uri("a", "b")
        assert len({connector.uri("a"), connector.uri("b"), connector.uri("a", "b"), connector.uri("a.b")}) == 4

    @pytest.mark.parametrize(
        "parts", [(), ("",), ("..",), ("a", "."), ("a/b",), ("a\\b",), ("a\n",), ("a%20b",), ("[a]",)]
    )
    def test_a_name_that_could_lead_elsewhere_is_refused(self, connector: Connector, parts: tuple[str, ...]) -> None:
        with pytest.raises(ConfigError, match="can't be part of a path"):
            connector.uri(*parts)

    def test_what_is_written_there_is_read_there(self, connector: Connector) -> None:
        for name in ("plain", "näme with spaces", "a=b", "it's", "a+b~c", "日本"):
            table, options = connector.uri("schema", name), connector.storage_options()
            write(table, pl.DataFrame({"a": [1], "p": ["x y"]}), Append(partition_by=["p"]), storage_options=options)
            write(table, pl.DataFrame({"a": [2], "p": ["x/z"]}), Append(), storage_options=options)
            found = scan(table, storage_options=options, where=pl.col("a") > 0).sort("a").collect()
            assert found.rows() == [(1, "x y"), (2, "x/z")], name

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


class ListContract:
    """For connectors that can list; `put(path, data)` writes a file."""

    def test_files_are_listed_sorted_with_size_and_utc_time(self, connector: CanList, put) -> None:  # type: ignore[no-untyped-def]
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
    """For connectors that can open files."""

    def test_a_file_is_read_byte_for_byte(self, connector: CanRead, put) -> None:  # type: ignore[no-untyped-def]
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
