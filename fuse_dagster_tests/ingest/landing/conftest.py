"""What tests of landing folders share."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuse_dagster_tests.ingest.landing.folders import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "landing")
