"""Every connector has its page, of one shape, with every setting and with profiles that load."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

from fuse_dagster import load_profile
from fuse_dagster.app.connecting import describe
from fuse_dagster.connectors import BUILTIN, connectors
from fuse_dagster.connectors.lake import Lake
from fuse_dagster_tests.docs.pages import PAGES, ROOT, blocks

HEADINGS = [
    "Ways to log in",
    "Permissions",
    "Settings",
    "Spark",
    "How the tests prove it",
    "What they don't prove",
]


def shown(page: Path) -> str:
    """A page as the site shows it, with the tables that derive from the code."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from tables import on_page_markdown
    finally:
        sys.path.remove(str(ROOT / "docs"))
    return str(on_page_markdown(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", list(BUILTIN))
def test_every_connector_has_a_page_of_the_same_shape(name: str) -> None:
    page = PAGES / "connectors" / f"{name}.md"
    found = re.findall(r"^## (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    if issubclass(connectors.load(name), Lake):
        assert found == HEADINGS
    else:  # it may have more to say, and of Spark only what takes its place
        assert [one for one in found if one in HEADINGS and one != "Spark"] == [h for h in HEADINGS if h != "Spark"]
    languages = [block.language for block in blocks(page)]
    assert {"python", "yaml", "bash"} <= set(languages), "an example in Python, in a profile, on the command line"


@pytest.mark.parametrize("name", list(BUILTIN))
def test_every_setting_of_a_connector_is_on_its_page(name: str) -> None:
    text = shown(PAGES / "connectors" / f"{name}.md")
    fields = describe(name).fields
    assert fields
    for field in fields:
        assert f"| `{field.name}` |" in text
        assert field.description in text


@pytest.mark.parametrize("name", list(BUILTIN))
def test_the_profiles_of_a_page_load(name: str, tmp_path: Path) -> None:
    texts = [block.text for block in blocks(PAGES / "connectors" / f"{name}.md") if block.title == "fuse.yaml"]
    assert texts
    for text in texts:
        (tmp_path / "fuse.yaml").write_text(text, encoding="utf-8")
        for chosen in yaml.safe_load(text)["profiles"]:
            profile = load_profile(chosen, start=tmp_path)
            assert {connection.type for connection in profile.connections.values()} == {name}
            assert not profile.warnings


def test_the_overview_leads_to_every_page() -> None:
    overview = shown(PAGES / "storage.md")
    for name in BUILTIN:
        assert f"](connectors/{name}.md)" in overview


def test_the_guide_shows_the_whole_package_that_the_tests_install() -> None:
    text = shown(PAGES / "connectors" / "writing-one.md")
    package = ROOT / "fuse_dagster_tests" / "packages" / "seaweedfs"
    files = [file for pattern in ("*.py", "*.toml") for file in package.rglob(pattern) if file.name != "__init__.py"]
    assert len(files) == 5
    for file in files:
        assert file.read_text(encoding="utf-8").rstrip() in text, file
