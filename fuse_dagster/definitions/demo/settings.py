"""Where the demo keeps its things: one folder, `.demo/` in the current folder unless `FUSE_DEMO_ROOT` names another."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean

ENGINES = ("local", "spark")
"""What tables are written by, and SQL models run on."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """The three folders of the demo.

    Attributes:
        landing: Where the supplier's files arrive.
        lake: Where the Delta tables lie.
        dagster_home: Where Dagster keeps runs, events and schedules.
    """

    landing: Path
    lake: Path
    dagster_home: Path


def places() -> Places:
    """Read the places from the environment.

    `FUSE_DEMO_ROOT` moves all three; `FUSE_DEMO_LANDING`, `FUSE_DEMO_LAKE` and `DAGSTER_HOME` move one each.

    Returns:
        Absolute paths; none of them need exist.
    """
    root = Path(os.environ.get("FUSE_DEMO_ROOT") or ".demo")
    return Places(
        landing=_place("FUSE_DEMO_LANDING", root / "landing"),
        lake=_place("FUSE_DEMO_LAKE", root / "lake"),
        dagster_home=_place("DAGSTER_HOME", root / "dagster_home"),
    )


def engine(chosen: str | None = None) -> str:
    """Which of `ENGINES` the demo runs on.

    Args:
        chosen: On the command line; else the variable `FUSE_DEMO_ENGINE` decides, and `local` without it.

    Raises:
        ConfigError: There is no such engine.
    """
    name = chosen or os.environ.get("FUSE_DEMO_ENGINE") or ENGINES[0]
    if name not in ENGINES:
        raise ConfigError(f"`{name}` is no engine of the demo. {did_you_mean(name, ENGINES)}")
    return name


def _place(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default).absolute()


def instance_settings() -> Path:
    """Find the `dagster.yaml` of the project: beside the package in a checkout, inside it where it was installed."""
    package = Path(__file__).parents[2]
    candidates = (package.parent / "dagster.yaml", package / "definitions" / "dagster.yaml")
    return next(path for path in candidates if path.is_file())
