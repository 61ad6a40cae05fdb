"""Global options anywhere, one exit code per kind of error, and errors without a traceback or a secret."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import typer
from typer.main import get_command

import fuse_dagster
from fuse_dagster.app.cli import exits
from fuse_dagster.app.cli.frame import Root, hoisted
from fuse_dagster.app.cli.program import app, global_options
from fuse_dagster.app.envelope import Kind
from fuse_dagster.core import errors
from fuse_dagster_tests.app.cli.conftest import Fuse
from fuse_dagster_tests.docs.pages import ROOT

CANARY = "CANARY-7f3a"
HEAVY = {"dagster", "deltalake", "duckdb", "pandas", "polars", "pyarrow", "pydantic", "pyspark", "sqlglot"}


@pytest.fixture
def failing() -> typer.Typer:
    """The program's frame around a verb that fails as it is told, and logs before."""
    program = typer.Typer(cls=Root)
    program.callback()(global_options)

    @program.command()
    def fail(name: str) -> None:
        logging.getLogger("a.b").warning("about to fail with sig=%s", CANARY)
        raised = vars(errors) | {one.__name__: one for one in (KeyError, KeyboardInterrupt, PermissionError)}
        raise raised[name](f"no good: account_key={CANARY}")

    @program.command()
    def echo(words: list[str]) -> None:
        sys.stdout.write(" ".join(words))

    return program


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("FuseError", Kind.FAILED),
        ("KeyError", Kind.FAILED),
        ("ConfigError", Kind.CONFIG),
        ("SchemaError", Kind.INPUT),
        ("TableNotFoundError", Kind.NOT_FOUND),
        ("ConflictError", Kind.TRANSIENT),
        ("TableStateError", Kind.STATE),
        ("OutcomeUnknownError", Kind.OUTCOME_UNKNOWN),
        ("MissingExtraError", Kind.MISSING_EXTRA),
        ("SecretError", Kind.SECRET),
        ("SecretStoreError", Kind.TRANSIENT),
        ("PermissionError", Kind.STORE),
    ],
)
def test_a_kind_of_error_has_an_exit_code_of_its_own(fuse: Fuse, failing: typer.Typer, name: str, kind: Kind) -> None:
    said = fuse("fail", name, program=failing)
    assert said.code == exits.CODES[kind]
    assert said.out == ""
    assert "no good" in said.err
    assert "Traceback" not in said.err
    machine = fuse("fail", name, "--json", program=failing)
    assert machine.code == said.code
    assert machine.error["kind"] == kind
    assert machine.error["type"] == name
    assert machine.error["exit_code"] == said.code


def test_exit_codes_differ_and_leave_0_to_success() -> None:
    assert set(exits.CODES) == set(Kind)
    assert len({exits.OK, exits.INTERRUPTED, *exits.CODES.values()}) == len(Kind) + 2


@pytest.mark.parametrize(
    "flags", [[], ["--json"], ["--debug"], ["--debug", "--log-level", "debug"], ["--log-format", "json"]]
)
@pytest.mark.parametrize("name", ["ConfigError", "KeyError"])
def test_no_secret_leaves_in_any_form(fuse: Fuse, failing: typer.Typer, name: str, flags: list[str]) -> None:
    said = fuse("fail", name, *flags, program=failing)
    assert "no good" in said.out + said.err
    assert CANARY not in said.out + said.err


def test_debug_shows_where_an_error_comes_from(fuse: Fuse, failing: typer.Typer) -> None:
    assert "Traceback" in fuse("--debug", "fail", "ConfigError", program=failing).err
    assert "--debug" in fuse("fail", "KeyError", program=failing).err


def test_an_interrupt_ends_with_its_own_code(fuse: Fuse, failing: typer.Typer) -> None:
    assert fuse("fail", "KeyboardInterrupt", program=failing).code == exits.INTERRUPTED


def test_log_lines_are_for_people_or_machines(fuse: Fuse, failing: typer.Typer) -> None:
    human = fuse("fail", "ConfigError", program=failing).err
    assert "WARNING a.b: about to fail" in human
    machine = fuse("fail", "ConfigError", "--json", "--log-format=json", program=failing)
    [line] = machine.err.splitlines()
    assert json.loads(line)["logger"] == "a.b"
    assert json.loads(line)["level"] == "warning"
    assert fuse("fail", "ConfigError", "--json", "--log-level", "error", program=failing).err == ""


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a", "b", "--json"], ["--json", "a", "b"]),
        (["a", "--log-level", "debug", "b"], ["--log-level", "debug", "a", "b"]),
        (["a", "--log-format=json", "b"], ["--log-format=json", "a", "b"]),
        (["a", "--", "--json"], ["a", "--", "--json"]),
        (["a", "--log-level"], ["--log-level", "a"]),
    ],
)
def test_global_options_may_stand_anywhere(given: list[str], expected: list[str]) -> None:
    assert hoisted(given) == expected


def test_what_follows_two_dashes_is_no_option(fuse: Fuse, failing: typer.Typer) -> None:
    assert fuse("echo", "--", "a", "--json", program=failing).out == "a --json"


def _verbs(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
        return
    for word, one in below.items():
        yield from _verbs(f"{name} {word}".strip(), one)


VERBS = dict(_verbs("", get_command(app)))


@pytest.mark.parametrize("name", VERBS)
def test_the_help_of_a_verb_has_examples_with_options_that_exist(fuse: Fuse, name: str) -> None:
    said = fuse(*name.split(), "--help")
    assert said.code == exits.OK
    examples = re.findall(rf"\bfuse (?:--\w.*)?{name}\b.*", said.out.partition("Examples:")[2])
    assert examples
    known = {word for command in (VERBS[name], get_command(app)) for one in command.params for word in one.opts}
    for example in examples:
        options = [word for word in shlex.split(example) if word.startswith("-")]
        assert set(options) <= known, example
    assert all(one.help for one in VERBS[name].params if one.name != "help"), "an option says why one would set it"


def test_a_wrong_command_line_says_where_help_is(fuse: Fuse) -> None:
    said = fuse("tables", "shwo", "lake")
    assert said.code == exits.CODES[Kind.USAGE]
    assert "shwo" in said.err
    assert "`fuse tables --help`" in said.err
    assert fuse("tables", "show", "--json").error["kind"] == "usage"
    assert fuse("--log-level", "loud", "tables", "list").code == exits.CODES[Kind.USAGE]


def test_a_group_without_a_verb_shows_its_help(fuse: Fuse) -> None:
    said = fuse("tables")
    assert said.code == exits.CODES[Kind.USAGE]
    assert "vacuum" in said.err


def test_the_script_leads_to_the_program() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, name = project["scripts"]["fuse"].partition(":")
    assert callable(getattr(import_module(module), name))


def test_a_process_answers_and_ends_with_the_code(fuse_process: Fuse) -> None:
    assert fuse_process("--version").out == f"fuse_dagster {fuse_dagster.__version__}\n"
    said = fuse_process("tables", "show", "nowhere", "--json")
    assert (said.code, said.error["kind"]) == (exits.CODES[Kind.NOT_FOUND], "not_found")


def test_help_and_completion_load_nothing_heavy() -> None:
    program = (
        "import sys; from fuse_dagster.app.cli import main\n"
        "try:\n    main()\nfinally:\n    print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program, "--help"], env=env, capture_output=True, text=True, check=True
    )
    assert "tables" in done.stdout
    assert not set(done.stderr.split()) & HEAVY


def test_the_shell_completes_verbs(fuse_process: Fuse) -> None:
    said = fuse_process(_FUSE_COMPLETE="complete_bash", COMP_WORDS="fuse tables va", COMP_CWORD="2")
    assert said.out.split() == ["vacuum"]


def test_a_reader_that_stops_early_is_no_error() -> None:
    command = f"{sys.executable} -m fuse_dagster.app.cli tables --help | head -n 1"
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", command], env=env, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: ")
    assert done.stderr == ""
