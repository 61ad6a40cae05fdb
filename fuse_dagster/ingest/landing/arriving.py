"""Which files of a folder have arrived: complete, meant, and not being written any more."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from fuse_dagster.connectors.base import CanList, CanRead, Entry
from fuse_dagster.ingest.landing.naming import glob_regex

if TYPE_CHECKING:
    from fuse_dagster.ingest.landing.source import LandingFiles

_STAMPED = re.compile(r"~\d{8}T\d{12}(?=\.|$)")
_ASIDE = re.compile(r"~aside-([0-9a-f]{16})[0-9a-f]{16}(?=\.|$)")
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
    ready, waiting, have_moved = [], [], False
    for entry, is_known_whole in _meant(source, entries, again=again):
        start = entry.path.rfind("/") + 1
        if not entry.path.isascii() and not _is_text(entry.path):
            shown = entry.path.encode(errors="surrogateescape").decode(errors="backslashreplace")
            waiting.append(Arrival(replace(entry, path=shown), "its name is no UTF-8; rename it"))
        elif is_known_whole and is_done(source, entry.path):
            have_moved = True
            ready.append(entry)
        elif entry.path.startswith(".", start) or entry.path.lower().endswith(source.unfinished):
            waiting.append(Arrival(entry, "its name says that it is still being written"))
        elif source.marker and not is_known_whole and marker_of(source, entry.path) not in names:
            waiting.append(Arrival(entry, f"`{marker_of(source, entry.path)}` is not there yet"))
        elif entry.modified > settled:
            waiting.append(Arrival(entry, f"it changed less than {source.settle:g} seconds ago and may still grow"))
        else:
            have_moved |= is_known_whole
            ready.append(entry)
    ready.sort(key=(lambda entry: _turn(source, entry)) if have_moved else attrgetter("path"))
    if have_moved and source.same_name == "replace":
        ready = _last_done(source, ready)
    if source.order == "modified":
        ready.sort(key=attrgetter("modified"))  # those of one time stay by name
    return Arrivals(tuple(ready), tuple(waiting))


def _turn(source: LandingFiles, entry: Entry) -> tuple[str, int, datetime]:
    """Older content of a name comes before what has the name now."""
    is_plain = not is_aside(entry.path)
    return landed_path(source, entry.path), 0 if is_done(source, entry.path) else 1 + is_plain, entry.modified


def _last_done(source: LandingFiles, ready: list[Entry]) -> list[Entry]:
    """Where the rows of a name replace those before: of what was loaded and moved, the last of each name."""
    last = {landed_path(source, entry.path): entry for entry in ready if is_done(source, entry.path)}
    return [one for one in ready if not is_done(source, one.path) or last[landed_path(source, one.path)] is one]


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:  # bytes of a local name that are no UTF-8
        return False
    return True


def marker_of(source: LandingFiles, path: str) -> str:
    """The file whose presence says that another is complete."""
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{source.marker.replace('{name}', name)}"


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
    return path.startswith(done_start(source))


def done_start(source: LandingFiles) -> str:
    """What the names of files begin with that were loaded and moved."""
    return "/".join(filter(None, [source.folder.strip("/"), source.done.strip("/")])) + "/"


def aside(path: str, tag: str) -> str:
    """A name that nobody else writes, and that says which file it is: `a~aside-9f...csv` of `a.csv`.

    Args:
        path: The file.
        tag: 16 hexadecimal digits that say which version of it was loaded.
    """
    folder, slash, name = path.rpartition("/")
    start, dot, ending = name.partition(".")
    return f"{folder}{slash}{start}~aside-{tag}{uuid.uuid4().hex[:16]}{dot}{ending}"


def aside_tag(path: str) -> str:
    """Which version a load has put aside under this name; "" where none has given it the name."""
    found = _ASIDE.search(path, path.rfind("/") + 1) if "~aside-" in path else None
    return found[1] if found else ""


def is_aside(path: str) -> bool:
    """Whether a load gave a file this name, which it did not come to put away, or to load."""
    return bool(aside_tag(path))


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
        if is_aside(path):
            path, was_moved = _ASIDE.sub("", path), True
        if marker is not None and marker.fullmatch(path):
            continue
        if (everything or any(one(path) for one in include)) and not (exclude and any(one(path) for one in exclude)):
            yield entry, was_moved
