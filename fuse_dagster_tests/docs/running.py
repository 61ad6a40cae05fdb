"""Run the blocks of a page as one program."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
import types
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

from fuse_dagster.app.cli.program import app
from fuse_dagster_tests.docs.pages import Block, blocks


def outputs(page: Path, folder: Path) -> Iterator[tuple[Block, str]]:
    """Run a page's blocks of Python from top to bottom, in one namespace, and yield each promised output.

    Blocks of bash titled "run" hold commands of `fuse`, one a line.

    Args:
        page: The Markdown file.
        folder: An empty folder, which is the current one while the page runs.

    Yields:
        A block titled "output", and what the block before it printed.

    Raises:
        AssertionError: An output follows no code.
    """
    name = "page_" + page.stem.replace("-", "_").lower()
    module = types.ModuleType(name)
    sys.modules[name] = module  # where Dagster and pydantic look up the names in annotations
    home = folder / "dagster_home"
    home.mkdir()
    before = dict(os.environ)
    os.environ["DAGSTER_HOME"] = str(home)
    printed = None
    try:
        with contextlib.chdir(folder):
            for block in blocks(page):
                if block.language == "python":
                    printed = _run(block, page, module)
                elif block.language == "bash" and block.title == "run":
                    printed = _run_commands(block, page)
                elif block.title == "output":
                    assert printed is not None, f"{page.name}:{block.line}: nothing ran before this output"
                    yield block, plain(printed)
                    printed = None
    finally:
        del sys.modules[name]
        os.environ.clear()
        os.environ.update(before)


def _run(code: Block, page: Path, module: types.ModuleType) -> str:
    """Run a block as the next lines of the page's module; a traceback shows line numbers of the page."""
    out = io.StringIO()
    program = compile("\n" * (code.line - 1) + code.text, str(page), "exec", dont_inherit=True)
    with contextlib.redirect_stdout(out):
        exec(program, vars(module))
    return out.getvalue()


def _run_commands(block: Block, page: Path) -> str:
    """Run commands of `fuse` in this process; what they print, and for those that fail also the exit code."""
    said = []
    for line in block.text.strip().splitlines():
        name, *words = shlex.split(line)
        assert name == "fuse", f"{page.name}:{block.line}: only `fuse` runs here, not `{name}`"
        done = CliRunner().invoke(app, words, prog_name="fuse")
        # The empty folder has another name each time.
        said.append(
            done.output.replace(f"{Path.cwd()}/", "") + (f"(exit code {done.exit_code})\n" if done.exit_code else "")
        )
    return "".join(said)


def plain(printed: str) -> str:
    """Text without blanks at the ends of lines, and without empty lines around it."""
    return "\n".join(line.rstrip() for line in printed.strip("\n").splitlines())
