"""What an object store refuses, in words that name the fields of its connector; without a secret in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fuse_dagster.core.errors import FuseError, StoreError, StoreUnavailableError
from fuse_dagster.core.store_failures import FAULTS, fault_of, store_error


def worded(error: Exception, place: str, checks: Mapping[str, str]) -> FuseError | FileNotFoundError:
    """The error to raise instead of one that obstore, or a library for credentials, raised.

    Args:
        error: What was raised.
        place: The address that was asked for.
        checks: Kind of failure (of `store_failures.FAULTS`) -> what to look at, in the words of the connector.
    """
    kind = fault_of(error)
    if kind is not None:
        return store_error(error, place, check=checks.get(kind, "")) or StoreError(place)
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"There is no file `{place}`. List its folder to see what there is.")
    if type(error).__name__ == "PreconditionError":
        return StoreUnavailableError(f"`{place}` was replaced while it was read. Read it again, from its beginning.")
    # What else a library says is left out: it may quote an address with a signature.
    return StoreError(
        f"`{place}` can't be used: the store's client failed with `{type(error).__name__}`. Check the fields of the "
        "connection, and that the store is one of its kind."
    )


@contextmanager
def in_our_words(place: str, checks: Mapping[str, str]) -> Iterator[None]:
    """Run what talks to a store; its errors come out as ours, without the original ones behind them.

    Raises:
        StoreError: The store refuses, or lacks what was asked.
        StoreUnavailableError: It can't be reached, or does not answer in time.
        FileNotFoundError: There is no such file.
    """
    try:
        yield
    except FuseError:
        raise
    except Exception as error:  # noqa: BLE001 - raised again, worded
        # The message of the first error, which a traceback would show as its cause, may hold a signature.
        raise worded(error, place, checks) from None


__all__ = ["FAULTS", "in_our_words", "worded"]
