"""`fuse.yaml`: found, read with line numbers, inherited, and filled with variables."""

from __future__ import annotations

from fuse_dagster.core.profiles.choosing import FILE, VARIABLE, Chosen, choose, find, names
from fuse_dagster.core.profiles.problems import Problem, Problems, ProfileError
from fuse_dagster.core.profiles.tree import Node
from fuse_dagster.core.profiles.variables import Origin

__all__ = [
    "FILE",
    "VARIABLE",
    "Chosen",
    "Node",
    "Origin",
    "Problem",
    "Problems",
    "ProfileError",
    "choose",
    "find",
    "names",
]
