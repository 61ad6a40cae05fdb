"""One load of a landing folder: what is new is read, what is broken put aside, and what has landed put away."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa

from fuse_dagster.connectors.base import Entry
from fuse_dagster.core.errors import ConfigError, InputError, first_line
from fuse_dagster.engines.local.files.parts import BadRow
from fuse_dagster.engines.local.files.types import type_of, type_text, types_of
from fuse_dagster.ingest.landing.arriving import Arrivals, below, landed_path
from fuse_dagster.ingest.landing.fetching import Fetched, fetch
from fuse_dagster.ingest.landing.parsing import Parser
from fuse_dagster.ingest.landing.spool import FILE, ROW, Spool
from fuse_dagster.ingest.landing.tidying import put_away
from fuse_dagster.ingest.source import Ledger, Position

if TYPE_CHECKING:
    from fuse_dagster.ingest.landing.source import LandingFiles

logger = logging.getLogger(__name__)

_CHUNK = 4096
_YOUNG = timedelta(minutes=1)
_REJECTED: dict[str, Any] = {
    "_file_path": pl.String,
    "_file_hash": pl.String,
    "_file_row": pl.Int64,
    "_text": pl.String,
    "_rejection_reasons": pl.List(pl.String),
}
_ENTRIES: dict[str, Any] = {"id": pl.String, "path": pl.String, "size": pl.Int64, "state": pl.String}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file whose rows are in this load.

    Attributes:
        entry: The file.
        digest: SHA-256 of its bytes.
        named: What its name says.
    """

    entry: Entry
    digest: str
    named: dict[str, Any]


class LandingReading:
    """One reading of a landing folder. Files are read when the rows are asked for, all of them before the first row."""

    def __init__(
        self, source: LandingFiles, found: Arrivals, since: Position | None, ledger: Ledger | None, folder: str
    ) -> None:
        self.files: list[Loaded] = []
        self.notes: list[str] = [f"`{one.entry.path}` is left for later: {one.reason}." for one in found.waiting]
        self._source, self._found, self._since, self._ledger, self._folder = source, found, since, ledger, folder
        self._entries: dict[str, dict[str, Any]] = {}
        self._rejected: list[dict[str, Any]] = []
        self._finished: list[Entry] = []
        self._broken: list[Entry] = []
        self._names: set[str] = set()
        self._fingerprint, self._pattern = source.fingerprint, source.pattern
        self._own = [name for name in self._columns() if name.startswith("_file_")]
        self._replaces = source.same_name == "replace"
        self._lost: set[int] = set()
        self._copies: list[tuple[Entry, str]] = []
        self._parser = Parser(source, folder, self._refuse, _known(since))

    def batches(self) -> pa.RecordBatchReader:
        """The rows of all files that are new, in their order. No columns where nothing is new."""
        self._read_all()
        for note in self.notes:
            logger.info(note)
        if not self.loaded:
            return pa.RecordBatchReader.from_batches(pa.schema([]), [])
        columns = self._columns()
        schema = pl.DataFrame(schema={**self._spool.schema(), **columns})
        wanted = schema.to_arrow(compat_level=pl.CompatLevel.oldest()).schema
        return pa.RecordBatchReader.from_batches(wanted, self._arrow(wanted, list(columns)))

    def position(self) -> Position | None:
        """When the newest file was modified that was loaded so far; None where nothing is new."""
        if not self.loaded:
            return None
        newest = max(one.entry.modified for one in self.loaded).astimezone(UTC)
        count = len(self.loaded)
        if self._since is not None:
            newest = max(newest, datetime.fromisoformat(self._since.value["modified"]))
            count += int(self._since.value.get("files", 0))
        types = {**_known(self._since), **self._spool.schema()}
        said = {name: type_text(dtype) for name, dtype in types.items() if _comes_back(dtype)}
        value = {"modified": newest.isoformat(), "files": count, "types": said}
        return Position(value=value, said=f"{count:,} files, the newest of {newest:%Y-%m-%d %H:%M:%S}Z", time=newest)

    def rejected(self) -> pl.DataFrame:
        """Files that can't be read, a row each, and rows that were taken out of others."""
        return pl.DataFrame(self._rejected, schema=_REJECTED)

    def entries(self) -> pl.DataFrame:
        """The contents, names and states that this reading brought, for the ledger."""
        return pl.DataFrame(list(self._entries.values()), schema=_ENTRIES)

    def landed(self) -> None:
        """Move or delete the files whose rows have landed, in this load or one before; again is the same.

        Raises:
            FuseError: The store refuses; what is left is done by the next load.
        """
        put_away(self._source, self._finished, self._broken)

    @property
    def loaded(self) -> list[Loaded]:
        """The files whose rows are in this load."""
        return [one for number, one in enumerate(self.files) if number not in self._lost]

    @property
    def _spool(self) -> Spool:
        return self._parser.spool

    def _read_all(self) -> None:
        fresh = self._unstamped(self._found.ready)
        at = 0
        while at < len(fresh):
            some = self._next(fresh, at)
            if not some:
                self.notes.append(f"{len(fresh) - at:,} files are left for the next load.")
                break
            self._read_some(some)
            at += len(some)
        self._parser.finish()
        for entry, content in self._copies:
            if content and content not in self._entries:
                self._broken.append(entry)  # a copy of one that turned out to be broken
                continue
            self._finished.append(entry)
            self._remember(self._stamp(entry), entry, "seen", only=bool(entry.version))

    def _next(self, fresh: Sequence[Entry], at: int) -> list[Entry]:
        """As many files as the limits leave room for; those that bring no rows take up none of it."""
        room = min(_CHUNK, self._source.most_files - len(self.files))
        size = sum(one.entry.size for one in self.files)
        some: list[Entry] = []
        for entry in fresh[at : at + max(room, 0)]:
            size += entry.size
            if size > self._source.most_bytes and (self.files or some):
                break
            some.append(entry)
        return some

    def _unstamped(self, ready: Sequence[Entry]) -> list[Entry]:
        """The files that no load has read as they are now.

        A stamp is trusted only where the store gives a version that changes with every write and can't be set back; by
        size and time alone, what a tool has changed in place could be taken for what was loaded.
        """
        stamps = {self._stamp(entry): entry for entry in ready if entry.version}
        known = self._ledger.seen(stamps.keys()) if self._ledger is not None and stamps else set()
        self._finished += [entry for stamp, entry in stamps.items() if stamp in known]
        return [entry for entry in ready if not entry.version or self._stamp(entry) not in known]

    def _read_some(self, entries: Sequence[Entry]) -> None:
        source = self._source
        fetched: list[Fetched] = []
        held = 0
        for one in fetch(source.connector, entries, self._folder, parallel=source.parallel):
            fetched.append(one)
            held += one.entry.size if isinstance(one.data, bytes) else 0
            if held > 64 * 2**20:
                self._take(fetched)
                fetched, held = [], 0
        self._take(fetched)

    def _take(self, fetched: list[Fetched]) -> None:
        grown = self._changed_since([one.entry for one in fetched])
        ids = {one.entry.path: self._ids(one) for one in fetched if one.digest}
        asked = {said for group in ids.values() for said in group}
        seen = self._ledger.seen(asked) if self._ledger is not None and asked else set()
        for one in fetched:
            if not one.digest or one.entry.path in grown:
                self.notes.append(f"`{one.entry.path}` is left for later: it changed while it was read, or has gone.")
            else:
                self._judge(one, *ids[one.entry.path], seen=seen)
            one.forget()

    def _changed_since(self, entries: Sequence[Entry]) -> set[str]:
        """The young files that are no longer as they were listed: somebody writes them still."""
        now = self._source.clock()
        young = [entry for entry in entries if now - entry.modified < _YOUNG and self._source.settle]
        if not young:
            return set()
        there = {entry.path: entry for entry in self._source.connector.list(self._source.folder)}
        return {entry.path for entry in young if there.get(entry.path) != entry}

    def _judge(self, one: Fetched, content: str, name: str, broken: str, *, seen: set[str]) -> None:
        """Load a file, or know why not."""
        entry = one.entry
        if content in seen or content in self._entries:
            self._note_copy(entry, content, seen)
            self._copies.append((entry, "" if content in seen else content))
            return
        if broken in seen or broken in self._entries:
            self.notes.append(f"`{entry.path}` is broken, as an earlier load has said, and still the same.")
            self._broken.append(entry)
            return
        try:
            if self._source.same_name == "refuse" and (name in seen or name in self._names):
                msg = f"`{entry.path}` was loaded with other content, and `same_name` is `refuse`. Rename it."
                raise InputError(msg)
            pattern = self._pattern
            named = pattern.read(below(self._source, entry.path)) if pattern else {}
            self.files.append(Loaded(entry, one.digest, named))
            number = len(self.files) - 1
            bad = self._parser.parse(one, number, [*named, *self._own])
        except (InputError, ConfigError) as error:
            self._refuse_file(entry, one.digest, first_line(error))
            if self.files and self.files[-1].entry is entry:
                self.files.pop()
            return
        if number in self._lost:
            return
        self._rejected += [self._bad_row(entry, one.digest, row) for row in bad]
        self._remember(content, entry, "loaded")
        self._names.add(name)
        self._remember(name, entry, "name", only=name not in seen)
        self._remember(self._stamp(entry), entry, "seen", only=bool(entry.version))
        self._finished.append(entry)

    def _note_copy(self, entry: Entry, content: str, seen: set[str]) -> None:
        other = self._entries.get(content, {}).get("path")
        if other not in (None, entry.path):
            self.notes.append(f"`{entry.path}` has the content of `{other}`, and is loaded once.")
        elif content in seen:
            self.notes.append(f"`{entry.path}` has content that an earlier load has brought.")

    def _refuse(self, number: int, why: str) -> None:
        """Take a file out that turned out to be broken when its rows became columns."""
        lost = self.files[number]
        self._lost.add(number)
        gone = [said for said, row in self._entries.items() if row["path"] == lost.entry.path]
        for said in gone:
            del self._entries[said]
        self._finished = [entry for entry in self._finished if entry.path != lost.entry.path]
        self._rejected = [row for row in self._rejected if row["_file_path"] != lost.entry.path]
        self._refuse_file(lost.entry, lost.digest, why)

    def _refuse_file(self, entry: Entry, digest: str, why: str) -> None:
        self._rejected.append(
            {
                "_file_path": entry.path,
                "_file_hash": digest,
                "_file_row": None,
                "_text": None,
                "_rejection_reasons": [why],
            }
        )
        self._remember(self._broken_id(digest, entry), entry, "broken")
        self._broken.append(entry)
        logger.warning("`%s` is broken, and the other files go on: %s", entry.path, why)

    def _bad_row(self, entry: Entry, digest: str, row: BadRow) -> dict[str, Any]:
        return {
            "_file_path": entry.path,
            "_file_hash": digest,
            "_file_row": row.number,
            "_text": row.text,
            "_rejection_reasons": [row.why],
        }

    def _ids(self, one: Fetched) -> tuple[str, str, str]:
        """What the ledger knows of a file: its content, its name, and that it is broken."""
        content = f"content:{one.digest}"
        if self._replaces:  # content that comes back has to replace what came between
            content += f":{_hash(one.entry.path, one.entry.version or one.entry.modified.isoformat())}"
        return content, f"name:{_hash(one.entry.path)}", self._broken_id(one.digest, one.entry)

    def _broken_id(self, digest: str, entry: Entry) -> str:
        return f"broken:{digest}:{_hash(entry.path, self._fingerprint)}"

    def _stamp(self, entry: Entry) -> str:
        return f"stamp:{_hash(entry.path, str(entry.size), entry.version)}"

    def _remember(self, said: str, entry: Entry, state: str, *, only: bool = True) -> None:
        if only and said not in self._entries:
            self._entries[said] = {"id": said, "path": entry.path, "size": entry.size, "state": state}

    def _columns(self) -> dict[str, pl.DataType]:
        """Column -> type, of what names and the listing say."""
        from fuse_dagster.ingest.landing.source import METADATA

        named = self._source.pattern.types if self._source.pattern else {}
        return {**named, **dict(METADATA[one] for one in self._source.metadata)}

    def _arrow(self, schema: pa.Schema, columns: list[str]) -> Iterator[pa.RecordBatch]:
        facts = self._facts()
        for frame in self._spool.frames():
            numbers = frame[FILE]
            said = {
                name: frame[name] if name in frame.columns else facts[name].gather(numbers)
                for name in columns
                if name != "_file_row"
            }
            rows = frame.drop(FILE, ROW)
            if "_file_row" in columns:
                said["_file_row"] = frame[ROW]
            whole = rows.with_columns(said[name].alias(name) for name in columns).select(schema.names)
            yield from whole.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema).to_batches()

    def _facts(self) -> dict[str, pl.Series]:
        """Column -> a value for each file of this load."""
        entries = [one.entry for one in self.files]
        found = {
            "_file_path": pl.Series([landed_path(self._source, entry.path) for entry in entries], dtype=pl.String),
            "_file_size": pl.Series([entry.size for entry in entries], dtype=pl.Int64),
            "_file_modified": pl.Series([entry.modified for entry in entries], dtype=pl.Datetime("us", "UTC")),
            "_file_hash": pl.Series([one.digest for one in self.files], dtype=pl.String),
        }
        pattern = self._source.pattern
        for name, dtype in pattern.types.items() if pattern else ():
            found[name] = pl.Series([one.named[name] for one in self.files], dtype=dtype)
        return found


def _known(since: Position | None) -> dict[str, pl.DataType]:
    return {} if since is None else types_of(since.value.get("types"))


def _comes_back(dtype: pl.DataType) -> bool:
    """Whether a type is known by its text again."""
    try:
        return dtype != pl.Null and type_of(type_text(dtype)) == dtype
    except ConfigError:
        return False


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
