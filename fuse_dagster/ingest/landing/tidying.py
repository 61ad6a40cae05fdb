"""What becomes of files whose rows are committed: again and again the same, until it is done."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from fuse_dagster.connectors.base import CanMove, Entry
from fuse_dagster.core.errors import FuseError, first_line
from fuse_dagster.ingest.landing.arriving import aside, below, is_aside, is_done, marker_of

if TYPE_CHECKING:
    from fuse_dagster.ingest.landing.source import LandingFiles

logger = logging.getLogger(__name__)

_AT_ONCE = 1000
_PART = 2**20

Known = Callable[[Sequence[tuple[Entry, str]]], set[str]]
"""Takes files as they were listed with the SHA-256 of their bytes, and gives the paths of those dealt with."""


def put_away(
    source: LandingFiles,
    finished: Sequence[Entry],
    broken: Sequence[Entry],
    tag: Callable[[Entry], str],
    known: Known,
) -> None:
    """Move or delete files, as the source says; those that are no longer what was read stay.

    A file goes only after its content is in the ledger: one that a crash leaves behind is known by its content, and put
    away by the next load. Where the store renames, it first gets a name that nobody else writes, and is hashed again:
    what somebody wrote in the last moment keeps that name, in the landing folder, and is loaded next. Its marker goes
    before all, so that it can't stand for a file of the same name that comes later.

    Args:
        source: What becomes of them, and where to.
        finished: Files whose content is loaded.
        broken: Files that can't be.
        tag: Says which version of its name a file is.
        known: Tells the contents that were dealt with.

    Raises:
        FuseError: The store refuses for one of them; the others are done.
    """
    if source.after == "keep":
        return
    there = {entry.path: entry for entry in source.connector.list(source.folder)}
    work = [(finished, source.done)] + ([(broken, source.failed)] if source.after == "move" else [])
    way = _by_renaming if isinstance(source.connector, CanMove) else _plainly
    failures: list[str] = []
    for entries, place in work:  # neither those that have gone, nor those written anew since they were read
        files = [one for one in entries if there.get(one.path) == one and not is_done(source, one.path)]
        for at in range(0, len(files), _AT_ONCE):
            way(_Work(source, place, there, tag, known, failures), files[at : at + _AT_ONCE])
    if failures:
        msg = f"{len(failures):,} files are not put away, as {'; '.join(failures[:3])}. The next load tries again."
        raise FuseError(msg)


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be done: the source, the folder where files go, what was listed, and what goes wrong."""

    source: LandingFiles
    place: str
    there: Mapping[str, Entry]
    tag: Callable[[Entry], str]
    known: Known
    failures: list[str]

    def drop_marker(self, entry: Entry) -> None:
        """Delete the file that says that this one is complete."""
        if "{name}" in self.source.marker and marker_of(self.source, entry.path) in self.there:
            self.source.connector.delete(marker_of(self.source, entry.path))

    def tried(self, step: Callable[[], object], entry: Entry) -> None:
        """Do something; that it fails is told at the end. A file that has gone was put away by another load."""
        try:
            step()
        except FileNotFoundError:
            logger.info("`%s` has gone before it was put away", entry.path)
        except (FuseError, OSError) as error:
            self.failures.append(f"`{entry.path}`: {first_line(error)}")


def _by_renaming(work: _Work, entries: Sequence[Entry]) -> None:
    """Put away what lies under a name that nobody else writes, and is known."""
    connector: Any = work.source.connector
    held: list[tuple[Entry, str, str]] = []

    def hold(entry: Entry) -> None:
        work.drop_marker(entry)
        name = entry.path if is_aside(entry.path) else aside(entry.path, work.tag(entry))
        if name != entry.path:
            connector.move(entry.path, name)
        held.append((entry, name, _digest(connector, name)))

    for entry in entries:
        work.tried(partial(hold, entry), entry)
    known = work.known([(entry, digest) for entry, _, digest in held])
    for entry, name, _ in held:
        if entry.path not in known:
            logger.warning("`%s` changed while it was put away, and waits as `%s` to be loaded", entry.path, name)
        elif work.source.after == "delete":
            work.tried(partial(connector.delete, name), entry)
        else:
            work.tried(partial(_rename, work, entry, name), entry)


def _rename(work: _Work, entry: Entry, name: str) -> None:
    work.source.connector.move(name, _free_name(work.source, entry, work.place))


def _plainly(work: _Work, entries: Sequence[Entry]) -> None:
    """Put away files of a store that can't rename, whose names never come again."""
    connector: Any = work.source.connector

    def one(entry: Entry) -> None:
        work.drop_marker(entry)
        if work.source.after == "move":
            with connector.open(entry.path) as stream:
                connector.write(_free_name(work.source, entry, work.place), stream)
        connector.delete(entry.path)

    for entry in entries:
        work.tried(partial(one, entry), entry)


def _digest(connector: Any, path: str) -> str:
    found = hashlib.sha256()
    with connector.open(path) as stream:
        while part := stream.read(_PART):
            found.update(part)
    return found.hexdigest()


def _free_name(source: LandingFiles, entry: Entry, place: str) -> str:
    """The name in the folder for what is done; one that other content has already is never taken."""
    folder = "/".join(part for part in (source.folder.strip("/"), place.strip("/")) if part)
    target = wanted = f"{folder}/{below(source, entry.path)}"
    above, _, name = wanted.rpartition("/")
    start, dot, ending = name.partition(".")
    moment = entry.modified
    while source.connector.exists(target):
        target = f"{above}/{start}~{moment:%Y%m%dT%H%M%S%f}{dot}{ending}"
        moment += timedelta(microseconds=1)
    return target
