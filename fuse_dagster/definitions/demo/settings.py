"""Where the demo keeps its things: one folder, `.demo/` in the current folder unless `FUSE_DEMO_ROOT` names another.

Its tables lie in that folder, too, or in a store that a profile of `fuse.yaml` describes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fuse_dagster.connectors.database import Database
from fuse_dagster.connectors.lake import Lake
from fuse_dagster.connectors.local import Local
from fuse_dagster.connectors.profiles import load_profile
from fuse_dagster.core.errors import ConfigError
from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.core.profiles import FILE, VARIABLE

PROFILES = Path(__file__).with_name(FILE)
"""The demo's own profiles: a bucket or container that a few variables name."""

ENGINES = ("local", "spark")
"""What tables are written by, and SQL models run on."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """The folders of the demo.

    Attributes:
        landing: Where the supplier's files arrive.
        lake: Where the Delta tables lie, unless a profile keeps them in a store.
        dagster_home: Where Dagster keeps runs, events and schedules.
        board: Where the flight board lies, the database that is the second source.
    """

    landing: Path
    lake: Path
    dagster_home: Path
    board: Path


def places() -> Places:
    """Read the places from the environment.

    `FUSE_DEMO_ROOT` moves all of them; `FUSE_DEMO_LANDING`, `FUSE_DEMO_LAKE`, `FUSE_DEMO_BOARD` and `DAGSTER_HOME` move
    one each.

    Returns:
        Absolute paths; none of them need exist.
    """
    root = Path(os.environ.get("FUSE_DEMO_ROOT") or ".demo")
    return Places(
        landing=_place("FUSE_DEMO_LANDING", root / "landing"),
        lake=_place("FUSE_DEMO_LAKE", root / "lake"),
        dagster_home=_place("DAGSTER_HOME", root / "dagster_home"),
        board=_place("FUSE_DEMO_BOARD", root / "board"),
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


def lake(where: Places, profile: str | None = None) -> Lake:
    """Say where the Delta tables lie.

    Args:
        where: The folders, for where no profile is chosen.
        profile: The profile whose connection `lake` is taken; else `FUSE_PROFILE` decides. It stands in the `fuse.yaml`
            of the current folder or of those above it; where there is no such file, in the demo's own.

    Raises:
        ProfileError: The profile can't be loaded.
        ConfigError: It has no connection `lake`, or one that holds no tables.
    """
    if not (profile or os.environ.get(VARIABLE)):
        return Local(root=str(where.lake))
    own = _profiles()
    chosen = load_profile(profile, start=own)
    if "lake" not in chosen.connections:
        known = did_you_mean("lake", chosen.connections)
        raise ConfigError(f"The profile `{chosen.name}` of `{own}` has no connection `lake`. {known}")
    found = chosen.connections["lake"]
    if not isinstance(found, Lake):
        raise ConfigError(
            f"The connection `lake` of `{own}` is a `{found.type}`, which holds no tables. Name one that does."
        )
    return found


def board(profile: str | None = None) -> Database | None:
    """The database that the flight board lies in, where a profile has a connection `board`; else it is the demo's own.

    Args:
        profile: As for `lake`.

    Raises:
        ProfileError: The profile can't be loaded.
        ConfigError: Its connection `board` is no database.
    """
    if not (profile or os.environ.get(VARIABLE)):
        return None
    found = load_profile(profile, start=(own := _profiles())).connections.get("board")
    if found is not None and not isinstance(found, Database):
        raise ConfigError(
            f"The connection `board` of `{own}` is a `{found.type}`, which is no database. Name one, as `postgres`."
        )
    return found


def _profiles() -> Path:
    """The `fuse.yaml` of the current folder or of those above it; the demo's own where there is none."""
    here = Path.cwd()
    return next((folder / FILE for folder in (here, *here.parents) if (folder / FILE).is_file()), PROFILES)


def _place(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default).absolute()


def instance_settings() -> Path:
    """Find the `dagster.yaml` of the project: beside the package in a checkout, inside it where it was installed."""
    package = Path(__file__).parents[2]
    candidates = (package.parent / "dagster.yaml", package / "definitions" / "dagster.yaml")
    return next(path for path in candidates if path.is_file())
