"""What the shell offers for names that only the project knows; what can't be read offers nothing."""

from __future__ import annotations

from fuse_dagster.core.errors import FuseError
from fuse_dagster.core.profiles import choose, find, names


def profiles(incomplete: str) -> list[str]:
    """Profiles of the nearest `fuse.yaml`."""
    try:
        return [name for name in names(find()) if name.startswith(incomplete)]
    except (FuseError, OSError):
        return []


def connections(incomplete: str) -> list[str]:
    """Connections of the profile that `FUSE_PROFILE` or the file chooses."""
    try:
        return [name for name in choose(find()).connections if name.startswith(incomplete)]
    except (FuseError, OSError):
        return []
