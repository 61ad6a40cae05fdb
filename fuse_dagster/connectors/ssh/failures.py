"""What an SSH server, or the way to it, refuses: in our words, which repeat nothing that the server says."""

from __future__ import annotations

from collections.abc import Mapping

from fuse_dagster.connectors.ssh.trees import SourceError
from fuse_dagster.core.errors import CredentialsError, FuseError, InputError, StoreError, StoreUnavailableError

_LOOK = "Look at it with an SFTP program, under the same account."
# Class of the library (or the builtin that it raises) -> what is raised, what is the matter, what to do.
# The first that an error is one of counts; `{...}` is what the connector says to check.
_WORDS: dict[str, tuple[type[Exception], str, str]] = {
    "PermissionDenied": (CredentialsError, "refuses this login", "{credentials}"),
    "KeyExchangeFailed": (
        StoreError,
        "and this client have no algorithm in common, or its host key is of another kind than those that are known",
        "Add the server's key of that kind to `known_hosts`, or have the server's SSH renewed.",
    ),
    "SFTPNoSuchFile": (FileNotFoundError, "is not there", "List its folder to see what there is."),
    "SFTPNoSuchPath": (FileNotFoundError, "is not there", "List its folder to see what there is."),
    "SFTPPermissionDenied": (CredentialsError, "is refused to this account", "{rights}"),
    "TimeoutError": (StoreUnavailableError, "does not answer in time", "{time}"),
    "ChannelOpenError": (StoreError, "lets us in, but gives no SFTP", "Have the subsystem `sftp` allowed."),
    "SFTPConnectionLost": (StoreUnavailableError, "broke off in the middle of an answer", "{host}"),
    "ConnectionLost": (StoreUnavailableError, "broke off in the middle of an answer", "{host}"),
    "SFTPNoConnection": (StoreUnavailableError, "broke off in the middle of an answer", "{host}"),
    "DisconnectError": (StoreUnavailableError, "sent us away", "{host}"),
    "OSError": (StoreUnavailableError, "can't be reached", "{host}"),
    "UnicodeError": (InputError, "has a name that is not UTF-8", "Have it renamed."),
    "SFTPNoSpaceOnFilesystem": (StoreError, "has no space left", _LOOK),
    "SFTPQuotaExceeded": (StoreError, "has no space left for this account", _LOOK),
    "SFTPWriteProtect": (StoreError, "is write-protected", _LOOK),
    "SFTPOpUnsupported": (StoreError, "lies on a server that can't do what was asked", _LOOK),
    "SFTPNotADirectory": (StoreError, "has a file where a folder is meant", _LOOK),
}


def is_broken(error: BaseException) -> bool:
    """Whether an error says that the connection is of no more use, so that asking by a new one can help."""
    import asyncssh

    if isinstance(error, FuseError | FileNotFoundError):
        return False
    final = (asyncssh.PermissionDenied, asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed)
    lost = (asyncssh.DisconnectError, asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, OSError)
    return isinstance(error, lost) and not isinstance(error, final)


def worded(error: Exception, place: str, checks: Mapping[str, str]) -> Exception:
    """The error to raise instead of one of the library.

    Args:
        error: What was raised.
        place: The address that was asked for.
        checks: `credentials`, `host`, `time`, `rights` -> what to look at, in the words of the connector.
    """
    if isinstance(error, FuseError | FileNotFoundError):
        return error
    if isinstance(error, SourceError) and isinstance(error.__cause__, Exception):
        return error.__cause__
    name = type(error).__name__
    kinds = [kind.__name__ for kind in type(error).__mro__]
    found = next((words for kind, words in _WORDS.items() if kind in kinds), None)
    raised, what, check = found or (StoreError, f"can't be used so: the server answers with `{name}`", _LOOK)
    return raised(f"`{place}` {what}. {check.format_map(checks)}")
