from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from fuse_dagster import Volume
from fuse_dagster.connectors import volumes
from fuse_dagster.core.errors import ConfigError, StoreError
from fuse_dagster.testing.connectors import LakeContract, ListContract, ReadContract, WriteContract
from fuse_dagster_tests.contract.databricks import DatabricksContract, MountedContract
from fuse_dagster_tests.contract.files import ShownFilesContract
from fuse_dagster_tests.servers.databricks import VOLUME

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuse_dagster_tests.servers.databricks import Workspace


class TestVolume(LakeContract, ListContract, ReadContract, WriteContract, ShownFilesContract):
    """In a folder that stands for the workspace: tables lie there, too."""

    @pytest.fixture
    def connector(self, tmp_path: Path) -> Volume:
        return Volume(name=VOLUME, prefix="in/here", stand_in=str(tmp_path))

    @pytest.fixture
    def put(self, tmp_path: Path) -> Callable[[str, bytes], None]:
        def write(path: str, data: bytes) -> None:
            place = tmp_path / "Volumes/main/raw/landing/in/here" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)

        return write


class TestVolumeByItsAPI(DatabricksContract):
    kind = Volume
    place: ClassVar = {"name": VOLUME}

    def test_a_volume_that_is_not_there_is_told(self, other: Callable[..., Any]) -> None:
        lake = other(name="main.raw.landign")
        for act in (lambda: list(lake.list()), lambda: lake.write("a", b"1")):
            with pytest.raises(StoreError, match=r"not there\. Check `name` for a typing error"):
                act()

    def test_a_listing_of_many_pages_is_whole(self, connector: Volume, put: Any, fake: Workspace) -> None:
        for number in range(7):
            put(f"many/{number}", b"1")
        fake.page = 3
        assert [entry.path for entry in connector.list("many")] == [f"many/{number}" for number in range(7)]

    def test_a_file_that_the_api_does_not_take_is_not_sent(
        self, connector: Volume, fake: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(volumes, "LARGEST", 10)
        connector.write("small", b"0123456789")
        with pytest.raises(StoreError, match=r"would have `11` bytes, and the Files API takes `10`"):
            connector.write("large", b"0123456789a")
        assert not connector.exists("large")


class TestVolumeAsMounted(MountedContract):
    kind = Volume
    place: ClassVar = {"name": VOLUME}


@pytest.mark.parametrize("name", ["landing", "raw.landing", "main..landing", "/Volumes/main/raw/landing", "a.b.c d"])
def test_what_names_no_volume_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"`\$\.name`: .* Valid: catalog, schema and volume"):
        Volume(name=name)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"token": "t", "profile": "p"}, r"`\$\.profile`: `token` is given as well"),
        ({"client_id": "i"}, r"`\$\.client_secret`: `client_id` of a service principal"),
        ({"stand_in": "/tmp", "host": "https://x"}, r"`\$\.stand_in`: `host` is given as well"),
        ({"host": "dbc.cloud.databricks.com"}, r"`\$\.host`: It is no URL"),
        ({"timeout": 0}, r"`\$\.timeout`"),
        ({"prefix": "../x"}, r"`\$\.prefix`"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Volume(**{"name": VOLUME, **fields})
