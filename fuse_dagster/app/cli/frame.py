"""What all verbs share: global options that may stand anywhere, and what becomes of an error."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import typer
from typer.core import TyperGroup

from fuse_dagster.app.cli import exits
from fuse_dagster.app.cli.output import Output, write_json
from fuse_dagster.app.envelope import Kind, kind_of, refused

logger = logging.getLogger(__name__)

SETTINGS = {"help_option_names": ["-h", "--help"]}
_SWITCHES = ("--json", "--debug")
_VALUED = ("--log-format", "--log-level", "--profile", "--connection")
# What typer raises for a wrong command line; releases differ in where they keep it, not in what it is.
_UsageError: Any = typer.BadParameter.__base__


class Root(TyperGroup):
    """The group of all groups: global options may stand behind the verb, and every error ends in an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take the global options to the front, wherever they stand, and then parse as usual."""
        return list(super().parse_args(ctx, hoisted(args)))

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run, and end the process with the code of what happened."""
        given = list(sys.argv[1:] if args is None else args)
        extra["standalone_mode"] = False
        out = Output(as_json="--json" in _before_end(given), debug="--debug" in _before_end(given))
        sys.exit(_code(lambda: super(Root, self).main(given, *rest, **extra), out))


def hoisted(args: Sequence[str]) -> list[str]:
    """The arguments with the global options in front; what follows `--` stays where it is.

    Examples:
        >>> hoisted(["tables", "show", "lake/a", "--json"])
        ['--json', 'tables', 'show', 'lake/a']
    """
    found, left = [], []
    options = iter(_before_end(args))
    for word in options:
        if word in _SWITCHES or (word.partition("=")[0] in _VALUED and "=" in word):
            found.append(word)
        elif word in _VALUED:
            found += [word, *_next(options)]
        else:
            left.append(word)
    return [*found, *left, *args[len(_before_end(args)) :]]


def _before_end(args: Sequence[str]) -> Sequence[str]:
    return args[: args.index("--")] if "--" in args else args


def _next(words: Iterator[str]) -> list[str]:
    word = next(words, None)
    return [] if word is None else [word]


def _code(run: Callable[[], object], out: Output) -> int:
    try:
        ended = run()
    except _UsageError as error:
        return _misused(error, out)
    except typer.Abort:
        out.note("Stopped; nothing further was done.")
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read has read enough, as `| head` does; the interpreter must not try to flush what is left.
        sys.stdout = None
        return exits.CODES[Kind.FAILED]
    except Exception as error:  # harmless: it is said in the form that was asked for, and decides the exit code
        logger.debug("the verb failed", exc_info=True)
        return _failed(error, out)
    return ended if isinstance(ended, int) else exits.OK


def _misused(error: Any, out: Output) -> int:
    code = exits.CODES[Kind.USAGE]
    said = error.format_message()
    if said.startswith("Usage:") and not out.as_json:  # a group without a verb: what it says is its help
        sys.stderr.write(said + "\n")
        return code
    if out.as_json:
        write_json(refused(error, kind=Kind.USAGE, exit_code=code, said=said))
        return code
    path = error.ctx.command_path if error.ctx is not None else "fuse"
    out.note(f"Error: {said}\nSee `{path} --help`.")
    return code


def _failed(error: Exception, out: Output) -> int:
    kind = kind_of(error)
    if out.debug:
        out.note("".join(traceback.format_exception(error)).rstrip())
    if out.as_json:
        write_json(refused(error, exit_code=exits.CODES[kind]))
    else:
        out.fail(error)
        if kind is Kind.FAILED and not out.debug:
            out.note("Run it again with `--debug` to see where.")
    return exits.CODES[kind]


def group(help_text: str) -> typer.Typer:
    """A group of verbs; without a verb it shows its help."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode=None, context_settings=SETTINGS)


def examples(*lines: str) -> str:
    """The end of a verb's help: commands to copy, and where the global options are described."""
    shown = "\n".join(f"  {line}" for line in lines)
    return f"\b\nExamples:\n{shown}\n\n\b\n{_ANYWHERE}"


_ANYWHERE = "Global options, such as --json and --connection, may stand anywhere; see fuse --help."


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What the global options of this call say.

    Attributes:
        output: How it answers.
        connection: The connection of the profile that names are below; None where they are paths and URIs.
    """

    output: Output = field(default_factory=Output)
    connection: str | None = None


def call_of(context: typer.Context) -> Call:
    """What the global options say."""
    found = context.find_object(Call)
    return Call() if found is None else found


def output(context: typer.Context) -> Output:
    """How this call answers."""
    return call_of(context).output
