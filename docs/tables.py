"""MkDocs hook: what derives from the code.

A page says `<!-- table: NAME -->` where a table stands, and `<!-- file: PATH -->` where a file of the repository does.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = {".py": "python", ".toml": "toml"}
FILE = re.compile(r"<!-- file: (\S+) -->")
MARK = re.compile(r"<!-- table: (\w+)(?: ([\w-]+))? -->")


def connectors() -> str:
    """All connectors in the registry, with the extra that each needs."""
    from fuse_dagster.connectors import connectors as registry

    rows = ["| `type` | class | what it is |", "|---|---|---|"]
    for name in registry.names:
        connector = registry.load(name)
        summary = (inspect.getdoc(connector) or "").split("\n", maxsplit=1)[0]
        rows.append(f"| `{name}` | `{connector.__name__}` | {summary} |")
    return "\n".join(rows)


def errors() -> str:
    """All error classes, with what each means and whether trying again can help."""
    from fuse_dagster.core import errors as module

    rows = ["| error | also a | try again | when |", "|---|---|---|---|"]
    for name, error in vars(module).items():
        if not (inspect.isclass(error) and issubclass(error, module.FuseError)) or error is module.FuseError:
            continue
        ours = {module.FuseError, module.Transient, module.Terminal, object, Exception, BaseException}
        builtin = next(base.__name__ for base in error.__mro__ if base.__module__ == "builtins" and base not in ours)
        again = "yes" if issubclass(error, module.Transient) else "no"
        summary = (inspect.getdoc(error) or "").split("\n", maxsplit=1)[0]
        rows.append(f"| `{name}` | `{builtin}` | {again} | {summary} |")
    return "\n".join(rows)


def verbs() -> str:
    """All verbs of the command line, with the first sentence of their help."""
    from typer.main import get_command

    from fuse_dagster.app.cli.program import app

    rows = ["| verb | what it does |", "|---|---|"]
    rows += [f"| `{name}` | {said} |" for name, said in _verbs("fuse", get_command(app))]
    return "\n".join(rows)


def _verbs(name: str, command: Any) -> Iterator[tuple[str, str]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield name, (command.help or "").split("\n\n")[0].replace("\n", " ")
        return
    for word, one in below.items():
        yield from _verbs(f"{name} {word}", one)


def exit_codes() -> str:
    """Exit codes of the command line, with what each means."""
    from fuse_dagster.app.cli import exits

    rows = ["| code | kind | what it means |", "|---|---|---|", f"| {exits.OK} | | All went well. |"]
    rows += [f"| {code} | `{kind}` | {kind.means} |" for kind, code in exits.CODES.items()]
    return "\n".join([*rows, f"| {exits.INTERRUPTED} | | Stopped by Ctrl-C or at a question. |"])


def storage() -> str:
    """What each connector can do, what has to be installed for it, and its page."""
    from fuse_dagster.app.connecting import describe
    from fuse_dagster.connectors import connectors as registry

    rows = ["| `type` | class | what it is | install | files |", "|---|---|---|---|---|"]
    for name in registry.names:
        one = describe(name)
        install = f"fuse-dagster[{one.extra}]" if one.extra else "fuse-dagster"
        kind, can = one.target.partition(":")[2], ", ".join(one.capabilities)
        rows.append(f"| `{name}` | [`{kind}`](connectors/{name}.md) | {one.what} | `{install}` | {can} |")
    return "\n".join(rows)


def settings(name: str) -> str:
    """All fields that a connector is declared with, as `fuse connectors show` lists them."""
    from fuse_dagster.app.connecting import describe

    rows = ["| setting | type | default | why one would set it |", "|---|---|---|---|"]
    for one in describe(name).fields:
        default = "required" if one.required else f"`{one.default}`" if one.default else ""
        kind = "secret" if one.secret else f"`{one.type}`".replace("|", "\\|")
        rows.append(f"| `{one.name}` | {kind} | {default} | {one.description} |")
    return "\n".join(rows)


TABLES: dict[str, Callable[..., str]] = {
    "connectors": connectors,
    "storage": storage,
    "settings": settings,
    "errors": errors,
    "exit_codes": exit_codes,
    "verbs": verbs,
}


def file(path: str) -> str:
    """A file of the repository, as a block of code with its name."""
    place = ROOT / path
    text = place.read_text(encoding="utf-8").rstrip()
    return f'```{LANGUAGES[place.suffix]} title="{place.parent.name}/{place.name}"\n{text}\n```'


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the marks of a page; what stands behind a table's name is what it is about."""
    tables = MARK.sub(lambda mark: TABLES[mark[1]](*mark.groups()[1:] if mark[2] else ()), markdown)
    return FILE.sub(lambda mark: file(mark[1]), tables)
