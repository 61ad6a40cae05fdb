"""What a source of incremental loads is: it is read from where the last load ended, and says how far it came.

A source reads and never writes: its position is saved by the commit of the rows, in the table that takes them, so the
two can't disagree. What is read twice because a load failed is the sink's to recognize.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """How far a source was read, a watermark. Opaque to all but its source.

    Attributes:
        value: In the source's own form: what JSON can hold, and nothing secret.
        said: For people, as `2024-06-01 00:00:00Z` or `3 partitions, 1,204 messages`.
        time: The time of the event (UTC) that it stands for, from which freshness and lag are told; None where there
            is none.
    """

    value: Mapping[str, Any]
    said: str
    time: datetime | None = None


@runtime_checkable
class Reading(Protocol):
    """One reading of a source, from where the last load ended."""

    def batches(self) -> pa.RecordBatchReader:
        """The rows, in batches; asked once."""

    def position(self) -> Position | None:
        """How far the source has now been read; asked after the batches were consumed.

        It is saved with the commit of the rows, and dropped where that fails. None leaves the one before.
        """

    def rejected(self) -> pl.DataFrame:
        """What could not be read (rows, messages, files), with the reasons in `_rejection_reasons`.

        It is asked after the batches were consumed, and put aside before the commit.
        """

    def landed(self) -> None:
        """Do what follows the commit, as moving files or telling others how far it came.

        It may be called again for a load that landed before; a failure here is a line in the log.
        """


@runtime_checkable
class Remembers(Protocol):
    """A reading whose source recognizes what it has brought before, piece by piece."""

    def entries(self) -> pl.DataFrame:
        """The pieces that this reading brought: `id` (text), and what else to tell of them; asked after the batches.

        They come to the ledger with the commit of the rows.
        """


Value = int | float | str | Mapping[str, int]
"""What a reading tells of itself: numbers are plotted over time."""


@runtime_checkable
class TellsProgress(Protocol):
    """A reading that says more of what it did than its rows and its position."""

    def progress(self) -> Mapping[str, Value]:
        """What was done, by name, as `{"files_loaded": 3, "files_broken": 0}`; asked once the rows have landed.

        The names become metadata of assets: words with `_` between them. A failure here is a line in the log.
        """


@runtime_checkable
class Ledger(Protocol):
    """What a source has brought before: a set of ids, as the hashes of files, kept with the table that took them."""

    def seen(self, ids: Collection[str]) -> set[str]:
        """Which of these ids were brought by a load that landed.

        Raises:
            TableStateError: The ledger is lost or damaged.
        """


@runtime_checkable
class Source(Protocol):
    """What can be read from where the last load ended."""

    @property
    def identity(self) -> str:
        """What the source is known by in the table that takes its rows: stable, and without secrets."""

    def read(self, since: Position | None, ledger: Ledger | None = None) -> AbstractContextManager[Reading]:
        """Open the source; leaving the context closes it.

        Args:
            since: Where the last load ended that landed; None for the first load and a full refresh.
            ledger: What was brought before; None where nothing was, and in a full refresh.

        Raises:
            InputError: `since` is not a position of this source.
        """
