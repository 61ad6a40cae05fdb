"""`file:///path`: a file, as Kubernetes and Docker mount secrets."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from fuse_dagster.secrets.reference import Reference
from fuse_dagster.secrets.store import Store, malformed, unresolved

LARGEST = 1024 * 1024
"""Bytes: a larger file is no secret, but a wrong path."""


class File(Store):
    """Files that hold one secret each. One line end after it is no part of it."""

    example: ClassVar[str] = "file:///run/secrets/s3_key"

    ttl: float = Field(default=0.0, ge=0, description="Seconds until it is read again; reading costs little.")

    def check(self, reference: Reference) -> None:
        """Refuse a path that depends on where the process was started.

        Raises:
            ConfigError: The path is relative, or an option is unknown.
        """
        super().check(reference)
        if not reference.path.startswith(("/", "~/")):
            raise malformed(reference, self)

    def fetch(self, reference: Reference) -> str:
        """Read the file.

        Raises:
            SecretError: It is absent, unreadable, too large or no text.
        """
        path = Path(reference.path).expanduser()
        try:
            if path.stat().st_size > LARGEST:
                raise unresolved(reference, f"the file is larger than {LARGEST} bytes", "Check the path.")
            data = path.read_bytes()
        except FileNotFoundError:
            check = "Check the path, and that the volume with the secret is mounted here."
            raise unresolved(reference, "there is no such file", check) from None
        except OSError as error:
            check = "Check that it is a file, and that the user of this process may read it."
            raise unresolved(reference, f"it can't be read (`{type(error).__name__}`)", check) from None
        text = _decoded(data)
        if text is None:
            raise unresolved(reference, "the file is no text in UTF-8", "Store the secret as text.")
        return text.removesuffix("\n").removesuffix("\r")


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:  # which holds the data: it must not travel along
        return None
