"""The one form in which every front door answers machines: a result, or an error of a known kind."""

from __future__ import annotations

from enum import StrEnum

from fuse_dagster.app.hiding import hidden
from fuse_dagster.app.values import plain
from fuse_dagster.core.errors import (
    ConfigError,
    FuseError,
    InputError,
    MissingExtraError,
    OutcomeUnknownError,
    PartitionNotFoundError,
    SecretError,
    TableStateError,
    Transient,
)


class Kind(StrEnum):
    """What went wrong, as far as it decides what to do next."""

    FAILED = "failed"
    USAGE = "usage"
    CONFIG = "config"
    INPUT = "input"
    NOT_FOUND = "not_found"
    TRANSIENT = "transient"
    STATE = "state"
    OUTCOME_UNKNOWN = "outcome_unknown"
    MISSING_EXTRA = "missing_extra"
    STORE = "store"
    SECRET = "secret"  # noqa: S105 - the name of a kind

    @property
    def means(self) -> str:
        """What it means and what to do, in one sentence."""
        return _MEANS[self]


_MEANS = {
    Kind.FAILED: "Something failed that is none of the below; `--debug` shows where.",
    Kind.USAGE: "The command line is wrong: an unknown verb or option, or a value that is none.",
    Kind.CONFIG: "A declaration or setting can't work; correct it.",
    Kind.INPUT: "Data was refused before anything was written; correct it.",
    Kind.NOT_FOUND: "The table, file or partition is not there.",
    Kind.TRANSIENT: "Other writers or the store were in the way, and nothing was written; try again.",
    Kind.STATE: "The table is there, but not safe to use: damaged, or its memory out of step.",
    Kind.OUTCOME_UNKNOWN: "The connection broke during a commit: look whether it landed before trying again.",
    Kind.MISSING_EXTRA: "An optional package or Java is not installed; the message holds the install line.",
    Kind.STORE: "The place where the files lie refuses: wrong credentials or settings, no permission, or no room.",
    Kind.SECRET: "A reference to a secret has no value: absent, forbidden or empty. The message says what to check.",
}

# The first that fits decides, so that what says most comes first.
_KINDS: tuple[tuple[type | tuple[type, ...], Kind], ...] = (
    (MissingExtraError, Kind.MISSING_EXTRA),
    (OutcomeUnknownError, Kind.OUTCOME_UNKNOWN),
    (Transient, Kind.TRANSIENT),
    ((FileNotFoundError, PartitionNotFoundError), Kind.NOT_FOUND),
    (OSError, Kind.STORE),
    (SecretError, Kind.SECRET),
    (InputError, Kind.INPUT),
    (ConfigError, Kind.CONFIG),
    (TableStateError, Kind.STATE),
)


def kind_of(error: BaseException) -> Kind:
    """Say of which kind an error is; one that is none of ours has `failed`."""
    return next((kind for classes, kind in _KINDS if isinstance(error, classes)), Kind.FAILED)


def accepted(result: object, *, ok: bool = True) -> dict[str, object]:
    """Wrap a result.

    Args:
        result: What JSON can hold.
        ok: False where the result is that something is wrong, as a check that failed.
    """
    return {"ok": ok, "result": result}


def refused(
    error: BaseException, *, kind: Kind | None = None, exit_code: int | None = None, said: str | None = None
) -> dict[str, object]:
    """Wrap an error: its kind, its class, its message without secrets, and whether trying again can help.

    Errors that say several things at once also have them one by one, as `problems`.

    Args:
        error: What was raised.
        kind: Its kind, where the class doesn't say it.
        exit_code: The code that the process ends with, for front doors that are processes.
        said: Its message, where another is better than its own.
    """
    found: dict[str, object] = {
        "kind": str(kind or kind_of(error)),
        "type": type(error).__name__,
        "message": message(error) if said is None else hidden(said),
        "transient": isinstance(error, Transient),
    }
    problems = getattr(error, "problems", ())
    if problems:
        found["problems"] = plain(problems)
    if exit_code is not None:
        found["exit_code"] = exit_code
    return {"ok": False, "error": found}


def message(error: BaseException) -> str:
    """What an error says to a person, without secrets; one that is none of ours is named by its class, too."""
    text = hidden(str(error).strip())
    if isinstance(error, FuseError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
