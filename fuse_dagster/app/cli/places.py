"""Where a table or file lies that a verb is about, and what its store needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer

from fuse_dagster.app.cli.frame import call_of

if TYPE_CHECKING:
    from fuse_dagster.connectors.lake import Lake

Table = Annotated[
    str, typer.Argument(metavar="TABLE", help="Path or URI of a Delta table; with --connection its name below that.")
]
Tables = Annotated[
    list[str], typer.Argument(metavar="TABLE", help="Paths or URIs of Delta tables; with --connection their names.")
]


@dataclass(frozen=True, slots=True)
class Place:
    """One address.

    Attributes:
        uri: Path or URI.
        options: What delta-rs needs to reach the store; the variables of its own that it reads come on top.
        lake: The connector that it is below, if it is below one.
        name: Its name there.
    """

    uri: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    lake: Lake | None = None
    name: str = ""

    def __str__(self) -> str:
        """The address alone."""
        return self.uri


def place(context: typer.Context, address: str, *, connection: str | None = None) -> Place:
    """The place that an argument names: as it is, or below a connection.

    Args:
        context: Its global options may name a connection.
        address: Path or URI; below a connection, a name with `/` between its parts, or `.` for its root.
        connection: The connection, where the verb itself takes one.

    Raises:
        ConfigError: There is no such profile or connection, it holds no tables or files, or the name can't be one of
            its tables.
        FuseError: A secret that the connection needs can't be resolved.
    """
    name = connection or call_of(context).connection
    if name is None:
        return Place(address)
    from fuse_dagster.app.profiles import lake_of

    connector = lake_of(name)
    parts = [part for part in address.split("/") if part not in {"", "."}]
    uri = connector.uri(*parts) if parts else connector.place
    return Place(uri, connector.storage_options(), connector, "/".join(parts))
