"""What the code location holds, reviewed in one file: `snapshot.json`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from fuse_dagster.definitions import defs

SNAPSHOT = Path(__file__).parent / "snapshot.json"

SPECS = sorted(defs.resolve_all_asset_specs(), key=lambda spec: spec.key)


def inventory() -> dict[str, Any]:
    """Everything that a user of the code location can see or start, in an order that does not change."""
    repository = defs.get_repository_def()
    checks: dict[str, list[str]] = {}
    for key in sorted(repository.asset_graph.asset_check_keys):
        checks.setdefault(key.asset_key.to_user_string(), []).append(key.name)
    return {
        "assets": {
            spec.key.to_user_string(): {
                "group": spec.group_name,
                "owners": list(spec.owners),
                "tags": {name: tag for name, tag in sorted(spec.tags.items()) if not name.startswith("dagster/")},
                "kinds": sorted(spec.kinds),
                "partitions": None if spec.partitions_def is None else type(spec.partitions_def).__name__,
                "checks": checks.get(spec.key.to_user_string(), []),
            }
            for spec in SPECS
        },
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        "schedules": {each.name: [each.cron_schedule, each.job_name] for each in repository.schedule_defs},
        "sensors": {each.name: each.default_status.value for each in repository.sensor_defs},
        "resources": sorted(name for name in repository.get_top_level_resources()),
    }


def test_the_snapshot_is_what_the_code_location_holds() -> None:
    """Run with `FUSE_WRITE_SNAPSHOT=1` to write the file again; then review what changed in it."""
    found = json.dumps(inventory(), indent=2, sort_keys=True) + "\n"
    if os.environ.get("FUSE_WRITE_SNAPSHOT"):
        SNAPSHOT.write_text(found, encoding="utf-8")
    assert found == SNAPSHOT.read_text(encoding="utf-8")


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.key.to_user_string())
def test_every_asset_is_described_owned_tagged_and_checked(spec: dg.AssetSpec) -> None:
    assert spec.description
    assert spec.owners == ["team:data-platform"]
    assert spec.group_name == spec.key.path[0]
    assert spec.tags["layer"] == ("bronze" if spec.group_name == "public" else spec.group_name)
    assert "deltalake" in spec.kinds
    assert inventory()["assets"][spec.key.to_user_string()]["checks"]
    if spec.group_name == "gold":
        assert spec.freshness_policy is not None


def test_every_table_has_one_writer_at_a_time() -> None:
    pools: dict[str, set[str]] = {}
    for asset in defs.get_repository_def().assets_defs_by_key.values():
        assert asset.op.pool, f"{asset.key} has no pool"
        pools.setdefault(asset.op.pool, set()).add(asset.op.name)
    assert all(len(writers) == 1 for writers in pools.values()), "a pool belongs to one step"
    settings = yaml.safe_load(Path("dagster.yaml").read_text(encoding="utf-8"))
    assert settings["concurrency"]["pools"] == {"default_limit": 1, "granularity": "op"}


def test_dagster_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "--workspace", "workspace.yaml"],
        env=os.environ | {"DAGSTER_HOME": str(tmp_path), "FUSE_DEMO_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert list(tmp_path.rglob("*.csv*")) == [], "loading definitions delivers nothing"
