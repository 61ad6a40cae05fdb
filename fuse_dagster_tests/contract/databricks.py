"""What files of a Databricks workspace keep, by whichever API; inherited by the test of each connector."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from fuse_dagster import DeltaIOManager, write_file
from fuse_dagster.app.cli.program import app
from fuse_dagster.connectors import databricks
from fuse_dagster.connectors.databricks import DatabricksFiles
from fuse_dagster.core.errors import ConfigError, FuseError, StoreError, StoreUnavailableError
from fuse_dagster.engines.local.reading import scan
from fuse_dagster.tables import Append, Upsert, write
from fuse_dagster.testing.connectors import ListContract, ReadContract, WriteContract, content
from fuse_dagster.testing.object_stores import LONGEST, BigFileContract
from fuse_dagster_tests.contract.files import FilesContract
from fuse_dagster_tests.servers.databricks import CLIENT, SECRET, TOKEN, Workspace, workspace


class DatabricksContract(ListContract, ReadContract, BigFileContract, FilesContract):
    """Inherit it, and give `kind` and the fields that say the place.

    Attributes:
        kind: The class of the connector.
        place: Its fields, without a login.
    """

    kind: ClassVar[type[DatabricksFiles]]
    place: ClassVar[Mapping[str, str]]

    @pytest.fixture
    def fake(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
        for name in os.environ:
            if name.startswith("DATABRICKS_"):
                monkeypatch.delenv(name)
        monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "databrickscfg"))
        folder = tmp_path / "workspace"
        folder.mkdir()
        with workspace(folder) as started:
            yield started

    @pytest.fixture
    def other(self, fake: Workspace) -> Callable[..., Any]:
        """Makes connectors to one folder, with some fields changed."""
        fields = {"prefix": "in a folder", "host": fake.address, "token": TOKEN, "retry_timeout": 5.0, **self.place}
        return lambda **changed: self.kind(**fields | changed)

    @pytest.fixture
    def connector(self, other: Callable[..., Any]) -> Any:
        return other()

    @pytest.fixture
    def put(self, fake: Workspace, connector: DatabricksFiles) -> Callable[[str, bytes], None]:
        def write(path: str, data: bytes) -> None:
            place = fake.place(f"{connector.address.removeprefix('dbfs:')}/{path}")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)

        return write

    def test_fuse_read_shows_a_file(
        self, connector: DatabricksFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_file(connector, "in/rows.csv", pl.DataFrame({"n": [1, 2]}))
        monkeypatch.setenv("WORKSPACE_TOKEN", TOKEN)
        fields = connector.model_dump() | {"token": "env://WORKSPACE_TOKEN"}
        (tmp_path / "fuse.yaml").write_text(json.dumps({"profiles": {"dev": {"connections": {"landing": fields}}}}))
        monkeypatch.chdir(tmp_path)
        shown = CliRunner().invoke(app, ["read", "landing", "in/rows.csv", "--where", "n > 1", "--json"])
        assert json.loads(shown.stdout)["result"]["rows"] == [{"n": 2}], shown.stdout
        assert json.loads(shown.stdout)["result"]["uri"] == connector.uri("in", "rows.csv")
        absent = CliRunner().invoke(app, ["read", "landing", "in/absent.csv", "--json"])
        assert "There is nothing at `dbfs:" in json.loads(absent.stdout)["error"]["message"]

    def test_each_login_comes_in(
        self, other: Callable[..., Any], fake: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "databrickscfg").write_text(f"[team]\nhost = {fake.address}\ntoken = {TOKEN}\n")
        principal = {"token": "", "client_id": CLIENT, "client_secret": SECRET}
        for name, fields in {"p": principal, "f": {"host": "", "token": "", "profile": "team"}}.items():
            other(**fields).write(name, b"1")
        assert "POST /oidc/v1/token" in fake.asked
        monkeypatch.setenv("DATABRICKS_HOST", fake.address)
        monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
        assert [entry.path for entry in other(host="", token="").list()] == ["f", "p"]

    def test_a_token_of_oauth_that_ran_out_is_renewed(self, other: Callable[..., Any], fake: Workspace) -> None:
        fake.lifetime = 2
        lake = other(token="", client_id=CLIENT, client_secret=SECRET)
        lake.write("a", b"1")
        time.sleep(2.2)
        assert content(lake, "a") == b"1"
        assert fake.asked.count("POST /oidc/v1/token") >= 2

    @pytest.mark.parametrize(
        ("fields", "error", "said"),
        [
            ({"token": "planted-canary"}, StoreError, "refused to these credentials.* `host`, the login"),
            (
                {"token": "", "client_id": CLIENT, "client_secret": "planted-canary"},
                StoreError,
                "refused to these credentials",
            ),
            ({"token": "", "host": "", "profile": "nobody"}, StoreError, "refused to these credentials"),
            ({"host": "http://127.0.0.1:1"}, StoreUnavailableError, "can't be reached. Check `host`, DNS"),
            ({"host": "http://no-such-host.invalid"}, StoreUnavailableError, "can't be reached"),
        ],
        ids=["token", "principal", "profile", "port", "host"],
    )
    def test_what_fails_says_in_time_what_to_check(
        self, other: Callable[..., Any], fields: dict[str, str], error: type[FuseError], said: str
    ) -> None:
        lake = other(**fields, retry_timeout=2.0)
        for act in (lambda: list(lake.list()), lambda: lake.exists("a"), lambda: lake.write("a", b"1")):
            began = time.monotonic()
            with pytest.raises(error, match=said) as caught:
                act()
            assert time.monotonic() - began < LONGEST
            assert "canary" not in f"{caught.value} {caught.value.__cause__}"

    def test_who_may_not_is_told_so(self, connector: Any, fake: Workspace) -> None:
        fake.forbidden = True
        for act in (lambda: list(connector.list()), lambda: connector.write("a", b"1"), lambda: connector.open("a")):
            with pytest.raises(StoreError, match="refused to these credentials"):
                act()

    def test_a_busy_workspace_is_asked_again(self, connector: Any, fake: Workspace) -> None:
        fake.busy = 1
        connector.write("a", b"1")
        fake.busy = 1
        assert content(connector, "a") == b"1"

    def test_one_that_stays_busy_is_an_error_to_try_again(self, other: Callable[..., Any], fake: Workspace) -> None:
        fake.busy = 10_000
        with pytest.raises(StoreUnavailableError, match="slow down"):
            other(retry_timeout=2.0).write("a", b"1")

    def test_a_secret_that_changed_in_its_store_is_fetched_anew(
        self, other: Callable[..., Any], tmp_path: Path
    ) -> None:
        secret = tmp_path / "secret"
        secret.write_text("an old one")
        lake = other(token=f"file://{secret}")
        with pytest.raises(StoreError):
            lake.write("a", b"1")
        secret.write_text(TOKEN)
        lake.write("a", b"1")
        assert content(lake, "a") == b"1"

    def test_a_file_that_is_replaced_while_it_is_read_is_no_mixture(self, connector: Any) -> None:
        connector.write("big", b"a" * 20_000_000)
        with connector.open("big") as file:
            assert file.read(10) == b"a" * 10
            time.sleep(1.1)  # the Files API tells changes by the second
            connector.write("big", b"b" * 20_000_000)
            with pytest.raises(StoreUnavailableError, match="replaced while it was read"):
                file.read()

    def test_a_table_is_refused_before_anything_is_written(
        self, connector: Any, fake: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        before = sorted(tmp_path.rglob("*"))
        table, frame = connector.uri("table"), pl.DataFrame({"k": [1]})
        said = r"`dbfs:/.*/table` is an address that only Spark opens .* `stand_in` folder"
        assert connector.storage_options() == {}
        for mode in (Append(), Upsert(keys=["k"])):
            with pytest.raises(ConfigError, match=said):
                write(table, frame, mode)
        with pytest.raises(ConfigError, match=said):
            scan(table)

        @dg.asset
        def numbers() -> pl.DataFrame:
            return frame

        done = dg.materialize([numbers], resources={"io_manager": DeltaIOManager(lake=connector)}, raise_on_error=False)
        assert not done.success
        assert sorted(tmp_path.rglob("*")) == before
        assert not [each for each in fake.asked if not each.startswith(("GET", "HEAD"))]


class MountedContract(ListContract, ReadContract, WriteContract):
    """On a cluster, whose folders a folder of this machine stands for; `kind` and `place` as above."""

    kind: ClassVar[type[DatabricksFiles]]
    place: ClassVar[Mapping[str, str]]

    @pytest.fixture
    def connector(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr(databricks, "MOUNTS", tmp_path)
        monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "16.4")
        lake = self.kind(**self.place)
        (tmp_path / lake.mounted_as).mkdir(parents=True)
        return lake

    @pytest.fixture
    def put(self, connector: Any, tmp_path: Path) -> Callable[[str, bytes], None]:
        def write(path: str, data: bytes) -> None:
            place = tmp_path / connector.mounted_as / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)

        return write

    def test_what_is_cut_off_leaves_what_was_there(self, connector: Any) -> None:
        class Broken(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                raise ConnectionResetError(size)

        connector.write("a", b"old")
        with pytest.raises(ConnectionResetError):
            connector.write("a", Broken())
        assert content(connector, "a") == b"old"
        assert [entry.path for entry in connector.list()] == ["a"]

    def test_a_table_is_spark_s_there_too(self, connector: Any) -> None:
        assert connector.uri("table").startswith("dbfs:/")
        with pytest.raises(ConfigError, match="only Spark opens"):
            write(connector.uri("table"), pl.DataFrame({"a": [1]}), Append())
        assert list(connector.list()) == []

    def test_a_login_that_is_given_goes_to_the_api(self, connector: Any) -> None:
        lake = type(connector)(**self.place, host="http://127.0.0.1:1", token="t", retry_timeout=1.0)
        with pytest.raises(StoreUnavailableError):
            lake.exists("a")
