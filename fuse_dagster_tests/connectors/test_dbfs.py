from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from fuse_dagster import DBFS
from fuse_dagster.core.errors import StoreUnavailableError
from fuse_dagster.testing.connectors import (
    LakeContract,
    ListContract,
    ReadContract,
    WriteContract,
    content,
)
from fuse_dagster_tests.contract.databricks import DatabricksContract, MountedContract
from fuse_dagster_tests.contract.files import ShownFilesContract

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuse_dagster_tests.servers.databricks import Workspace


class TestDBFS(LakeContract, ListContract, ReadContract, WriteContract, ShownFilesContract):
    """In a folder that stands for the workspace: tables lie there, too."""

    @pytest.fixture
    def connector(self, tmp_path: Path) -> DBFS:
        return DBFS(prefix="in/here", stand_in=str(tmp_path))

    @pytest.fixture
    def put(self, tmp_path: Path) -> Callable[[str, bytes], None]:
        def write(path: str, data: bytes) -> None:
            place = tmp_path / "dbfs/in/here" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)

        return write


class TestDBFSByItsAPI(DatabricksContract):
    kind = DBFS
    place: ClassVar = {}
    big = 200_000_000  # a request for each of its megabytes, in text

    def test_a_block_that_arrived_twice_is_no_file(self, connector: DBFS, fake: Workspace) -> None:
        connector.write("a", b"old")
        fake.lost = 1
        with pytest.raises(StoreUnavailableError, match="did not arrive as it was sent, so it was left as it was"):
            connector.write("a", b"n" * 3_000_000)
        assert content(connector, "a") == b"old"
        assert [entry.path for entry in connector.list()] == ["a"], "nothing unfinished is left"
        connector.write("a", b"n" * 3_000_000)
        assert content(connector, "a") == b"n" * 3_000_000


class TestDBFSAsMounted(MountedContract):
    kind = DBFS
    place: ClassVar = {}


def test_the_root_itself_is_a_place(tmp_path: Path) -> None:
    assert DBFS().uri("a", "b") == "dbfs:/a/b"
    assert DBFS(stand_in=str(tmp_path)).uri("a") == str(tmp_path / "dbfs" / "a")
