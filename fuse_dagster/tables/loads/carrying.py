"""A load's memory on its way into a commit: written before it, dropped where another one was faster."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fuse_dagster.core.errors import LoadOvertakenError
from fuse_dagster.tables.commit import Committed, Ticket
from fuse_dagster.tables.history.memory import store
from fuse_dagster.tables.loads.files import is_recent, list_files, remove_files
from fuse_dagster.tables.loads.ledger import added
from fuse_dagster.tables.loads.memory import Memo, Remembered, app_id, memo_file, number_of, save
from fuse_dagster.tables.maintaining.history import in_step, is_history
from fuse_dagster.tables.swapping import mark
from fuse_dagster.tables.view import TableView

_PROVEN = dt.timedelta(days=7)
"""After which a memory is saved again where others wrote to the table: the log proves that it holds, and expires."""


@dataclass(slots=True)
class Carrier:
    """Brings a memo into whichever commit a write makes.

    Attributes:
        memo: What is to be remembered.
    """

    memo: Memo
    _written: list[str] = field(default_factory=list)
    _next: Remembered | None = None

    @property
    def number(self) -> int:
        """Of the commit that is about to be made."""
        return self.memo.before.number + 1

    def aboard(self, view: TableView) -> TableView:
        """The view whose next commit brings the memo along.

        Raises:
            LoadOvertakenError: Another load of this name has landed since this one was read.
        """
        landed = number_of(view, self.memo.name)
        if landed != self.memo.before.number:
            raise LoadOvertakenError(
                f"another load of `{self.memo.name}` landed in `{view.uri}` while this one was read (it started after "
                f"number {self.memo.before.number}, and {landed} have landed); nothing was written. Load again: it "
                "then starts where the other one ended"
            )
        return replace(view, remember=lambda ticket: self._save(view, ticket))

    def mark(self, view: TableView) -> Committed | None:
        """Commit the memo alone, after a write that had nothing to commit; None where it is no news, either.

        Args:
            view: The view with the memo aboard.
        """
        if not view.exists or not (self.memo.is_news or self._is_unproven(view)):
            return None
        if not is_history(view):
            return mark(view, ticket=Ticket())
        manifest = in_step(view)
        with store.remembered(view, manifest, facts=None, rows_total=manifest.rows_total) as ticket:
            return mark(view, ticket=ticket)

    def discard(self, view: TableView) -> None:
        """Remove what was written for a commit that is known not to have landed."""
        remove_files(view, self.memo.name, self._written)
        self._written.clear()

    def tidy(self, view: TableView) -> None:
        """Remove what no load needs any more: of killed loads, and of those long past."""
        assert self._next is not None
        named = {*self._written, *(one.file for one in self._next.segments), *self._next.retired}
        old = [file for file in list_files(view, self.memo.name) if file not in named and self._is_over(file)]
        remove_files(view, self.memo.name, old)

    def _save(self, view: TableView, ticket: Ticket) -> Ticket:
        if self._next is None:
            before = replace(self.memo.before, segments=(), retired={}) if self.memo.afresh else self.memo.before
            self._next = replace(added(view, before, self.memo.entries, self.number), data=self.memo.data)
        self._next = replace(self._next, number=self.number, version=view.version + 1)
        save(view, self._next, ticket.write_id)
        self._written.append(memo_file(self.number, ticket.write_id))
        transactions: Mapping[str, int] = {**ticket.transactions, app_id(self.memo.name): self.number}
        return replace(ticket, transactions=transactions)

    def _is_over(self, file: str) -> bool:
        digits = file.removeprefix("ids-")[:20]
        number = int(digits) if digits.isdigit() else 0
        return number == self.number or not is_recent(number, self.number)

    def _is_unproven(self, view: TableView) -> bool:
        before = self.memo.before
        old = before.saved is not None and dt.datetime.now(tz=dt.UTC) - before.saved > _PROVEN
        return old and view.version > before.version
