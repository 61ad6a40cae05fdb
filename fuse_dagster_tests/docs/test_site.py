"""The documentation is whole: it builds, names what there is, and nothing that there isn't."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fuse_dagster
from fuse_dagster import tables
from fuse_dagster.app.cli import exits
from fuse_dagster.connectors import connectors
from fuse_dagster.secrets import stores
from fuse_dagster_tests.docs.pages import PAGES, ROOT, blocks, written


def _documented() -> set[str]:
    """Names that a page of the reference shows with their docstring."""
    found: set[str] = set()
    for page in (PAGES / "reference").glob("*.md"):
        found |= {
            line.split(".")[-1] for line in re.findall(r"^::: (\S+)", page.read_text(encoding="utf-8"), re.MULTILINE)
        }
    return found


@pytest.mark.parametrize("name", sorted({*fuse_dagster.__all__, *tables.__all__} - {"WriteMode"}))
def test_every_public_name_is_in_the_reference(name: str) -> None:
    assert name in _documented()


@pytest.mark.parametrize("name", connectors.names)
def test_every_connector_is_in_the_reference(name: str) -> None:
    assert connectors.load(name).__name__ in _documented()


@pytest.mark.parametrize("scheme", stores.names)
def test_every_store_of_secrets_is_documented(scheme: str) -> None:
    assert f"| `{scheme}://" in (PAGES / "secrets.md").read_text(encoding="utf-8")
    assert stores.load(scheme).__name__ in _documented()


def test_every_target_of_make_that_is_named_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in written():
        shell = "\n".join(block.text for block in blocks(page) if block.language == "bash")
        inline = "\n".join(re.findall(r"`(make [a-z-]+)", page.read_text(encoding="utf-8")))
        named = set(re.findall(r"\bmake ([a-z-]+)", shell + "\n" + inline))
        assert named <= targets, f"{page.name} names {sorted(named - targets)}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_to_files_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    command += ["--config-file", "docs/mkdocs.yml", "--site-dir", str(tmp_path / "site")]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "reference" / "tables.html").exists()


def test_every_verb_and_exit_code_of_the_command_line_is_listed() -> None:
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        from tables import TABLES  # the hook of the site
    finally:
        sys.path.remove(str(ROOT / "docs"))
    listed = TABLES["verbs"]()
    assert "| `fuse tables vacuum` | List the files" in listed
    page = (PAGES / "command-line.md").read_text(encoding="utf-8")
    assert "<!-- table: verbs -->" in page
    assert "<!-- table: exit_codes -->" in page
    assert all(f"| {code} | `{kind}` |" in TABLES["exit_codes"]() for kind, code in exits.CODES.items())
