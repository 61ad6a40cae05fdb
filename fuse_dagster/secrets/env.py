"""`env://NAME`: an environment variable."""

from __future__ import annotations

import os
from typing import ClassVar

from pydantic import Field

from fuse_dagster.core.naming import did_you_mean
from fuse_dagster.secrets.reference import Reference
from fuse_dagster.secrets.store import Store, malformed, unresolved


class Env(Store):
    """Environment variables of this process."""

    example: ClassVar[str] = "env://S3_SECRET_KEY"

    ttl: float = Field(default=0.0, ge=0, description="Seconds until it is read again; reading costs nothing.")

    def check(self, reference: Reference) -> None:
        """Refuse what can't be a variable's name.

        Raises:
            ConfigError: The path has a `/`, a `=` or a blank, or an option is unknown.
        """
        super().check(reference)
        if set(reference.path) & set("/= "):
            raise malformed(reference, self)

    def fetch(self, reference: Reference) -> str:
        """Read the variable.

        Raises:
            SecretError: It is not set.
        """
        name = reference.path
        if name not in os.environ:
            near = did_you_mean(name, os.environ).partition(" Valid:")[0]
            hint = f" {near}" if near.startswith("Did") else ""
            check = f"Set it where this process starts, or in the `.env` beside `fuse.yaml`.{hint}"
            raise unresolved(reference, f"there is no environment variable `{name}`", check)
        return os.environ[name]
