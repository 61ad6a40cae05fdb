"""The demo keeps its tables in a store where a profile says so: nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fuse_dagster.connectors.base import CanList
from fuse_dagster.connectors.local import Local
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.profiles import ProfileError
from fuse_dagster.definitions.demo.project import demo_definitions
from fuse_dagster.definitions.demo.settings import Places, lake
from fuse_dagster.testing import assert_frames_equal
from fuse_dagster_tests.definitions.conftest import Project, materialized
from fuse_dagster_tests.servers.azurite import ACCOUNT, CONTAINER, KEY, azurite_server, missing
from fuse_dagster_tests.servers.s3 import s3_server


@pytest.fixture
def s3_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3_server(tmp_path / "s3") as server:
        monkeypatch.setenv("FUSE_DEMO_BUCKET", "lake")
        monkeypatch.setenv("FUSE_DEMO_ENDPOINT", f"http://127.0.0.1:{server.port}")
        monkeypatch.setenv("FUSE_DEMO_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "lake-key-id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "lake-signing-key")
        yield "s3"


@pytest.fixture
def adls_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if reason := missing():
        pytest.skip(reason)
    with azurite_server(tmp_path / "azurite") as server:
        monkeypatch.setenv("FUSE_DEMO_ACCOUNT", ACCOUNT)
        monkeypatch.setenv("FUSE_DEMO_CONTAINER", CONTAINER)
        monkeypatch.setenv("FUSE_DEMO_ENDPOINT", server.endpoint)
        monkeypatch.setenv("FUSE_DEMO_ALLOW_HTTP", "true")
        monkeypatch.setenv("FUSE_DEMO_ACCOUNT_KEY", KEY)
        yield "adls"


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["s3_profile", "adls_profile"])
def test_every_table_is_the_same_in_a_store(
    fixture: str,
    project: Project,
    another_project: Project,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FUSE_PROFILE", request.getfixturevalue(fixture))
    places = another_project.places
    store = lake(places)
    away = Project(places=places, defs=demo_definitions(places, lake=store), instance=another_project.instance)
    local, stored = materialized(project, Local(root=str(project.places.lake))), materialized(away, store)
    assert sorted(local) == sorted(stored)
    for name, frame in local.items():
        assert_frames_equal(stored[name], frame)
    assert isinstance(store, CanList)
    assert any(entry.path.endswith(".parquet") for entry in store.list())
    assert not places.lake.exists()


def test_a_profile_of_ones_own_goes_before_the_demo_s(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "fuse.yaml"
    mine.write_text("profiles: {s3: {connections: {lake: {type: local, root: mine}, raw: {type: local}}}}")
    chosen = lake(places, "s3")
    assert isinstance(chosen, Local)
    assert chosen.root == "mine"
    mine.write_text("profiles: {s3: {connections: {lakes: {type: local}}}}")
    with pytest.raises(ConfigError, match=r"The profile `s3` of `.*` has no connection `lake`\. Did you mean `lakes`"):
        lake(places, "s3")


def test_without_a_profile_the_tables_lie_in_the_folder(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FUSE_PROFILE", raising=False)
    chosen = lake(places)
    assert isinstance(chosen, Local)
    assert chosen.root == str(places.lake)


def test_what_the_demo_s_profiles_lack_is_said_at_once(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProfileError, match="`FUSE_DEMO_ACCOUNT` is not set") as failure:
        lake(places, "adls")
    assert [problem.path.rsplit(".", 1)[-1] for problem in failure.value.problems] == ["account", "container"]
    with pytest.raises(ProfileError, match="Did you mean `gcs`"):
        lake(places, "gsc")
    monkeypatch.setenv("FUSE_DEMO_BUCKET", "lake")
    assert lake(places, "s3").uri("gold") == "s3://lake/fuse-demo/gold"
    assert lake(places, "gcs").uri("gold") == "gs://lake/fuse-demo/gold"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(
        landing=tmp_path / "landing", lake=tmp_path / "lake", dagster_home=tmp_path / "home", board=tmp_path / "board"
    )
