"""A connector of another package, as the guide shows it: built and installed by pip, found by its entry point."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuse_dagster_tests.servers.s3 import S3Server

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "fuse_dagster_tests" / "packages" / "seaweedfs"

PROFILE = """\
default: dev
profiles:
  dev:
    secrets:
      netrc: {{file: "{folder}/netrc"}}
    connections:
      lake:
        type: seaweedfs
        bucket: lake
        prefix: of-another-package
        endpoint: http://127.0.0.1:{port}
        allow_http: true
        access_key: netrc://s3.internal#login
        secret_key: netrc://s3.internal#password
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has put the package, built from its sources."""
    target = tmp_path_factory.mktemp("site")
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(target), str(PACKAGE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def python(installed: Path, s3: S3Server, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a module in a process that has the package, in a folder with a profile."""
    (tmp_path / "fuse.yaml").write_text(PROFILE.format(folder=tmp_path, port=s3.port))
    (tmp_path / "netrc").write_text("machine s3.internal login lake-key-id password lake-signing-key\n")
    path = os.pathsep.join([str(installed), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "SEAWEEDFS_ENDPOINT": f"http://127.0.0.1:{s3.port}"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", *words]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def fuse(python: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Any]:
    """Runs a verb, which has to end well, and gives its answer."""

    def run(*words: str) -> Any:
        done = python("fuse_dagster.app.cli", *words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)["result"]

    return run


def test_the_connector_is_listed_with_its_package_and_version(fuse: Callable[..., Any]) -> None:
    found = {one["name"]: one for one in fuse("connectors", "list")}
    ours = found["seaweedfs"]
    assert (ours["package"], ours["version"]) == ("fuse-dagster-seaweedfs", "1.2.0")
    assert {"list", "read", "write", "delete"} <= set(ours["capabilities"])
    assert found["local"]["package"] == "fuse-dagster"


def test_a_profile_uses_it_and_the_store_of_secrets_beside_it(fuse: Callable[..., Any]) -> None:
    (row,) = fuse("connections", "list")["connections"]
    assert row == {"connection": "lake", "type": "seaweedfs", "root": "s3://lake/of-another-package"}
    steps = fuse("connections", "test", "lake", "--write")["steps"]
    assert all(step["ok"] for step in steps)
    assert steps[0]["what"] == "resolve `access_key` (netrc://s3.internal#login)"
    assert "read it" in {step["what"] for step in steps}


@pytest.mark.slow
def test_it_keeps_the_contract_that_the_package_inherits(
    python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    chosen = ["-q", "-p", "no:cacheprovider", "-m", "not slow", "--rootdir", str(PACKAGE)]
    done = python("pytest", *chosen, "--import-mode=importlib", str(PACKAGE / "tests"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
    assert int(done.stdout.splitlines()[-1].split()[0]) > 50, done.stdout
