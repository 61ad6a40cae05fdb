"""Where a table or file lies that a verb is about, and what its store needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

import typer

Table = Annotated[str, typer.Argument(metavar="TABLE", help="Path or URI of a Delta table.")]
Tables = Annotated[list[str], typer.Argument(metavar="TABLE", help="Paths or URIs of Delta tables.")]


@dataclass(frozen=True, slots=True)
class Place:
    """One address.

    Attributes:
        uri: Path or URI.
        options: What delta-rs needs to reach the store; the variables of its own that it reads come on top.
    """

    uri: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        """The address alone."""
        return self.uri


def place(address: str) -> Place:
    """The place that an argument names."""
    return Place(address)
