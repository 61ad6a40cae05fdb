"""Every error that fuse_dagster raises on purpose: one root, each class also the builtin that fits.

The mix-ins say whether trying again can help: a retry policy asks `isinstance(error, Transient)`, never the message.
"""

from __future__ import annotations

_CAUSE = "\u21b3\x1b[0m"  # how delta-rs draws the arrow before a cause, with the end of its colour


class FuseError(Exception):
    """Root of all errors raised on purpose by fuse_dagster."""


class Transient:
    """Mix-in: the same call may succeed later, unchanged."""


class Terminal:
    """Mix-in: the same call fails again until someone changes the input, the declaration or the table."""


class ConfigError(FuseError, ValueError, Terminal):
    """A declaration (write mode, asset, resource) that cannot work; raised before any data is read."""


class InputError(FuseError, ValueError, Terminal):
    """Data that is refused; raised before anything is written."""


class SchemaError(InputError):
    """A column is missing, unexpected, or of a type that the table's column cannot take without loss."""


class KeyValueError(InputError):
    """A business key is null, or stands twice in a batch with different values."""


class TimeValueError(InputError):
    """A time cannot be placed on the UTC line: naive without a zone, repeated by a clock change, or out of range."""


class CorrectionError(InputError):
    """The batch contradicts what the history already states for the same time, and `on_correction` forbids it."""


class DeleteGuardError(InputError):
    """A snapshot would end more keys than `max_delete_fraction` allows: the usual sign of a truncated extract."""


class UpdateGuardError(InputError):
    """A snapshot would change more keys than `max_update_fraction` allows: the usual sign of shifted columns."""


class GapError(InputError):
    """A source no longer holds what follows the last load, or is another one of the same name."""


class PartitionError(InputError):
    """Rows do not belong to the partition being written, or its key cannot be a value of the column."""


class TableNotFoundError(FuseError, FileNotFoundError, Terminal):
    """There is no Delta table at this place."""


class NotThereError(FuseError, FileNotFoundError, Terminal):
    """There is no file or folder at this place."""


class PartitionNotFoundError(FuseError, LookupError, Terminal):
    """The one partition that a step asks for was never written."""


class TableStateError(FuseError, RuntimeError, Terminal):
    """The table is there, but not safe to use: damaged, with an unsupported feature, or its memory out of step."""


class ConflictError(FuseError, RuntimeError, Transient):
    """Other writers kept changing the same table until the retries ran out; nothing was written."""


class LoadOvertakenError(ConflictError):
    """Another load of the same source into the same table landed first; nothing was written: read again."""


class OutcomeUnknownError(FuseError, RuntimeError, Terminal):
    """The connection broke during a commit, and the table could not be asked for its outcome: look, then repeat."""


class StoreError(FuseError, OSError, Terminal):
    """A store of files refuses what was asked: wrong credentials or settings, or a bucket that is not there."""


class CredentialsError(StoreError):
    """A store refuses the credentials that it was given, before anything was written."""


class StoreUnavailableError(FuseError, ConnectionError, Transient):
    """A store of files can't be reached, does not answer in time, or asks to come back later."""


class SecretError(FuseError, LookupError, Terminal):
    """A reference to a secret that its store answers with no value: absent, forbidden or empty."""


class SecretStoreError(FuseError, ConnectionError, Transient):
    """A store of secrets can't be reached, or asks to come back later."""


class MissingExtraError(FuseError, ImportError, Terminal):
    """An optional dependency is not installed; the message holds the install line."""


def first_line(error: BaseException) -> str:
    """What an error's message says in one line, or its class where it says nothing.

    Native errors bring a backtrace along, which is left out, or a chain of causes, of which the last says what to do.
    """
    first, *others = str(error).strip().splitlines() or [""]
    causes = [line.rpartition(_CAUSE)[2] for line in others if _CAUSE in line]
    return ": ".join(part.strip() for part in [first, *causes[-1:]] if part.strip()) or type(error).__name__
