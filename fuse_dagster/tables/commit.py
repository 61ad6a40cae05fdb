"""Commits: one write is one version, its outcome is known, and nobody else's commit slips in between.

Each commit is planned on a view and allowed to land only directly after it: anything that came in between makes a
conflict, and the caller plans again on what is there now. Outcomes are failed, unknown, or done; a failure is believed
only after the table's log was asked for this write's own identifier.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from deltalake import CommitProperties, Transaction
from deltalake.exceptions import DeltaError

from fuse_dagster.core.errors import ConflictError, OutcomeUnknownError, TableStateError, first_line
from fuse_dagster.core.store_failures import store_error
from fuse_dagster.tables.view import TableView, open_view

APP_ID = "fuse_dagster"
WRITE_ID = "fuse_dagster.write"
"""Where a commit's metadata say which write made it."""
_ATTEMPTS = 30
_LONGEST_PAUSE = 2.0

logger = logging.getLogger(__name__)


class LostRaceError(Exception):
    """Another commit came first; plan again. Never leaves this room."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A commit that is known to have landed.

    Attributes:
        version: The table version it made.
        files_added: Data files written.
        bytes_added: Bytes of these files.
        rows_total: Rows of the table at that version; None where they could not be counted.
    """

    version: int
    files_added: int = 0
    bytes_added: int = 0
    rows_total: int | None = None


def attempts(uri: str) -> Iterator[int]:
    """Tries of one write, with growing, jittered pauses between them.

    Raises:
        ConflictError: After the last try.
    """
    for attempt in range(_ATTEMPTS):
        yield attempt
        pause = min(_LONGEST_PAUSE, 0.02 * 2**attempt) * random.SystemRandom().uniform(0.5, 1.5)
        logger.info("another writer changed %s first; planning again in %.2f s (try %d)", uri, pause, attempt + 1)
        time.sleep(pause)
    raise ConflictError(
        f"`{uri}` was changed by other writers at each of {_ATTEMPTS} tries; nothing was written. Run this again, or "
        "let one writer at a time have the table (a Dagster pool)"
    )


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a commit is known by in the log.

    Attributes:
        transactions: Application id -> version. Of two commits that carry one id, planned on one table version, only
            the first lands.
        write_id: Unlike that of any other commit; the commit's metadata hold it.
    """

    transactions: Mapping[str, int] = field(default_factory=dict)
    write_id: str = field(default_factory=lambda: uuid.uuid4().hex)


def refuse_history(view: TableView, mode: object) -> None:
    """Refuse a history to every mode but its own.

    Raises:
        TableStateError: The table is a history.
    """
    if view.exists and view.table.transaction_version(APP_ID) is not None:
        raise TableStateError(
            f"`{view.uri}` is a history: rows written to it as {type(mode).__name__} would contradict what it "
            "remembers. Write it with History, or move it away first"
        )


def next_ticket(view: TableView) -> Ticket:
    """The ticket of a commit that no other of our own may share a table version with."""
    last = view.table.transaction_version(APP_ID) if view.exists else None
    return Ticket({APP_ID: (last or 0) + 1})


def land(
    view: TableView, commit: Callable[[CommitProperties], None], *, ticket: Ticket | None = None, alone: bool = True
) -> int:
    """Run a commit and find out what became of it.

    Args:
        view: The view that the commit was planned on.
        commit: Makes one commit with the properties it is given.
        ticket: What the commit is known by; a new one by default.
        alone: Whether the commit may land directly after the view only. What moves no row may come later, too.

    Returns:
        The version it made.

    Raises:
        LostRaceError: It did not land because the table had changed.
        TableStateError: It failed for another reason; nothing was written.
        StoreError, StoreUnavailableError: The store is the reason; nothing was written.
        OutcomeUnknownError: It failed and the log could not be read.
    """
    ticket, before = ticket or Ticket(), view.version  # delta-rs' own writer moves the opened table on
    if view.before_commit is not None:
        view.before_commit()
    if view.remember is not None:
        ticket = view.remember(ticket)
    properties = CommitProperties(
        custom_metadata={WRITE_ID: ticket.write_id},
        # delta-rs would take its own commit, whose answer was lost, for another writer's, and commit once more.
        max_commit_retries=0 if alone else None,
        app_transactions=[Transaction(app, version) for app, version in ticket.transactions.items()] or None,
    )
    try:
        commit(properties)
    except (DeltaError, OSError, LostRaceError) as error:
        newest, landed = look_up(view, ticket.write_id, before, error)
        if landed is not None:
            return landed
        if newest > before:
            raise LostRaceError from error
        raise store_error(error, view.uri) or TableStateError(
            f"writing to `{view.uri}` failed, and nothing was written: {first_line(error)}"
        ) from error
    if alone or view.version > before:
        return before + 1 if alone else view.version
    return landed_as(open_view(view.uri, view.storage_options), ticket.write_id, before) or before


def landed_as(now: TableView, write_id: str, since: int) -> int | None:
    """The version in which a write landed, if it did.

    Args:
        now: The table, opened after the write.
        write_id: Of its ticket. Spark's writer has no place for it but the user's metadata.
        since: The version that it was planned on.
    """
    recent = now.table.history(now.version - since) if now.version > since else []
    said = ((int(entry["version"]), entry.get(WRITE_ID) or entry.get("userMetadata")) for entry in recent)
    return next((version for version, found in said if found == write_id), None)


def look_up(view: TableView, write_id: str, since: int, error: Exception) -> tuple[int, int | None]:
    """The newest version, and the one in which a write landed although it reported an error; None where it did not.

    Raises:
        OutcomeUnknownError: The log cannot be read.
    """
    try:
        now = open_view(view.uri, view.storage_options)
        return now.version, landed_as(now, write_id, since)
    except (TableStateError, DeltaError, OSError) as unreadable:
        raise OutcomeUnknownError(
            f"the commit to `{view.uri}` failed ({first_line(error)}) and its log cannot be read to see whether it "
            f"landed; once the store answers, look for `{write_id}` in the table's history before repeating"
        ) from unreadable
