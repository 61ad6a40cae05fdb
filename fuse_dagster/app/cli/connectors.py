"""`fuse connectors`: the systems that tables can lie in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fuse_dagster.app.cli.frame import examples, group, output
from fuse_dagster.app.cli.output import facts, table

if TYPE_CHECKING:
    from fuse_dagster.app.connecting import Described

app = group("The systems that tables can lie in.")


@app.command("list", epilog=examples("fuse connectors list", "fuse connectors list --json"))
def list_connectors(context: typer.Context) -> None:
    """List all connectors: where each comes from, what it can do, and whether what it needs is installed."""
    from fuse_dagster.app.connecting import describe
    from fuse_dagster.connectors import connectors

    found = [describe(name) for name in connectors.names]
    rows = [(one.name, one.package, one.version, _state(one), ", ".join(one.capabilities), one.what) for one in found]
    output(context).answer(found, table(["type", "package", "version", "extra", "can", "what it is"], rows))


@app.command(epilog=examples("fuse connectors show local"))
def show(
    context: typer.Context, name: Annotated[str, typer.Argument(help="The connector's `type`, as in fuse.yaml.")]
) -> None:
    """Show a connector: its package, its extra, what it can do, and the fields that it is declared with."""
    from fuse_dagster.app.connecting import describe

    one = describe(name)
    pairs = [
        ("type", one.name),
        ("what it is", one.what or one.problem),
        ("class", one.target),
        ("package", f"{one.package} {one.version}".strip()),
        ("extra", _state(one)),
        ("can", ", ".join(one.capabilities) or "only say where tables lie"),
    ]
    if one.install:
        pairs.append(("install it by", one.install))
    rows = [
        (
            field.name,
            field.type,
            "required" if field.required else field.default,
            "secret" if field.secret else "",
            field.description,
        )
        for field in one.fields
    ]
    output(context).answer(one, facts(pairs), table(["field", "type", "default", "", "why set it"], rows))


def _state(one: Described) -> str:
    if one.problem:
        return "can't be imported"
    if not one.extra:
        return "none needed"
    return f"{one.extra}, missing {', '.join(one.missing)}" if one.missing else f"{one.extra}, installed"
