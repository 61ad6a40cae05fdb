"""The command line in this process and in one of its own."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fuse_dagster.app.cli.program import app
from fuse_dagster_tests.docs.pages import ROOT


@dataclass(frozen=True)
class Said:
    """What a call of `fuse` came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Its stdout, which has to be one JSON document."""
        return json.loads(self.out)

    @property
    def result(self) -> Any:
        """The result in its envelope."""
        assert self.document["ok"], self.document
        return self.document["result"]

    @property
    def error(self) -> dict[str, Any]:
        """The error in its envelope."""
        assert not self.document["ok"], self.document
        return self.document["error"]


Fuse = Callable[..., Said]


@pytest.fixture
def fuse() -> Fuse:
    """Run `fuse` in this process."""

    def run(*words: object, program: Any = app) -> Said:
        before = dict(os.environ)  # which `--profile` and `.env` files change
        try:
            done = CliRunner().invoke(program, [str(word) for word in words], prog_name="fuse")
        finally:
            os.environ.clear()
            os.environ.update(before)
        return Said(done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def fuse_process() -> Fuse:
    """Run `fuse` as a process of its own."""

    def run(*words: object, cwd: Path | None = None, **variables: str) -> Said:
        command = [sys.executable, "-m", "fuse_dagster.app.cli", *map(str, words)]
        env = os.environ | {"PYTHONPATH": str(ROOT)} | variables
        done = subprocess.run(command, cwd=cwd or ROOT, env=env, capture_output=True, text=True, check=False)
        return Said(done.returncode, done.stdout, done.stderr)

    return run


def on_a_terminal(*words: object, columns: int = 100) -> str:
    """What a terminal shows of a call of `fuse`, without colours and without what moves the cursor."""
    outer, inner = pty.openpty()
    command = [sys.executable, "-m", "fuse_dagster.app.cli", *map(str, words)]
    env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": str(columns), "TERM": "xterm"}
    running = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=inner, stderr=inner)
    os.close(inner)
    shown = b""
    while True:
        try:
            part = os.read(outer, 65_536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(outer)
    assert running.wait() == 0, shown
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
