"""What the repository holds, and what it must never hold."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

from fuse_dagster_tests.house.source import ROOT, files, imported, package_modules, texts

AT_THE_TOP = {
    "pyproject.toml",
    "workspace.yaml",
    "dagster.yaml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CODE_OF_CONDUCT.md",
    "Makefile",
    "fuse_dagster",
    "fuse_dagster_tests",
    "docs",
}

# Each is written in two parts, so that this file doesn't hold what it looks for.
NEVER = [
    re.compile(r"(?<![\w.])/" + r"(?:root|home/\w+|Users/\w+)/"),
    re.compile(re.escape(str(ROOT)) + r"(?![\w-])"),
    re.compile("pypi" + r"\.org/simple|pythonhosted" + r"\.org"),
    re.compile("--(?:extra-)?index" + "-url|--find" + "-links"),
    re.compile("127.0.0.1:" + r"\d+/(?:simple|pypi)"),
]


def _pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_top_folder_holds_what_it_may_hold() -> None:
    top = {path.relative_to(ROOT).parts[0] for path in files()}
    strangers = {name for name in top - AT_THE_TOP if not name.startswith(".")}
    assert not strangers, f"move these into a room: {sorted(strangers)}"


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    found = []
    for path, text in texts():
        for number, line in enumerate(text.splitlines(), start=1):
            found += [f"{path.relative_to(ROOT)}:{number}: {line[:120]}" for never in NEVER if never.search(line)]
    assert not found, "\n".join(found)


def test_the_lock_file_holds_names_and_versions_only() -> None:
    line = re.compile(r"[a-z0-9][a-z0-9.\-]*(\[[a-z,\-]+\])?==[\w.!+]+( ; .+)?")
    for text in (ROOT / ".ci" / "requirements.lock").read_text(encoding="utf-8").splitlines():
        assert line.fullmatch(text), text


def test_the_version_is_one() -> None:
    import fuse_dagster

    version = _pyproject()["project"]["version"]
    assert fuse_dagster.__version__ == version
    assert metadata.version("fuse-dagster") == version
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def _third_party_imports() -> dict[frozenset[str], str]:
    """The distributions that share an imported name, as many share `google` -> a place that imports it."""
    by_module = metadata.packages_distributions()
    found: dict[frozenset[str], str] = {}
    for module in package_modules():
        for node, name in imported(module):
            owners = frozenset(owner.lower().replace("_", "-") for owner in by_module.get(name.partition(".")[0], []))
            if owners and "fuse-dagster" not in owners:
                found.setdefault(owners, module.where(node))
    return found


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", text, maxsplit=1)[0].lower().replace("_", "-") for text in requirements}


def test_what_the_package_imports_is_declared() -> None:
    project = _pyproject()["project"]
    extras = project["optional-dependencies"]
    declared = _names(project["dependencies"])
    for extra, requirements in extras.items():
        if extra not in {"dev", "docs"}:
            declared |= _names(requirements)
    declared.add("botocore")  # whose errors and settings are boto3's
    missing = {where: sorted(owners) for owners, where in _third_party_imports().items() if not owners & declared}
    assert not missing, f"imported and not in pyproject.toml: {missing}"


def test_what_is_required_is_imported() -> None:
    unused = _names(_pyproject()["project"]["dependencies"]) - frozenset().union(*_third_party_imports())
    # tzdata is read by zoneinfo, on machines that have no zones of their own. Arrow is what polars and pandas
    # hand their columns through.
    assert unused <= {"tzdata", "pyarrow"}, f"required and never imported: {sorted(unused)}"


def test_the_wheel_holds_the_types_marker_and_the_demo_data(tmp_path: Path) -> None:
    import subprocess
    import sys
    import zipfile

    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    tracked = {str(path.relative_to(ROOT)) for path in files() if path.is_relative_to(ROOT / "fuse_dagster")}
    assert tracked <= packed, f"left out of the wheel: {sorted(tracked - packed)[:5]}"
    assert "fuse_dagster/py.typed" in packed
    assert not [name for name in packed if name.startswith("fuse_dagster_tests")]
