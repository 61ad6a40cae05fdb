"""One load of a landing folder: what is new is read, what is broken put aside, and what has landed put away."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from fuse_dagster.connectors.base import Entry
from fuse_dagster.core.errors import ConfigError, InputError, first_line
from fuse_dagster.engines.local.files.types import type_of, type_text, types_of
from fuse_dagster.ingest.landing.arriving import Arrivals
from fuse_dagster.ingest.landing.collecting import no_search_for_cycles
from fuse_dagster.ingest.landing.fetching import Fetched, fetch
from fuse_dagster.ingest.landing.loaded import LoadedFiles
from fuse_dagster.ingest.landing.parsing import Parser
from fuse_dagster.ingest.landing.refused import Refused
from fuse_dagster.ingest.landing.remembering import Memory
from fuse_dagster.ingest.landing.scratch import Scratch
from fuse_dagster.ingest.landing.tidying import put_away
from fuse_dagster.ingest.source import Ledger, Position

if TYPE_CHECKING:
    from fuse_dagster.ingest.landing.source import LandingFiles

logger = logging.getLogger(__name__)

_CHUNK = 4096
_HELD = 64 * 2**20
_YOUNG = timedelta(minutes=1)


class LandingReading:
    """One reading of a landing folder. Files are read when the rows are asked for, all of them before the first row."""

    def __init__(
        self, source: LandingFiles, found: Arrivals, since: Position | None, ledger: Ledger | None, scratch: Scratch
    ) -> None:
        self.notes: list[str] = [f"`{one.entry.path}` is left for later: {one.reason}." for one in found.waiting]
        self._source, self._found, self._since, self._ledger = source, found, since, ledger
        self._memory = Memory(source)
        self._loaded, self._refused = LoadedFiles(source), Refused()
        self._reasons: dict[str, str] = {}
        self._finished: list[Entry] = []
        self._broken: list[Entry] = []
        self._copies: list[tuple[Fetched, str]] = []
        self._parser = Parser(source, scratch, self._refuse, _known(since), [*self._loaded.columns])

    def batches(self) -> pa.RecordBatchReader:
        """The rows of all files that are new, in their order. No columns where nothing is new."""
        self._read_all()
        for note in self.notes:
            logger.info(note)
        if not self._loaded:
            return pa.RecordBatchReader.from_batches(pa.schema([]), [])
        return self._loaded.with_rows(self._parser.spool)

    def position(self) -> Position | None:
        """When the newest file was modified that was loaded so far; None where nothing is new."""
        if not self._loaded:
            return None
        newest = max(entry.modified for entry in self._loaded).astimezone(UTC)
        count = len(self._loaded)
        if self._since is not None:
            newest = max(newest, datetime.fromisoformat(self._since.value["modified"]))
            count += int(self._since.value.get("files", 0))
        types = {**_known(self._since), **self._parser.spool.schema()}
        said = {name: type_text(dtype) for name, dtype in types.items() if _comes_back(dtype)}
        value = {"modified": newest.isoformat(), "files": count, "types": said}
        return Position(value=value, said=f"{count:,} files, the newest of {newest:%Y-%m-%d %H:%M:%S}Z", time=newest)

    def rejected(self) -> pl.DataFrame:
        """Files that can't be read, a row each, and rows that were taken out of others."""
        return self._refused.frame()

    def entries(self) -> pl.DataFrame:
        """The contents, names and states that this reading brought, for the ledger."""
        return self._memory.frame()

    def landed(self) -> None:
        """Move or delete the files whose rows have landed, in this load or one before; again is the same.

        Raises:
            FuseError: The store refuses; what is left is done by the next load.
        """
        put_away(self._source, self._finished, self._broken, self._memory.tag, self._known)

    def _known(self, files: Sequence[tuple[Entry, str]]) -> set[str]:
        """The paths of those files whose bytes were dealt with by this load, or by one before."""
        said = {entry.path: self._memory.ids(entry, digest) for entry, digest in files}
        asked = {one for content, _, broken in said.values() for one in (content, broken)}
        before = self._ledger.seen(asked) if self._ledger is not None and asked else set()
        known = before | {one for one in asked if one in self._memory}
        if self._source.after == "move":
            return {path for path, (content, _, broken) in said.items() if content in known or broken in known}
        return {path for path, (content, _, _) in said.items() if content in known}

    def progress(self) -> dict[str, int]:
        """How many files were loaded, their bytes, how many were broken, known already, or not complete yet."""
        return {
            "files_loaded": len(self._loaded),
            "file_bytes": self._loaded.bytes,
            "files_broken": len(self._broken),
            "files_known": len(self._copies),
            "files_waiting": len(self._found.waiting),
        }

    def _read_all(self) -> None:
        fresh = self._unstamped(self._found.ready)
        self._unstamped([one.entry for one in self._found.waiting])  # a kill may have left a file without its marker
        at = 0
        while at < len(fresh):
            some = self._next(fresh, at)
            if not some:
                self.notes.append(f"{len(fresh) - at:,} files are left for the next load.")
                break
            are_small = sum(entry.size for entry in some) < _HELD
            with no_search_for_cycles() if are_small else nullcontext():
                self._read_some(some)
            at += len(some)
        lost = {entry.path for entry in self._broken}
        self._finished = [entry for entry in self._finished if entry.path not in lost]
        for one, content in self._copies:
            if content and content not in self._memory:  # a copy of one that turned out to be broken
                self._refuse_file(one.entry, one.digest, self._reasons[content])
                continue
            self._finished.append(one.entry)
            self._memory.add(self._memory.stamp(one.entry), one.entry)

    def _next(self, fresh: Sequence[Entry], at: int) -> list[Entry]:
        """As many files as the limits leave room for; those that bring no rows take up none of it."""
        count, size = len(self._loaded), self._loaded.bytes
        room = min(_CHUNK, self._source.most_files - count)
        some: list[Entry] = []
        for entry in fresh[at : at + max(room, 0)]:
            size += entry.size
            if size > self._source.most_bytes and (count or some):
                break
            some.append(entry)
        return some

    def _unstamped(self, ready: Sequence[Entry]) -> list[Entry]:
        """The files that no load has read as they are now, and in the way in which they would be read now.

        A stamp is trusted only where the store gives a version that changes with every write and can't be set back; by
        size and time alone, what a tool has changed in place could be taken for what was loaded.
        """
        if self._ledger is None:
            return list(ready)
        stamps = [self._memory.stamp(entry) for entry in ready]
        asked = {said for stamp in stamps if stamp for said in (stamp, self._memory.broken_stamp(stamp))}
        known = self._ledger.seen(asked) if asked else set()
        fresh: list[Entry] = []
        for entry, stamp in zip(ready, stamps, strict=True):
            if stamp in known:
                self._finished.append(entry)
            elif self._memory.broken_stamp(stamp) in known:
                self._note_broken(entry)
            else:
                fresh.append(entry)
        return fresh

    def _read_some(self, entries: Sequence[Entry]) -> None:
        source = self._source
        fetched: list[Fetched] = []
        held = 0
        for one in fetch(source.connector, entries, parallel=source.parallel):
            fetched.append(one)
            held += one.entry.size
            if held > _HELD:
                self._take(fetched)
                fetched, held = [], 0
        self._take(fetched)

    def _take(self, fetched: list[Fetched]) -> None:
        grown = self._changed_since([one.entry for one in fetched])
        ids = [self._memory.ids(one.entry, one.digest) for one in fetched]
        asked = {said for group in ids for said in group} if self._ledger is not None else None
        seen = self._ledger.seen(asked) if self._ledger is not None and asked else set()
        for one, said in zip(fetched, ids, strict=True):
            if one.is_refused:
                shown = one.entry.path.encode("unicode_escape").decode()
                self.notes.append(f"`{shown}` is left alone, as the connector opens no file of this name. Rename it.")
                logger.warning(self.notes[-1])
            elif not one.digest or one.entry.path in grown:
                self.notes.append(f"`{one.entry.path}` is left for later: it changed while it was read, or has gone.")
            else:
                self._judge(one, *said, seen=seen)
            one.forget()
        self._parser.finish()

    def _changed_since(self, entries: Sequence[Entry]) -> set[str]:
        """The young files that are no longer as they were listed: somebody writes them still."""
        since = self._source.clock() - _YOUNG
        young = [entry for entry in entries if entry.modified > since] if self._source.settle else []
        if not young:
            return set()
        there = {entry.path: entry for entry in self._source.connector.list(self._source.folder)}
        return {entry.path for entry in young if there.get(entry.path) != entry}

    def _judge(self, one: Fetched, content: str, name: str, broken: str, *, seen: set[str]) -> None:
        """Load a file, or know why not."""
        entry, memory = one.entry, self._memory
        if content in seen or content in memory:
            self._note_copy(entry, content, seen)
            self._copies.append((Fetched(entry, one.digest, b""), "" if content in seen else content))
            return
        if broken in seen or broken in memory:
            self._note_broken(entry)
            memory.add(memory.broken_stamp(memory.stamp(entry)), entry)
            return
        if self._source.same_name == "replace" and name in self._loaded.names:
            self.notes.append(f"`{entry.path}` is left for the next load: this one has other content of its name.")
            return
        try:
            if self._source.same_name == "refuse" and (name in seen or name in self._loaded.names):
                msg = f"`{entry.path}` was loaded with other content, and `same_name` is `refuse`. Rename it."
                raise InputError(msg)
            said = self._loaded.said_by_name(entry)
            bad = self._parser.parse(one, self._loaded.next_number)
        except (InputError, ConfigError) as error:
            self._refuse_file(entry, one.digest, first_line(error))
            return
        self._loaded.add(one, name, said)
        self._finished.append(entry)
        memory.add_loaded(content, name, entry)
        for row in bad:
            self._refused.add_row(entry, one.digest, row)

    def _note_broken(self, entry: Entry) -> None:
        self.notes.append(f"`{entry.path}` is broken, as an earlier load has said, and still the same.")
        self._broken.append(entry)

    def _note_copy(self, entry: Entry, content: str, seen: set[str]) -> None:
        other = self._memory.told.get(content)
        if other is not None and other.path != entry.path:
            self.notes.append(f"`{entry.path}` has the content of `{other.path}`, and is loaded once.")
        elif content in seen:
            self.notes.append(f"`{entry.path}` has content that an earlier load has brought.")

    def _refuse(self, number: int, why: str) -> None:
        """Take a file out that turned out to be broken when its rows became columns."""
        entry, digest = self._loaded.at(number)
        content, name, _ = self._memory.ids(entry, digest)
        self._loaded.take_out(number, name)
        for said in (content, name, self._memory.stamp(entry)):
            self._memory.drop(said, entry)
        self._reasons[content] = why
        self._refuse_file(entry, digest, why)

    def _refuse_file(self, entry: Entry, digest: str, why: str) -> None:
        self._refused.add_file(entry, digest, why)
        self._memory.add(self._memory.ids(entry, digest)[2], entry)
        self._memory.add(self._memory.broken_stamp(self._memory.stamp(entry)), entry)
        self._broken.append(entry)
        logger.warning("`%s` is broken, and the other files go on: %s", entry.path, why)


def _known(since: Position | None) -> dict[str, pl.DataType]:
    return {} if since is None else types_of(since.value.get("types"))


def _comes_back(dtype: pl.DataType) -> bool:
    """Whether a type is known by its text again."""
    try:
        return dtype != pl.Null and type_of(type_text(dtype)) == dtype
    except ConfigError:
        return False
