from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fuse_dagster import Local
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.testing.connectors import LakeContract, ListContract, ReadContract, WriteContract
from fuse_dagster_tests.contract.files import ShownFilesContract

if TYPE_CHECKING:
    from collections.abc import Callable


class TestLocal(LakeContract, ListContract, ReadContract, WriteContract, ShownFilesContract):
    @pytest.fixture
    def connector(self, tmp_path: Path) -> Local:
        return Local(root=str(tmp_path / "lake"))

    @pytest.fixture
    def put(self, tmp_path: Path) -> Callable[[str, bytes], None]:
        def write(path: str, data: bytes) -> None:
            place = tmp_path / "lake" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)

        return write


def test_a_relative_root_starts_at_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Local(root="lake/../lake").uri("a") == str(tmp_path / "lake" / "a")


def test_a_root_below_home_is_expanded() -> None:
    assert Local(root="~/lake").uri("a") == str(Path.home() / "lake" / "a")


def test_a_root_that_delta_rs_cannot_open_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"root .*100%.* delta-rs can't open"):
        Local(root=str(tmp_path / "100%")).uri("a")
