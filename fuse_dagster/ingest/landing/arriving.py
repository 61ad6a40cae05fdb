"""Which files of a folder have arrived: complete, meant, and not being written any more."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from fuse_dagster.connectors.base import CanList, CanRead, Entry
from fuse_dagster.ingest.landing.naming import glob_regex

if TYPE_CHECKING:
    from fuse_dagster.ingest.landing.source import LandingFiles

_STAMPED = re.compile(r"~\d{8}T\d{12}(?=\.|$)")
_ASIDE = re.compile(r"~aside-[0-9a-f]{32}(?=[./]|$)")
UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".download", ".swp", "~")
"""What names of files end in while programs write them."""


class Landing(CanList, CanRead, Protocol):
    """Any connector that lists and reads files can be the landing folder."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that is left alone for now, and why."""

    entry: Entry
    reason: str


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The files of a folder.

    Attributes:
        ready: Complete ones, in the order in which they are to be loaded.
        waiting: Others, which a later look may find complete.
    """

    ready: tuple[Entry, ...]
    waiting: tuple[Arrival, ...]


def arrivals(source: LandingFiles, *, now: datetime | None = None) -> Arrivals:
    """Look at a landing folder; nothing is opened.

    Args:
        source: Which folder, and which of its files.
        now: The time, UTC.

    Raises:
        StoreError: The store refuses; or `StoreUnavailableError`, where it can't be reached.
    """
    return sorted_out(source, list(source.connector.list(source.folder)), now or datetime.now(UTC))


def sorted_out(source: LandingFiles, entries: list[Entry], now: datetime, *, again: bool = False) -> Arrivals:
    """Tell the files of a listing apart.

    Args:
        source: Which of them are meant.
        entries: All files below the folder.
        now: The time, UTC.
        again: Take those that were loaded and moved, too.
    """
    names = {entry.path for entry in entries} if source.marker else set()
    settled = now - timedelta(seconds=source.settle)
    ready, waiting = [], []
    for entry, is_known_whole in _meant(source, entries, again=again):
        start = entry.path.rfind("/") + 1
        if is_known_whole:
            ready.append(entry)
        elif entry.path.startswith(".", start) or entry.path.lower().endswith(source.unfinished):
            waiting.append(Arrival(entry, "its name says that it is still being written"))
        elif source.marker and marker_of(source, entry.path) not in names:
            waiting.append(Arrival(entry, f"`{marker_of(source, entry.path)}` is not there yet"))
        elif entry.modified > settled:
            waiting.append(Arrival(entry, f"it changed less than {source.settle:g} seconds ago and may still grow"))
        else:
            ready.append(entry)
    by_time = source.order == "modified"
    ready.sort(key=(lambda entry: (entry.modified, entry.path)) if by_time else attrgetter("path"))
    return Arrivals(tuple(ready), tuple(waiting))


def marker_of(source: LandingFiles, path: str) -> str:
    """The file whose presence says that another is complete."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{source.marker.format(name=name)}"


def below(source: LandingFiles, path: str) -> str:
    """The name of a file below the landing folder, as it was before it was moved."""
    folder, done = source.folder.strip("/"), f"{source.done.strip('/')}/"
    found = path.removeprefix(f"{folder}/") if folder else path
    found = _ASIDE.sub("", found)
    return _STAMPED.sub("", found.removeprefix(done)) if found.startswith(done) else found


def landed_path(source: LandingFiles, path: str) -> str:
    """The name of a file below the connector's root, as it was before it was moved."""
    return "/".join(filter(None, [source.folder.strip("/"), below(source, path)]))


def is_done(source: LandingFiles, path: str) -> bool:
    """Whether a file was loaded and moved."""
    folder = source.folder.strip("/")
    return path.startswith("/".join(filter(None, [folder, source.done.strip("/")])) + "/")


def aside(path: str) -> str:
    """A name that nobody else writes, and that says which file it is: `a~aside-9f...csv` of `a.csv`."""
    folder, slash, name = path.rpartition("/")
    start, dot, ending = name.partition(".")
    return f"{folder}{slash}{start}~aside-{uuid.uuid4().hex}{dot}{ending}"


def is_aside(path: str) -> bool:
    """Whether a load gave a file this name, which it did not come to delete, or to load."""
    return _ASIDE.search(path) is not None


def _meant(source: LandingFiles, entries: list[Entry], *, again: bool) -> Iterator[tuple[Entry, bool]]:
    """The files that are meant, and whether they were whole once already, before a load moved them."""
    include = [glob_regex(pattern).fullmatch for pattern in source.include if pattern != "**"]
    everything = "**" in source.include
    exclude = [glob_regex(pattern).fullmatch for pattern in source.exclude]
    folder, failed = source.folder.strip("/"), f"{source.failed.strip('/')}/"
    start, done = (f"{folder}/" if folder else ""), f"{source.done.strip('/')}/"
    skip_done = not (again and source.after == "move")
    sign = source.marker.replace("{name}", "*")
    marker = glob_regex(f"**/{sign}") if sign else None
    for entry in entries:
        path, was_moved = entry.path.removeprefix(start), False
        if path.startswith(failed):
            continue
        if path.startswith(done):
            if skip_done:
                continue
            path, was_moved = _STAMPED.sub("", path.removeprefix(done)), True
        if "~aside-" in path and is_aside(path):
            path, was_moved = _ASIDE.sub("", path), True
        if marker is not None and marker.fullmatch(path):
            continue
        if (everything or any(one(path) for one in include)) and not (exclude and any(one(path) for one in exclude)):
            yield entry, was_moved
