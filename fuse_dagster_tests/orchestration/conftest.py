from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fuse_dagster_tests.orchestration.helpers import Lake

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(root=tmp_path / "lake")
