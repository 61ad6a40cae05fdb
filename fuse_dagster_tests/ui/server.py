"""`dagster dev` on the demo, in a process of its own, and the GraphQL that the web UI speaks with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 400.0  # seconds; what a slow machine with other work may need, no claim about speed

T = TypeVar("T")

RUNS = """
query Runs($filter: RunsFilter!) {
  runsOrError(filter: $filter, limit: 50) {
    ... on Runs { results { runId status jobName tags { key value } assetSelection { path } } }
  }
}
"""
PARTITIONS = """
query Partitions($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode { partitionKeys } }
}
"""
LOADED = """
query Loaded { workspaceOrError { ... on Workspace { locationEntries {
  locationOrLoadError { ... on PythonError { message } }
} } } }
"""
LINEAGE = """
query Lineage($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode { assetMaterializations(limit: 1) { metadataEntries {
    label
    ... on TableColumnLineageMetadataEntry { lineage { columnName columnDeps { assetKey { path } columnName } } }
  } } } }
}
"""


@dataclass(frozen=True)
class DagsterDev:
    """A running `dagster dev`.

    Attributes:
        url: Where the web UI is served.
        landing: The demo's landing folder.
        lake: The demo's lake.
    """

    url: str
    landing: Path
    lake: Path

    def ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        """Send a GraphQL query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", data=body, headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def runs(self, **wanted: Any) -> list[dict[str, Any]]:
        """The newest runs that match a filter, such as `tags` or `pipelineName`."""
        return self.ask(RUNS, {"filter": wanted})["runsOrError"]["results"]

    def partitions(self, *path: str) -> list[str]:
        """The partition keys of an asset."""
        return self.ask(PARTITIONS, {"key": {"path": list(path)}})["assetNodeOrError"]["partitionKeys"]

    def column_lineage(self, *path: str) -> dict[str, list[tuple[str, str]]]:
        """Column -> (asset, column) pairs, of the latest materialization."""
        node = self.ask(LINEAGE, {"key": {"path": list(path)}})["assetNodeOrError"]
        entries = node["assetMaterializations"][0]["metadataEntries"]
        [entry] = [entry for entry in entries if entry["label"] == "dagster/column_lineage"]
        return {
            column["columnName"]: [
                ("/".join(dependency["assetKey"]["path"]), dependency["columnName"])
                for dependency in column["columnDeps"]
            ]
            for column in entry["lineage"]
        }

    def until_finished(self, before: set[str], **wanted: Any) -> dict[str, Any]:
        """Wait for a run that was not there before and matches, to its end."""

        def finished() -> dict[str, Any] | None:
            new = [run for run in self.runs(**wanted) if run["runId"] not in before]
            done = [run for run in new if run["status"] in {"SUCCESS", "FAILURE", "CANCELED"}]
            return done[-1] if done else None

        return until(finished, f"a new run with {wanted} has finished")


def until(look: Callable[[], T | None], what: str) -> T:
    """Look again and again until there is something.

    Raises:
        AssertionError: There is nothing after a long time.
    """
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(1)
    raise AssertionError(f"waited {PATIENCE:.0f} s in vain until {what}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=5):
            return True
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@contextmanager
def dagster_dev(root: Path) -> Iterator[DagsterDev]:
    """Run the demo below `root`, and serve it."""
    env = os.environ | {
        "FUSE_DEMO_ROOT": str(root),
        "DAGSTER_HOME": str(root / "dagster_home"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    demo = [sys.executable, "-m", "fuse_dagster.definitions.demo"]
    done = subprocess.run(demo, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    workspace = root / "workspace.yaml"
    location = Path(__file__).with_name("location.py")
    workspace.write_text(
        f"load_from:\n  - python_file:\n      relative_path: {location}\n      working_directory: {ROOT}\n"
        "      location_name: fuse_dagster\n",
        encoding="utf-8",
    )
    port = _free_port()
    command = [sys.executable, "-m", "dagster", "dev", "--workspace", str(workspace)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    log = root / "dagster_dev.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=output, stderr=output, stdin=subprocess.DEVNULL, start_new_session=True
        )
        try:
            served = DagsterDev(url=f"http://127.0.0.1:{port}", landing=root / "landing", lake=root / "lake")
            until(lambda: _answers(served.url) or process.poll() is not None, "the web UI answers")
            assert process.poll() is None, log.read_text(encoding="utf-8")
            [location] = served.ask(LOADED, {})["workspaceOrError"]["locationEntries"]
            assert "message" not in location["locationOrLoadError"], location
            yield served
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask `dagster dev` to stop, then end whatever of its session is left."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    with suppress(ProcessLookupError):  # all of it has ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
