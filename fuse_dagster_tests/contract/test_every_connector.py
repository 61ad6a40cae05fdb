"""A connector that is registered is held to the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuse_dagster.connectors import BUILTIN, Connector, connectors
from fuse_dagster.connectors.database import Database
from fuse_dagster.connectors.lake import Lake

CONNECTORS = Path(__file__).parents[1] / "connectors"


@pytest.mark.parametrize("name", list(BUILTIN))
def test_every_connector_inherits_the_contract_suite(name: str) -> None:
    text = (CONNECTORS / f"test_{name}.py").read_text(encoding="utf-8")
    kind = connectors.load(name)
    suites = {Lake: "LakeContract", Database: "DatabaseContract", Connector: "ConnectorContract"}
    suite = next(suite for base, suite in suites.items() if issubclass(kind, base))
    assert f"({suite}" in text
