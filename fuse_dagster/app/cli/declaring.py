"""How a history is declared on the command line: the options of `adopt` and `rebuild`, in the words of `History`."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fuse_dagster.app.cli.places import Place
    from fuse_dagster.tables import History


class Source(StrEnum):
    """What a batch says."""

    SNAPSHOT = "snapshot"
    CHANGES = "changes"


Keys = Annotated[str | None, typer.Option(help="Business key: one or more columns, separated by commas.")]
SourceOption = Annotated[
    Source | None, typer.Option("--source", help="`snapshot`: a batch is the whole truth. `changes`: each row is.")
]
EffectiveColumn = Annotated[str | None, typer.Option(help="Column with the time from which each row holds.")]
SequenceBy = Annotated[str | None, typer.Option(help="For changes: column that orders statements of one time.")]
DeleteWhen = Annotated[str | None, typer.Option(help="For changes: SQL condition that marks a row as a delete.")]
Track = Annotated[str | None, typer.Option(help="Columns whose changes make a version, separated by commas.")]
Ignore = Annotated[str | None, typer.Option(help="Columns whose changes make none, separated by commas.")]
Timezone = Annotated[str | None, typer.Option(help="IANA zone of dates and naive times, as Europe/Vienna.")]


def names(text: str) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """Values of the form `old=new`.

    Raises:
        typer.BadParameter: One has another form, or a name stands twice.
    """
    found: dict[str, str] = {}
    for text in given or []:
        old, equals, new = text.partition("=")
        if not equals or not old or not new or old in found:
            msg = f"`{option}` takes `old=new`, once per column; this is `{text}`."
            raise typer.BadParameter(msg)
        found[old] = new
    return found


def history_of(said: Mapping[str, Any], known: History | None = None) -> History:
    """The declaration that the options say, on top of what a table remembers.

    Args:
        said: Field of `History` -> value as text; None where it was not said.
        known: What the table was written with; None where it remembers nothing.

    Raises:
        typer.BadParameter: Nobody says the keys.
        ConfigError: The options contradict each other.
    """
    from dataclasses import replace

    from fuse_dagster.tables import History

    listed = {"keys", "track", "ignore"}
    given: dict[str, Any] = {n: names(v) if n in listed else v for n, v in said.items() if v is not None}
    given = {name: value.value if isinstance(value, Source) else value for name, value in given.items()}
    if known is not None:
        return replace(known, **given)
    if "keys" not in given:
        msg = "the table remembers no business key, so say it by `--keys`."
        raise typer.BadParameter(msg)
    return History(**given)


def remembered(where: Place) -> History | None:
    """The declaration that a table remembers; None where it remembers none, or there is no table."""
    from fuse_dagster.app.histories import declared
    from fuse_dagster.core.errors import TableNotFoundError, TableStateError

    try:
        return declared(where.uri, where.options)
    except (TableNotFoundError, TableStateError):
        return None  # then the options have to say it
