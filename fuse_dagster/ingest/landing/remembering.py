"""What the ledger is told of files: contents, names and listings that a load has dealt with, each by an id."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from fuse_dagster.connectors.base import Entry
from fuse_dagster.ingest.landing.arriving import aside_tag, done_start, landed_path

if TYPE_CHECKING:
    from fuse_dagster.ingest.landing.source import LandingFiles

_STATES = {"content": "loaded", "name": "name", "stamp": "seen", "broken": "broken", "broken-stamp": "broken"}


class Memory:
    """The ids that one load brings.

    Args:
        source: Which files they are of, and how those are read.
    """

    def __init__(self, source: LandingFiles) -> None:
        self._told: dict[str, Entry] = {}
        self._source, self._done = source, done_start(source)
        self._fingerprint = source.fingerprint
        self._replaces = source.same_name == "replace"

    def __contains__(self, said: str) -> bool:
        return said in self._told

    @property
    def told(self) -> Mapping[str, Entry]:
        """Id -> the file that brought it."""
        return self._told

    def ids(self, entry: Entry, digest: str) -> tuple[str, str, str]:
        """What a file is known by: its content, the name that it came by, and that it is broken."""
        content, path = f"content:{digest}", entry.path
        name = _hash(landed_path(self._source, path) if self._has_moved(path) else path)
        if self._replaces:  # content that comes back has to replace what came between
            content += f":{name}:{self.tag(entry)}"
        return content, f"name:{name}", f"broken:{digest}:{name}:{self._fingerprint}"

    def _has_moved(self, path: str) -> bool:
        return "~aside-" in path or path.startswith(self._done)

    def tag(self, entry: Entry) -> str:
        """Which version of its name a file is, also where a load has put it aside: 16 hexadecimal digits."""
        return aside_tag(entry.path) or _hash(entry.version or entry.modified.isoformat())[:16]

    def stamp(self, entry: Entry) -> str:
        """What a file is known by from the listing alone; "" where that says no version."""
        return f"stamp:{_hash(entry.path)}:{entry.size}:{entry.version}" if entry.version else ""

    def broken_stamp(self, stamp: str) -> str:
        """The same of a file that can't be read in the way that is declared."""
        return f"broken-{stamp}:{self._fingerprint}" if stamp else ""

    def add(self, said: str, entry: Entry) -> None:
        """Remember an id, unless it is "" or there already."""
        if said:
            self._told.setdefault(said, entry)

    def add_loaded(self, content: str, name: str, entry: Entry) -> None:
        """Remember a file whose rows are brought."""
        told = self._told
        told.setdefault(content, entry)
        told.setdefault(name, entry)
        if self._has_moved(entry.path):
            self.add(self.stamp(entry), entry)
        elif entry.version:  # the name's id holds the hash of the path
            told.setdefault(f"stamp:{name[5:]}:{entry.size}:{entry.version}", entry)

    def drop(self, said: str, entry: Entry) -> None:
        """Forget an id that this file brought."""
        if self._told.get(said) is entry:
            del self._told[said]

    def frame(self) -> pl.DataFrame:
        """All of them: id x path, size and state."""
        columns = {
            "id": pl.Series(list(self._told), dtype=pl.String),
            "path": pl.Series([entry.path for entry in self._told.values()], dtype=pl.String),
            "size": pl.Series([entry.size for entry in self._told.values()], dtype=pl.Int64),
        }
        state = pl.col("id").str.extract("^([a-z-]+)").replace_strict(_STATES, return_dtype=pl.String)
        return pl.DataFrame(columns).with_columns(state.alias("state"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
