from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from fuse_dagster.connectors import BUILTIN, connectors
from fuse_dagster.connectors.base import Connector
from fuse_dagster.core.errors import ConfigError, MissingExtraError
from fuse_dagster.core.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GROUP = "fuse_dagster.connectors"

MODULE = """
from typing import Literal
from fuse_dagster.connectors.lake import Lake

class Tape(Lake):
    type: Literal["tape"] = "tape"
    def uri(self, *parts: str) -> str:
        return "tape://" + "/".join(parts)

class Unrelated: ...
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, str]], None]:
    """Put a package with entry points on the import path, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "tape_module.py").write_text(MODULE)
    monkeypatch.delitem(sys.modules, "tape_module", raising=False)

    def put(package: str, points: dict[str, str]) -> None:
        info = tmp_path / f"{package.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "\n".join(f"{name} = {target}" for name, target in points.items())
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}\n")

    return put


def registry() -> Registry[Connector]:
    return Registry(GROUP, Connector, BUILTIN)  # type: ignore[type-abstract]


def test_every_built_in_line_loads_the_class_of_its_name() -> None:
    for name in BUILTIN:
        loaded = connectors.load(name)
        assert loaded.model_fields["type"].default == name
        assert connectors.line(name).package == "fuse-dagster"


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    lazy: Registry[Connector] = Registry(GROUP, Connector, {"far": "fuse_dagster_no_such:X"})  # type: ignore[type-abstract]
    assert "far" in lazy.names
    with pytest.raises(MissingExtraError, match=r'needs the package .* pip install "fuse-dagster\[far\]"'):
        lazy.load("far")


def test_another_package_adds_a_connector(install: Callable[[str, dict[str, str]], None]) -> None:
    install("acme-tape", {"tape": "tape_module:Tape"})
    assert registry().names == tuple(sorted([*BUILTIN, "tape"]))
    assert registry().load("tape")().uri("a") == "tape://a"  # type: ignore[call-arg]


def test_two_packages_that_claim_one_name_are_an_error_that_names_both(
    install: Callable[[str, dict[str, str]], None],
) -> None:
    install("acme-tape", {"tape": "tape_module:Tape"})
    install("zeta-tape", {"tape": "tape_module:Tape", "local": "tape_module:Tape"})
    with pytest.raises(ConfigError) as caught:
        registry().load("local")
    assert "`local` is claimed by `fuse-dagster` and `zeta-tape`" in str(caught.value)
    assert "`tape` is claimed by `acme-tape` and `zeta-tape`" in str(caught.value)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("tape_module:Unrelated", "no subclass of `Connector`"),
        ("tape_module:Gone", "there is no `Gone`"),
    ],
)
def test_an_entry_point_that_leads_nowhere_names_its_package(
    install: Callable[[str, dict[str, str]], None], target: str, why: str
) -> None:
    install("acme-tape", {"tape": target})
    with pytest.raises(ConfigError, match=f"`acme-tape` registers `tape`.*{why}"):
        registry().load("tape")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"No .* is named `locl`. Did you mean `local`"):
        connectors.load("locl")
