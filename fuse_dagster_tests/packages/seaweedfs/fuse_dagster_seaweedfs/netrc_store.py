"""`netrc://host#password`: the file in which `curl` and `git` look for logins, too."""

from collections.abc import Mapping
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from fuse_dagster.secrets import Reference, Store
from fuse_dagster.secrets.store import unresolved


class Netrc(Store):
    """`login`, `account` and `password` of a host in a netrc file."""

    example: ClassVar[str] = "netrc://s3.internal#password"

    file: str = Field(default="~/.netrc", description="The file, where it is another.")

    def fetch(self, reference: Reference) -> Mapping[str, object]:
        """Look the host up."""
        try:
            found = netrc(Path(self.file).expanduser()).authenticators(reference.path)
        except OSError:
            raise unresolved(reference, f"`{self.file}` can't be read", "Check that it is there.") from None
        except NetrcParseError:  # it quotes what it could not read, which may be a password
            raise unresolved(reference, f"`{self.file}` is no netrc file", "Correct it.") from None
        if found is None:
            raise unresolved(reference, f"`{self.file}` has no `machine {reference.path}`", "Add it.")
        return dict(zip(("login", "account", "password"), found, strict=True))
