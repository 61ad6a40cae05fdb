"""A connector that is registered is held to the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuse_dagster.connectors import BUILTIN, Connector, connectors
from fuse_dagster.connectors.database import Database
from fuse_dagster.connectors.lake import Lake

CONNECTORS = Path(__file__).parents[1] / "connectors"
PAGES = Path(__file__).parents[2] / "docs" / "pages" / "connectors"
NOT_LIVE = {"mssql": "A live SQL Server"}
"""Databases that no test can start: they keep what can be kept without, and their page says so in these words."""


@pytest.mark.parametrize("name", list(BUILTIN))
def test_every_connector_inherits_the_contract_suite(name: str) -> None:
    text = (CONNECTORS / f"test_{name}.py").read_text(encoding="utf-8")
    kind = connectors.load(name)
    suites = {Lake: "LakeContract", Database: "DatabaseContract", Connector: "ConnectorContract"}
    suite = next(suite for base, suite in suites.items() if issubclass(kind, base))
    if name in NOT_LIVE:
        gap = (PAGES / f"{name}.md").read_text(encoding="utf-8").partition("## What they don't prove")[2]
        assert NOT_LIVE[name] in gap
        suite = "ConnectorContract"
    assert f"({suite}" in text
