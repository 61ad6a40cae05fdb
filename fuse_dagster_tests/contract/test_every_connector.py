"""A connector that is registered is held to the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuse_dagster.connectors import BUILTIN

CONNECTORS = Path(__file__).parents[1] / "connectors"


@pytest.mark.parametrize("name", list(BUILTIN))
def test_every_connector_inherits_the_contract_suite(name: str) -> None:
    assert "(ConnectorContract" in (CONNECTORS / f"test_{name}.py").read_text(encoding="utf-8")
